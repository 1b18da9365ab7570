"""Results of Speech-IFEval, of which two scripts write two kinds of files."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from desta.errors import DataError
from desta.evaluation.base import ReadOptions
from desta.evaluation.benchmarks.speech_ifeval import files as speech_ifeval_files
from desta.evaluation.benchmarks.table import find_benchmark
from desta.evaluation.benchmarks.voicebench import files as voicebench_files
from desta.evaluation.published import PUBLISHED_OTHERWISE, read_results_files, score_published
from desta.evaluation.published_files import NOT_ANSWERED
from support.published import figures, rule, write


def test_speech_ifeval_and_what_the_file_says_itself(tmp_path: Path) -> None:
    rows = [rule(0, "HELLO", True), rule(1, "Hello", False), rule(2, "hello", True)]
    path = write(tmp_path / "rule_eval@creative_writing.jsonl", rows, lines=True)
    published = read_results_files(find_benchmark("speech_ifeval"), [path])
    assert published.num_claimed == 3
    assert published.disputed == ("creative_writing/2",)
    notes = score_published(published)["systems"][0]["remarks"]
    assert {"reason": PUBLISHED_OTHERWISE, "count": 1, "example": "creative_writing/2"} in notes

    raw = write(tmp_path / "raw.jsonl", [rule(0, "HELLO"), rule(1, "no")], lines=True)
    assert figures("speech_ifeval", raw)["creative_writing rate"] == 0.5


def judged(number: int, *, instruction: str = "Who speaks?", **fields: Any) -> dict[str, Any]:
    """A closed-ended question as the judge's script writes it."""
    return {
        **rule(number, "A WOMAN"),
        "instruction": instruction,
        "metric": "accuracy",
        "label": "woman",
        "eval_response": "Result: NO",
        "correct": False,
        **fields,
    }


def ruled(row: dict[str, Any]) -> dict[str, Any]:
    """The same answer as the rules' script writes it."""
    kept = {k: v for k, v in row.items() if k not in ("label", "eval_response", "correct")}
    return {**kept, "follow_all_instructions": True}


def test_speech_ifeval_rules_and_judge_of_the_same_answers_are_joined(tmp_path: Path) -> None:
    rows = [judged(0), judged(1), judged(2, eval_response="Result: YES", correct=True)]
    judge = write(tmp_path / "llm_eval@closed_ended_questions.jsonl", rows, lines=True)
    turned = [ruled(row) for row in reversed(rows)]
    rules = write(tmp_path / "rule_eval@closed_ended_questions.jsonl", turned, lines=True)

    for paths in ([rules, judge], [judge, rules]):
        published = read_results_files(find_benchmark("speech_ifeval"), paths)

        found = score_published(published)["systems"][0]
        assert (found["num_items"], published.num_claimed, published.disputed) == (3, 3, ())
        assert found["headline"]["closed_ended rate"]["value"] == 1.0
        assert found["headline"]["closed_ended accuracy, D"]["value"] == pytest.approx(1 / 3)

    other = write(tmp_path / "other.jsonl", [{**row, "response": "A man"} for row in turned])
    with pytest.raises(DataError, match="is answered in another file too"):
        read_results_files(find_benchmark("speech_ifeval"), [judge, other])


def test_speech_ifeval_judgements_are_not_taken_for_flags_of_the_rules(tmp_path: Path) -> None:
    path = write(tmp_path / "llm_eval@closed.jsonl", [judged(0), judged(1)], lines=True)
    published = read_results_files(find_benchmark("speech_ifeval"), [path])
    assert (published.num_claimed, published.disputed) == (2, ())

    lying = write(tmp_path / "lying.jsonl", [judged(0, correct=True), judged(1)])
    told = read_results_files(find_benchmark("speech_ifeval"), [lying]).disputed
    assert told == ("closed_ended/0",)


def test_speech_ifeval_is_compared_with_the_questions_in_any_order(tmp_path: Path) -> None:
    rows = [judged(n, instruction=f"{n}?") for n in range(3)]
    asked = speech_ifeval_files.read_published([write(tmp_path / "q.jsonl", rows)], ReadOptions())
    questions = [result.item for result in asked]
    turned = write(tmp_path / "turned.jsonl", rows[:0:-1], lines=True)

    published = read_results_files(find_benchmark("speech_ifeval"), [turned], questions=questions)

    assert [(r.id, r.item.question, r.skipped) for r in published.results] == [
        ("closed_ended/0", "0?", NOT_ANSWERED),
        ("closed_ended/1", "1?", None),
        ("closed_ended/2", "2?", None),
    ]
    strange = write(tmp_path / "strange.jsonl", [judged(0, instruction="Else?")])
    with pytest.raises(DataError, match="1 questions that are not in this version .* 'Else"):
        read_results_files(find_benchmark("speech_ifeval"), [strange], questions=questions)


def test_answers_in_another_order_than_the_questions_are_refused(tmp_path: Path) -> None:
    """VoiceBench has no ids: its questions are told by their number."""
    rows = [{"prompt": f"{n}?", "response": "A", "reference": "A"} for n in range(2)]
    name = "m-openbookqa-test-audio.jsonl"
    benchmark = find_benchmark("voicebench")
    file = write(tmp_path / name, rows)
    asked = [result.item for result in voicebench_files.read_published([file], ReadOptions())]
    turned = write(tmp_path / name, rows[::-1], lines=True)
    with pytest.raises(DataError, match="'openbookqa/test/0' is '1.', and '0.' in the questions"):
        read_results_files(benchmark, [turned], questions=asked)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_speech_ifeval_is_read_by_content_not_by_name(tmp_path: Path, encoding: str) -> None:
    line = json.dumps(rule(0, "HELLO", True)).encode(encoding)
    for name, data in (("a.gz", line), ("b.jsonl", gzip.compress(line))):
        (tmp_path / name).write_bytes(data)
        assert figures("speech_ifeval", tmp_path / name) == {"creative_writing rate": 1.0}
