import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from desta.errors import ConfigError, DataError
from desta.evaluation.benchmarks import dynamic_superb as ds
from desta.evaluation.metrics import find
from support.published import report

NAME = "SpeechTextMatching_LJSpeech"
ASKED = "Do they match? The answer could be yes or no."


def instance(name: str = NAME) -> ds.Instance:
    return next(i for i in ds.phase1() if i.name == name)


def predictions(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text(json.dumps({"accuracy": 0.0, "predictions": rows}), encoding="utf-8")
    return path


def row(number: int, pred: Any, label: str = "no", name: str = NAME) -> dict[str, Any]:
    return {"id": f"{name}_{number}.wav", "pred": pred, "label": label, "instruction": ASKED}


def test_phase_1_has_48_instances_of_speech_and_7_of_audio() -> None:
    in_paper = [i for i in ds.phase1() if i.in_paper]

    counts = {d: sum(i.dimension == d for i in in_paper) for d in {i.dimension for i in in_paper}}
    assert counts == {
        "Content": 11,
        "Degradation": 19,
        "Paralinguistics": 7,
        "Semantics": 6,
        "Speaker": 5,
        "Audio": 7,
    }
    assert all(len(i.revision) == 40 for i in ds.phase1())


@pytest.mark.parametrize(
    ("output", "exact"), [("no", True), ("No", True), ("no ", False), ("no.", False), ("", False)]
)
def test_exact_match_forgives_case_alone(output: str, exact: bool) -> None:
    assert ds.exact_match(output, "no") is exact


@pytest.mark.parametrize(
    ("output", "label", "options", "right"),
    [
        ("The answer is No.", "no", ("yes", "no"), True),
        ("yes or no", "no", ("yes", "no"), False),
        ("It could be yes, it could be no", "yes", ("yes", "no"), False),
        ("nothing", "no", ("yes", "no"), False),
        ("a crying baby is heard", "crying baby", ("crying baby", "baby"), True),
        ("a crying baby is heard", "baby", ("crying baby", "baby"), False),
        ("crying, then a baby", "crying baby", ("crying baby", "dog"), False),
        ("question, inform, directive, or commissive", "inform", ("question", "inform"), False),
        ("seven", "seven", (), True),
        ("", "no", ("yes", "no"), False),
    ],
)
def test_consecutive_words_do_not_reward_a_list_of_options(
    output: str, label: str, options: tuple[str, ...], right: bool
) -> None:
    assert ds.consecutive_words(output, label, options) is right


def test_options_are_read_from_the_instruction() -> None:
    asked = "What is it? The answer could be dog, crying baby, or crow."

    assert ds.options_of(asked) == ("dog", "crying baby", "crow")
    assert ds.options_of("Is it? The answer could be yes or no.") == ("yes", "no")
    assert ds.options_of("What is it?") == ()


def test_a_results_file_is_scored_by_its_instance(tmp_path: Path) -> None:
    path = predictions(
        tmp_path / "r.json", row(1, "no"), row(2, "No."), row(3, "yes"), row(4, None)
    )

    found = report("dynamic_superb", path)

    assert found.headline[ds.EXACT_MATCH].value == pytest.approx(1 / 3)
    assert found.headline[ds.CONSECUTIVE_WORDS].value == pytest.approx(2 / 3)
    assert (
        found.headline[f"Content, 1 instances ({ds.EXACT_MATCH})"] == found.headline[ds.EXACT_MATCH]
    )
    assert find(found.cells, ds.EXACT_MATCH, "instance", NAME).num_unscored == 1


def test_options_that_no_instruction_lists_are_the_labels(tmp_path: Path) -> None:
    rows = [{**row(n, pred), "instruction": "Match?"} for n, pred in enumerate(["No.", "yes, no"])]
    yes = {**row(2, "it is yes", label="yes"), "id": "SomeTask_Corpus_1.wav", "instruction": None}

    found = report("dynamic_superb", predictions(tmp_path / "r.json", *rows, yes))

    assert found.headline[ds.CONSECUTIVE_WORDS].value == pytest.approx(2 / 3)
    assert find(found.cells, ds.CONSECUTIVE_WORDS, "instance", "unknown").num_scored == 1


def test_dimensions_count_their_instances_alike(tmp_path: Path) -> None:
    other, third = "SpeechDetection_LJSpeech", "BirdSoundDetection_Warblrb10k"
    rows = [row(1, "no"), row(2, "no"), row(3, "no"), row(1, "yes", name=other)]
    path = predictions(tmp_path / "r.json", *rows, row(1, "yes", name=third))

    found = report("dynamic_superb", path)

    assert found.headline[f"Content, 2 instances ({ds.EXACT_MATCH})"].value == 0.5
    assert found.headline[f"Speech, 2 instances ({ds.EXACT_MATCH})"].value == 0.5
    assert found.headline[f"Audio, 1 instances ({ds.EXACT_MATCH})"].value == 0.0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "not a list of JSON objects"),
        ('{"predictions": []}', "not a list of JSON objects"),
        ('{"predictions": [{"id": "x"}]}', "no 'label'"),
        (json.dumps({"predictions": [row(1, "no"), row(1, "no")]}), "occurs 2 times"),
    ],
)
def test_wrong_results_files_are_one_clear_error(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "r.json"
    path.write_text(text, encoding="utf-8")

    with pytest.raises(DataError, match=message):
        report("dynamic_superb", path)


def test_preprocessed_instances_are_read_with_pairs_and_texts(tmp_path: Path) -> None:
    table = {
        f"{NAME}_a.wav": {"file": "a.wav", "instruction": ASKED, "label": "no", "text": "hello"},
        f"{NAME}_b.wav": {"file": "b.wav", "instruction": ASKED, "label": "yes"},
    }
    (tmp_path / "metadata.json").write_text(json.dumps(table), encoding="utf-8")
    (tmp_path / f"{NAME}_b_pair.wav").touch()

    first, second = ds.load_items(tmp_path, instance())

    assert first.messages[-1].content == f"<|AUDIO|>\n\n{ASKED}\nInput: hello"
    assert first.choices == ("yes", "no")
    assert second.messages[-1].content.startswith("<|AUDIO|><|AUDIO|>\n\n")
    assert len(second.messages[-1].audios) == 2


def test_data_sets_of_the_hub_are_read_as_they_are(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    arrow = pytest.importorskip("pyarrow")
    sounds = []
    for seed in range(4):
        file = io.BytesIO()
        noise = np.random.default_rng(seed).normal(0, 0.1, 1600)
        soundfile.write(file, noise, 16000, format="WAV")
        sounds.append({"bytes": file.getvalue(), "path": f"{seed}.wav"})
    columns = {
        "file": ["a", "b"],
        "instruction": [ASKED, ASKED],
        "label": ["yes", "no"],
        "audio": sounds[:2],
        "audio2": sounds[2:],
    }
    parquet.write_table(arrow.table(columns), tmp_path / "test-00000-of-00001.parquet")

    items = ds.load_items(tmp_path, instance())

    assert [item.target for item in items] == ["yes", "no"]
    heard = [ref.audio for item in items for ref in item.messages[-1].audios]
    assert len(set(heard)) == 4
    assert all(Path(path).is_file() for path in heard)


def test_an_empty_folder_names_what_to_download(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="neither metadata.json nor") as error:
        ds.load_items(tmp_path, instance())

    assert instance().revision in error.value.fix


def test_an_instance_is_fetched_at_a_commit() -> None:
    with pytest.raises(ConfigError, match="is not a commit"):
        ds.fetch_instance(replace(instance(), revision="main"))
