"""Which questions somebody's results files are held against, where `--data` names them."""

import json
from pathlib import Path
from typing import Any

import pytest

from desta.errors import DataError
from desta.evaluation.benchmarks import dynamic_superb
from desta.evaluation.benchmarks.speech_ifeval.files import FILES
from desta.evaluation.benchmarks.table import find_benchmark
from desta.evaluation.benchmarks.voicebench import files as voicebench_files
from desta.evaluation.benchmarks.voicebench import score as voicebench
from desta.evaluation.published import read_results_files
from desta.evaluation.published_files import NOT_ANSWERED
from support.commands import desta
from support.published import DATA, needs_data, rule, write

SECTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "closed_ended": ("accuracy", {"instruction_id_list": ["startend:quotation"], "kwargs": [{}]}),
    "creative_writing": (
        "open",
        {"instruction_id_list": ["change_case:english_capital"], "kwargs": [{}]},
    ),
    "chain_of_thought": ("cot", {}),
    "unconstrained": ("accuracy", {}),
}


def question(section: str, number: int) -> dict[str, Any]:
    metric, more = SECTIONS[section]
    return {
        "audio_filepath": f"D/{section}-{number}.wav",
        "textual_audio": "[00:00:00 - 00:00:01] Hi.",
        "instruction": f"Question {number}?",
        "dataset": "D",
        "metric": metric,
        "label": "yes",
        **more,
    }


@pytest.fixture
def speech_ifeval(tmp_path: Path) -> Path:
    """A copy of the benchmark's repository: two questions in each section."""
    folder = tmp_path / "data" / "eval_data"
    folder.mkdir(parents=True)
    for section, stem in FILES.items():
        rows = [question(section, n) for n in range(2)]
        write(folder / f"{stem}.jsonl.gz", rows, lines=True, packed=True)
    return tmp_path


def answers(path: Path, section: str, **fields: Any) -> Path:
    rows = [question(section, n) | {"response": "yes"} | fields for n in range(2)]
    return write(path, rows, lines=True)


def test_speech_ifevals_optional_section_is_asked_for_where_it_is_answered(
    speech_ifeval: Path, tmp_path: Path
) -> None:
    benchmark = find_benchmark("speech_ifeval")
    rated = [answers(tmp_path / f"{name}.jsonl", name) for name in list(FILES)[:3]]
    free = answers(tmp_path / "tmp@woprompt.jsonl", "unconstrained")

    for paths, num_asked in ((rated, 6), ([*rated, free], 8), ([free], 8)):
        for data in (speech_ifeval, speech_ifeval / "data", speech_ifeval / "data" / "eval_data"):
            results = read_results_files(benchmark, paths, data=str(data)).results
            missing = [r.id for r in results if r.skipped == NOT_ANSWERED]
            assert (len(results), len(missing)) == (num_asked, num_asked - 2 * len(paths))
            assert not any(id.startswith("unconstrained") for id in missing)


def test_clips_of_speech_ifeval_may_lie_anywhere(speech_ifeval: Path, tmp_path: Path) -> None:
    rows = [
        question("unconstrained", n)
        | {"audio_filepath": f"/data/audios/D/unconstrained-{n}.wav", "response": "yes"}
        | {"instruction_id_list": []}
        for n in (1, 0)
    ]
    path = write(tmp_path / "elsewhere.jsonl", rows, lines=True)

    published = read_results_files(find_benchmark("speech_ifeval"), [path], data=str(speech_ifeval))

    answered = [r.id for r in published.results if r.skipped is None]
    assert answered == ["unconstrained/0", "unconstrained/1"]


def test_all_files_that_the_scripts_of_speech_ifeval_write_may_be_given_together(
    tmp_path: Path,
) -> None:
    said = {"eval_response": "Result: YES"}
    raw = answers(tmp_path / "closed.jsonl", "closed_ended")
    rules = answers(tmp_path / "rule_eval@closed.jsonl.jsonl", "closed_ended",
                    follow_all_instructions=False)  # fmt: skip
    judged = answers(tmp_path / "tmp.jsonl", "closed_ended", **said)
    final = answers(tmp_path / "llm_eval@closed.jsonl", "closed_ended", correct=True, **said)
    benchmark = find_benchmark("speech_ifeval")

    for paths in ([raw, rules, judged, final], [final, judged, rules, raw], [raw, raw]):
        published = read_results_files(benchmark, paths)
        assert [r.id for r in published.results] == ["closed_ended/0", "closed_ended/1"]
        assert published.disputed == ()

    other = answers(tmp_path / "again.jsonl", "closed_ended", eval_response="Result: NO")
    with pytest.raises(DataError, match="answered in another file too, .*, and otherwise"):
        read_results_files(benchmark, [final, other])


def test_instances_that_came_after_the_paper_are_asked_for_where_they_are_answered(
    tmp_path: Path,
) -> None:
    later = "SourceDetection_mb23-music_caps_4sec_wave_type"
    words = {"instruction": "Is it? The answer could be yes or no.", "label": "yes"}
    for instance in dynamic_superb.phase1():
        (tmp_path / instance.name).mkdir()
        table = {f"{instance.name}_{n}.wav": words for n in range(2)}
        (tmp_path / instance.name / "metadata.json").write_text(json.dumps(table))
    rows = [{"id": f"{later}_{n}.wav", "pred": "yes", **words} for n in range(2)]
    path = write(tmp_path / "r.json", {"predictions": rows})

    published = read_results_files(find_benchmark("dynamic_superb"), [path], data=str(tmp_path))

    assert [r.skipped for r in published.results] == [NOT_ANSWERED] * 2 * 55 + [None] * 2


def test_every_split_of_voicebench_has_its_own_numbers_as_its_files_of_answers_have(
    tmp_path: Path,
) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    arrow = pytest.importorskip("pyarrow")

    def store(subset: str, split: str) -> None:
        (tmp_path / subset).mkdir(exist_ok=True)
        sounds = [{"bytes": b"RIFF", "path": "x.wav"}] * 2
        ids = ["navigate 0", "navigate 1"]
        columns = {"prompt": ["0?", "1?"], "reference": ["yes"] * 2, "audio": sounds, "id": ids}
        parquet.write_table(arrow.table(columns), tmp_path / subset / f"{split}-0-of-1.parquet")

    for subset, found in voicebench.SUBSETS.items():
        for split in found.splits:
            store(subset, split)
    store("sd-qa", "aus")
    law, physics = (
        [i.id for i in voicebench_files.load_items(tmp_path, "mmsu") if i.groups["split"] == s]
        for s in ("law", "physics")
    )
    assert (law, physics) == (
        ["mmsu/law/0", "mmsu/law/1"],
        ["mmsu/physics/0", "mmsu/physics/1"],
    )

    rows = [{"prompt": f"{n}?", "response": "yes", "reference": "yes"} for n in range(2)]
    files = [
        write(tmp_path / f"m-{subset}-{split}-audio.jsonl", rows, lines=True)
        for subset, split in (("mmsu", "physics"), ("sd-qa", "aus"), ("sd-qa", "usa"))
    ]
    published = read_results_files(find_benchmark("voicebench"), files, data=str(tmp_path))
    answered = {r.id.rpartition("/")[0] for r in published.results if r.skipped is None}
    assert answered == {"mmsu/physics", "sd-qa/aus", "sd-qa/usa"}


def test_questions_that_nobody_asks_are_still_refused(speech_ifeval: Path, tmp_path: Path) -> None:
    strange = write(tmp_path / "strange.jsonl", [rule(0, "YES")], lines=True)
    with pytest.raises(DataError, match="answers 1 questions that are not in this version"):
        read_results_files(find_benchmark("speech_ifeval"), [strange], data=str(speech_ifeval))


@needs_data
def test_real_reports_of_all_four_sections_are_held_against_the_real_questions() -> None:
    folder = DATA / "speech_ifeval"
    done = desta("score", "speech_ifeval", *sorted(folder.glob("meta*/*.gz")), "--data", folder,
                 "--json")  # fmt: skip
    assert done.exit_code == 0, done.output
    row = json.loads(done.stdout)["systems"][0]
    assert (row["num_items"], row["num_skipped"], row["withheld"]) == (2466, 0, None)
    assert row["headline"]["unconstrained word error rate"]["value"] == 0.079099
    assert row["headline"]["IFrate"]["value"] == round((871 / 933 + 375 / 400 + 140 / 200) / 3, 6)
