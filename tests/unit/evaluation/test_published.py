"""Results files of other code, scored and compared."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from desta.errors import ConfigError, DataError
from desta.evaluation.benchmarks.table import find_benchmark
from desta.evaluation.published import read_results_files, score_published, system_name
from desta.evaluation.published_files import NOT_ANSWERED
from desta.evaluation.scores import WITHHELD
from support.commands import desta
from support.published import DATA, figures, needs_data, write


def mmau(id: str, answer: str = "dog", **fields: str) -> dict[str, Any]:
    return {
        "id": id,
        "audio_id": f"./{id}.wav",
        "question": "What is it?",
        "choices": ["dog", "cat"],
        "answer": answer,
        "task": "sound",
        **fields,
    }


@pytest.mark.parametrize("packed", [False, True])
def test_mmau(tmp_path: Path, packed: bool) -> None:
    rows = [
        mmau("1", model_output="dog", model_prediction="dog"),
        mmau("2", model_output="The correct answer is: cat"),
        mmau("3", model_output="dog or cat"),
        mmau("4", model_output="The correct answer is: dog"),
    ]
    found = figures("mmau", write(tmp_path / "results.json", rows, packed=packed))
    assert found == {"model_output": 0.5, "model_prediction": 0.5}


def test_mmau_with_predictions_alone(tmp_path: Path) -> None:
    path = write(tmp_path / "r.json", [mmau("1", model_prediction="dog")])
    published = read_results_files(find_benchmark("mmau"), [path])
    scores = score_published(published)
    assert list(scores["systems"][0]["headline"]) == ["model_prediction"]
    assert scores["systems"][0]["remarks"][0]["reason"] == "no model_output"


def test_missing_questions_are_counted_and_others_refused(tmp_path: Path) -> None:
    benchmark = find_benchmark("mmau")
    asked = [mmau("1"), mmau("2"), mmau("3")]
    questions = benchmark.load(benchmark.data(path=str(write(tmp_path / "q.json", asked))))
    some = write(tmp_path / "some.json", [mmau("1", model_output="dog")])

    published = read_results_files(benchmark, [some], questions=questions)
    scores = score_published(published)
    assert (scores["systems"][0]["num_items"], scores["systems"][0]["num_skipped"]) == (3, 2)
    assert scores["systems"][0]["withheld"] == WITHHELD
    assert scores["systems"][0]["headline"] == {}
    assert scores["skipped"][0]["reason"] == NOT_ANSWERED
    assert scores["version"] == benchmark.version(questions)
    allowed = score_published(published, allow_missing=True)
    assert allowed["systems"][0]["headline"]["model_output"]["value"] == 1.0
    assert allowed["skipped"] == scores["skipped"]

    changed = write(tmp_path / "old.json", [mmau("1", "cat", model_output="dog")])
    with pytest.raises(DataError, match="the right answer of '1' is 'cat', and 'dog'"):
        read_results_files(benchmark, [changed], questions=questions)
    strange = write(tmp_path / "new.json", [mmau("9", model_output="dog")])
    with pytest.raises(DataError, match="answers 1 questions that are not in this version"):
        read_results_files(benchmark, [strange], questions=questions)


def test_an_id_twice_is_refused_in_a_file_and_across_files(tmp_path: Path) -> None:
    one = write(tmp_path / "1.json", [mmau("1", model_output="dog")])
    twice = write(tmp_path / "2.json", [mmau("1", model_output="dog")] * 2)
    for paths in ([twice], [one, one]):
        with pytest.raises(DataError, match="id '1' occurs 2 times"):
            read_results_files(find_benchmark("mmau"), paths)


def test_dynamic_superb_of_several_instances(tmp_path: Path) -> None:
    def row(instance: str, number: int, pred: str, label: str) -> dict[str, str]:
        words = "Is it? The answer could be yes or no."
        return {
            "id": f"{instance}_{number}.wav",
            "pred": pred,
            "label": label,
            "instruction": words,
        }

    spoof, snr = "SpoofDetection_ASVspoof2017", "NoiseSNRLevelPrediction_VCTK_MUSAN-Gaussian"
    one = {"predictions": [row(spoof, 1, "Yes", "yes"), row(spoof, 2, "yes.", "yes")]}
    two = {"predictions": [row(snr, 1, "no", "yes")]}
    found = figures(
        "dynamic_superb",
        write(tmp_path / "one.json.gz", one, packed=True),
        write(tmp_path / "two.json", two),
    )
    assert found["exact_match"] == pytest.approx(1 / 3, abs=1e-6)
    assert found["Speech, 2 instances (exact_match)"] == 0.25
    assert found["Speech, 2 instances (consecutive_words)"] == 0.5


def test_voicebench_by_published_names(tmp_path: Path) -> None:
    rows = [
        {"prompt": "q1", "reference": "B", "response": "The answer is B."},
        {"prompt": "q2", "reference": "A", "response": "The answer is B."},
    ]
    path = write(tmp_path / "model-openbookqa-test-audio.jsonl", rows, lines=True)
    assert figures("voicebench", path)["OBQA (official)"] == 50
    results = read_results_files(find_benchmark("voicebench"), [path]).results
    assert [r.id for r in results] == ["openbookqa/test/0", "openbookqa/test/1"]

    rated = [{"prompt": "q", "response": "r", "score": ["4", "5", "4"]}]
    path = write(tmp_path / "model-commoneval-test-audio.jsonl", rated, lines=True)
    assert figures("voicebench", path)["CommonEval (official)"] == pytest.approx(13 / 3, abs=1e-6)

    unnamed = write(tmp_path / "out.jsonl", rated, lines=True)
    with pytest.raises(ConfigError, match="does not tell which subset"):
        figures("voicebench", unnamed)
    assert "CommonEval (official)" in figures("voicebench", unnamed, subset="commoneval")
    with pytest.raises(ConfigError, match='unknown subset "comoneval"'):
        figures("voicebench", unnamed, subset="comoneval")


def test_sakura_with_and_without_a_judge(tmp_path: Path) -> None:
    row = {"instruction": "Which? (a) dog (b) cat", "label": "(a) dog"}
    judged = {**row, "model_response": "cat", "Explanation": "No.", "Judgement": "incorrect"}
    path = write(tmp_path / "Animal_multi.json", {"results": {"data/Animal/audio/1.wav": judged}})
    published = read_results_files(find_benchmark("sakura"), [path])
    assert published.results[0].replies == ("Explanation: No.\nJudgement: incorrect",)
    assert published.results[0].score.values["judge"] == 0.0
    assert figures("sakura", path)["Animal multi (judge)"] == 0

    raw = {"results": {"data/Animal/audio/1.wav": {**row, "response": "(a)"}}}
    path = write(tmp_path / "answers.json", raw)
    with pytest.raises(ConfigError, match="does not tell which question"):
        figures("sakura", path)
    assert figures("sakura", path, subset="single")["Animal single (rule)"] == 1


@pytest.mark.parametrize(
    ("benchmark", "content", "words"),
    [
        ("mmau", b"", "is empty"),
        ("mmau", b'[{"id": "1"}]', "has no 'choices'"),
        ("mmau", b'{"predictions": []}', "not a list of JSON objects"),
        ("dynamic_superb", b"[1, 2]", "not a list of JSON objects"),
        ("dynamic_superb", b'{"pred": []}', "has no 'predictions'"),
        pytest.param("mmau", gzip.compress(b"[]" * 999)[:-9], "is not whole", id="gzip cut"),
        ("attributes", b"[]", "has no published form"),
    ],
)
def test_wrong_files_are_one_sentence(
    tmp_path: Path, benchmark: str, content: bytes, words: str
) -> None:
    path = tmp_path / "file.json"
    path.write_bytes(content)
    with pytest.raises((ConfigError, DataError), match=words):
        read_results_files(find_benchmark(benchmark), [path])


def test_command_prints_json_and_writes_a_report(tmp_path: Path) -> None:
    path = write(tmp_path / "r.json", [mmau("1", model_output="dog <b>")])
    done = desta("score", "mmau", path, "--json", "--report", tmp_path / "page.html")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["systems"][0]["headline"]["model_output"]["value"] == 1.0
    assert (tmp_path / "page.html").is_file()
    assert "| model_output | 1.0000" in (tmp_path / "page.md").read_text(encoding="utf-8")


def test_a_file_that_names_questions_without_an_answer_gets_no_score_unless_allowed(
    tmp_path: Path,
) -> None:
    path = write(tmp_path / "r.json", [mmau("1", model_output="dog"), mmau("2")])
    done = desta("score", "mmau", path)
    assert done.exit_code == 0, done.output
    assert "no score, 1 of 2 items have no answer (--allow-missing scores" in done.stdout
    allowed = desta("score", "mmau", path, "--allow-missing", "--json")
    row = json.loads(allowed.stdout)["systems"][0]
    assert (row["headline"]["model_output"]["value"], row["num_skipped"]) == (1.0, 1)


def test_command_says_what_is_wrong(tmp_path: Path) -> None:
    path = write(tmp_path / "r.json", [mmau("1", model_output="dog")])
    for arguments, words in (
        (("score", "mmao", path), '"mmao" is neither a benchmark nor a file'),
        (("score", path), "is not the folder or the results.jsonl of an evaluation"),
        (("score", "mmau"), "no results file is given"),
        (("score", "mmau", tmp_path / "none.json"), "is not a file"),
        (("score", "mmau", path, "--set", "batch_size=2"), "--set changes the recipe of a judge"),
        (("compare", path, path), "does not tell which benchmark"),
    ):
        done = desta(*arguments)
        assert done.exit_code == 1, done.output
        assert words in str(done.exception)


def test_published_files_are_compared(tmp_path: Path) -> None:
    a = write(tmp_path / "a.json", [mmau(str(n), model_output="cat") for n in range(8)])
    b = write(tmp_path / "b.json", [mmau(str(n), model_output="dog") for n in range(8)])
    done = desta("compare", a, b, "--benchmark", "mmau", "--json")
    assert done.exit_code == 0, done.output
    total = json.loads(done.stdout)["differences"][0]
    assert total["difference"] == {"value": 1.0, "standard_error": 0.0}
    assert total["p_value"] == 2 / 2**8


@needs_data
def test_real_outputs_give_the_official_figures() -> None:
    folder = DATA / "dynamic_superb"
    found = figures("dynamic_superb", *sorted(folder.glob("whisper__*.gz")))
    assert found["Semantics, 1 instances (exact_match)"] == 0.621

    published = read_results_files(
        find_benchmark("speech_ifeval"), sorted((DATA / "speech_ifeval").glob("meta*/*.gz"))
    )
    assert (published.num_claimed, published.disputed) == (1533, ())
    found = score_published(published)["systems"][0]["headline"]
    assert found["closed_ended rate"]["value"] == round(871 / 933, 6)
    assert found["unconstrained word error rate"]["value"] == 0.079099


SAKURA_ROW = {"instruction": "Which? (a) dog (b) cat", "label": "(a) dog", "response": "(a) dog"}


@pytest.mark.parametrize(
    ("benchmark", "content"),
    [
        ("mmau", "[" * 100_000),
        ("speech_ifeval", "[" * 100_000),
        ("mmau", json.dumps([mmau("1", model_output="dog") | {"answer": 3}])),
        ("sakura", json.dumps({"results": {"data/Animal/audio/1.wav": "(a) dog"}})),
        (
            "voicebench",
            json.dumps(
                {"prompt": "?", "reference": "a", "response": "a", "score": ["yes"], "pedant": "x"}
            ),
        ),
    ],
)
def test_fields_of_the_wrong_kind_are_one_sentence(
    tmp_path: Path, benchmark: str, content: str
) -> None:
    path = tmp_path / "m-sd-qa-usa-single.jsonl"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError):
        read_results_files(find_benchmark(benchmark), [path])


def test_answers_and_judgements_that_are_no_text_are_not_there(tmp_path: Path) -> None:
    """A null in somebody's file costs one item, not the file."""
    rows = {
        "1.wav": SAKURA_ROW,
        "2.wav": {**SAKURA_ROW, "response": 5},
        "3.wav": {**SAKURA_ROW, "Judgement": None},
    }
    path = write(tmp_path / "animal_single.json", {"results": rows})
    published = read_results_files(find_benchmark("sakura"), [path])
    assert [(r.id, r.skipped, r.score.values.get("judge")) for r in published.results] == [
        ("Animal/1.wav/single", None, None),
        ("Animal/2.wav/single", "its answer, `response`, is a number, not a text", None),
        ("Animal/3.wav/single", None, None),
    ]

    row = {"id": "SpeakerCounting_LibriTTS-TestClean_1.wav", "label": "one", "pred": "one"}
    path = write(tmp_path / "d.json", {"predictions": [{**row, "instruction": 5}]})
    assert figures("dynamic_superb", path)["exact_match"] == 1.0


@pytest.mark.parametrize(
    ("output", "told"),
    [
        (["dog"], "a list"),
        (3, "a number"),
        ({"text": "dog"}, "an object"),
        (True, "true or false"),
        (None, None),
        (float("nan"), None),
    ],
)
def test_an_answer_that_is_no_text_is_told_by_its_kind(
    tmp_path: Path, output: Any, told: str | None
) -> None:
    rows = [mmau("1", model_output="dog"), mmau("2") | {"model_output": output}]
    results = read_results_files(find_benchmark("mmau"), [write(tmp_path / "m.json", rows)]).results
    reason = f"its answer, `model_output`, is {told}, not a text" if told else NOT_ANSWERED
    assert [r.skipped for r in results] == [None, reason]


def test_dynamic_superb_tells_the_instance_by_the_path_where_ids_do_not(tmp_path: Path) -> None:
    rows = [
        {"file": "1-9.wav", "label": "dog", "prediction": "Dog"},
        {"file": "2-9.wav", "label": "pig", "prediction": "cat"},
    ]
    folder = tmp_path / "EnvironmentalSoundClassification_ESC50-Animals"
    folder.mkdir()
    found = figures("dynamic_superb", write(folder / "prediction.json", rows))
    assert found["Audio, 1 instances (exact_match)"] == 0.5

    found = figures("dynamic_superb", write(tmp_path / "mine.json", rows))
    assert found["exact_match"] == 0.5
    assert not any(name.startswith("Speech") for name in found)  # nobody knows that it is speech


def test_published_files_of_which_one_answer_differs_are_compared(tmp_path: Path) -> None:
    rows = [mmau(str(n), model_output="cat" if n % 2 else "dog") for n in range(8)]
    a = write(tmp_path / "a.json", rows)
    b = write(tmp_path / "b.json", [rows[0] | {"answer": "cat"}, *rows[1:]])
    done = desta("compare", a, b, "--benchmark", "mmau")
    assert done.exit_code == 0, done.output
    assert "7 items in common" in done.stdout
    assert "the right answer differs" in done.stdout
    assert "0 ('dog' and 'cat')" in " ".join(done.stdout.split())
    told = json.loads(desta("compare", a, b, "--benchmark", "mmau", "--json").stdout)
    assert (told["num_items"], told["num_first"], told["num_second"]) == (7, 8, 8)
    assert told["left_out"][0]["count"] == 1

    questions = write(tmp_path / "mmau-test-mini.json", [mmau(str(n)) for n in range(9)])
    asked = ("compare", a, b, "--benchmark", "mmau", "--data", questions)
    done = desta(*asked)
    assert isinstance(done.exception, DataError)
    assert "not all 9 questions are answered: 1 because neither A nor B" in str(done.exception)
    told = json.loads(desta(*asked, "--allow-missing", "--json").stdout)
    assert {row["reason"]: row["count"] for row in told["left_out"]} == {
        "the right answer differs": 1,
        "neither A nor B answers it": 1,
    }


def test_several_files_a_side_are_compared(tmp_path: Path) -> None:
    def files(system: str, said: str) -> list[Path]:
        row = {"instruction": "Which? (a) dog (b) cat", "label": "(a) dog", "response": said}
        folder = tmp_path / system / "reports"
        folder.mkdir(parents=True)
        return [
            write(
                folder / f"{hop}.json",
                {"results": {f"data/Animal/audio/{n}.wav": row for n in range(4)}},
            )
            for hop in ("single", "multi")
        ]

    one, other = files("one", "(b)"), files("other", "(a)")
    told = json.loads(
        desta("compare", *one, "vs", *other, "--benchmark", "sakura", "--json").stdout
    )
    assert told["num_items"] == 8
    assert told["first"] == f"{tmp_path}/one/reports/* (2 files)"
    folders = json.loads(
        desta("compare", one[0].parent, other[0].parent, "--benchmark", "sakura", "--json").stdout
    )
    assert sorted(map(str, folders["differences"])) == sorted(map(str, told["differences"]))
    unnamed = [
        path.rename(path.with_name(f"{system}.json"))
        for system, path in (("x", one[0]), ("y", other[0]))
    ]
    done = desta("compare", *unnamed, "--benchmark", "sakura", "--subset", "single", "--json")
    assert json.loads(done.stdout)["num_items"] == 4
    for wrong in ([*one, *other], [*one, "vs"], ["vs", *other], [one[0]]):
        done = desta("compare", *wrong, "--benchmark", "sakura")
        assert isinstance(done.exception, ConfigError), done.output
        assert "do not tell which belong to which system" in str(done.exception)


@needs_data
def test_a_label_that_one_published_file_lacks_keeps_nothing_from_being_compared(
    tmp_path: Path,
) -> None:
    """One is in another order too: answers are told apart by their questions."""
    path = next((DATA / "speech_ifeval").glob("meta*/rule_eval@closed*"))
    rows = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
    labelled = [row | {"label": "yes", "response": row["response"].lower()} for row in rows[::-1]]
    other = write(tmp_path / "other.jsonl", labelled, lines=True)
    told = json.loads(
        desta("compare", path, other, "--benchmark", "speech_ifeval", "--json").stdout
    )
    assert (told["num_items"], told["left_out"]) == (933, [])
    assert told["differences"][0]["first"] == round(871 / 933, 6)


def test_an_item_in_two_files_is_refused_with_the_two_places(tmp_path: Path) -> None:
    parts = [write(tmp_path / f"{n}.json", [mmau(str(n), model_output="dog")]) for n in range(5)]
    again = write(
        tmp_path / "again.json", [mmau("9", model_output="x"), mmau("3", model_output="x")]
    )
    with pytest.raises(DataError) as caught:
        read_results_files(find_benchmark("mmau"), [*parts, again])
    assert f"id '3' occurs 2 times, in {parts[3]} (row 1) and in {again} (row 2)" in str(
        caught.value
    )
    assert str(parts[0]) not in str(caught.value)

    twice = write(tmp_path / "t.json", [mmau(n, model_output="x") for n in ("1", "2", "1")])
    with pytest.raises(DataError, match="occurs 2 times, first in rows 1 and 3"):
        read_results_files(find_benchmark("mmau"), [twice])


def test_one_instance_in_two_forms_is_refused(tmp_path: Path) -> None:
    name = "SpoofDetection_ASVspoof2017"
    rows = [{"id": f"{name}_E_{n}.wav", "pred": "yes", "label": "yes"} for n in range(3)]
    bare = [{"file": f"clips/E_{n}.flac", "prediction": "yes", "label": "yes"} for n in range(3)]
    one = write(tmp_path / "one.json", {"predictions": rows})
    other = write(tmp_path / f"{name}.json", bare)
    with pytest.raises(DataError, match=r"occurs 2 times, in .*one\.json \(row 1\) and in .*2017"):
        read_results_files(find_benchmark("dynamic_superb"), [one, other])

    spoken = [{"prompt": "q", "reference": "A", "response": "A"}]
    named = write(tmp_path / "m-openbookqa-test-audio.jsonl", spoken, lines=True)
    unnamed = write(tmp_path / "mine.jsonl", spoken, lines=True)
    with pytest.raises(DataError, match="occurs 2 times"):
        read_results_files(find_benchmark("voicebench"), [named, unnamed], subset="openbookqa")
    accents = [
        write(tmp_path / f"m-sd-qa-{a}-audio.jsonl", spoken, lines=True) for a in ("usa", "aus")
    ]
    assert len(read_results_files(find_benchmark("voicebench"), accents).results) == 2


def test_systems_are_named_after_what_tells_them_apart(tmp_path: Path) -> None:
    for names, expected in (
        (["x/reports/rule_eval@creative_writing.jsonl", "x/reports/llm_eval@cot.jsonl"], "x"),
        (["a/qwen2-bbh-test-audio.jsonl", "a/qwen2-ifeval-test-audio.jsonl"], "qwen2"),
        (["whisper__A_B.json.gz", "whisper__C_D.json.gz"], "whisper"),
        (["desta2/eval/results/predictions.json"], "desta2"),
        (["mine.json"], "mine"),
        (["salmonn-7b/animal.json", "salmonn-13b/animal.json"], "salmonn-7b + salmonn-13b"),
        (["desta2/reports/a.json", "desta2/tmp/b.json"], "desta2"),
        (
            [f"Instance{n}/results.json" for n in "ABCDE"],
            "InstanceA + InstanceB + InstanceC + 2 more",
        ),
    ):
        assert system_name([tmp_path / name for name in names]) == expected
    path = write(tmp_path / "r.json", [mmau("1", model_output="dog")])
    told = json.loads(desta("score", "mmau", path, "--name", "DeSTA2.5", "--json").stdout)
    assert told["systems"][0]["system"] == "DeSTA2.5"
