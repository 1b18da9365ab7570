"""Speech-IFEval: reading, prompts, scores and rates, on questions made up here."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from desta.errors import ConfigError, DataError
from desta.evaluation.base import ReadOptions, Result
from desta.evaluation.benchmarks.speech_ifeval.files import (
    FILES,
    load_items,
    make_item,
    read_published,
)
from desta.evaluation.benchmarks.speech_ifeval.score import (
    FOLLOWED,
    GROUPS,
    IFRATE,
    NOT_JUDGED,
    NUM_ITEMS,
    UNREADABLE,
    Decision,
    aggregate,
    forgetting_rate,
    forgetting_rows,
    read_decision,
    score,
)
from desta.evaluation.benchmarks.table import BENCHMARKS
from desta.evaluation.metrics import Figure, find
from desta.evaluation.recipe import BenchmarkFiles
from desta.evaluation.wer import count_word_errors, normalise_basically
from support.results import answer


def question(number: int, metric: str, rule: str | None = None, **more: Any) -> dict[str, Any]:
    record = {
        "audio_filepath": f"x/{number}.wav",
        "textual_audio": "[00:00:00 - 00:00:02] Hello.(Gender: Female)",
        "instruction": "What is said?",
        "dataset": "made_up",
        "metric": metric,
    }
    if rule is not None:
        record |= {"instruction_id_list": [rule], "kwargs": [{}]}
    return record | more


CLOSED = [
    question(0, "wer", "change_case:english_capital", label="HELLO THERE"),
    question(1, "accuracy", "startend:quotation", label="happy"),
    question(2, "accuracy", "detectable_format:title", label="sad"),
]
OPEN = [question(0, "open", "detectable_format:json_format")]
THOUGHT = [question(0, "cot"), question(1, "cot")]
FREE = [question(0, "wer", label="HELLO THERE"), question(1, "accuracy", label="happy")]


def write(path: Path, records: list[dict[str, Any]]) -> Path:
    text = "".join(json.dumps(record) + "\n" for record in records).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    inner = tmp_path / "eval_data"
    inner.mkdir()
    write(inner / "closed_ended_questions.jsonl", CLOSED)
    write(inner / "creative_writing.jsonl.gz", OPEN)
    write(inner / "chain-of-thought.jsonl", THOUGHT)
    return tmp_path


def test_questions_are_read_plain_and_gzipped_with_ids_by_line(folder: Path) -> None:
    items = load_items(folder, Path())

    assert [item.id for item in items] == [
        "closed_ended/0", "closed_ended/1", "closed_ended/2", "creative_writing/0",
        "chain_of_thought/0", "chain_of_thought/1",
    ]  # fmt: skip
    assert items == load_items(folder / "eval_data", Path())
    assert items[0].target == "HELLO THERE"
    assert items[0].record["instruction_id_list"] == ["change_case:english_capital"]
    write(folder / "eval_data" / f"{FILES['unconstrained']}.jsonl", FREE)
    assert [item.id for item in load_items(folder, Path())[-2:]] == [
        "unconstrained/0",
        "unconstrained/1",
    ]


def test_prompts_are_those_of_the_benchmark(folder: Path) -> None:
    item = load_items(folder, Path("clips"))[0]

    heard, told = item.messages, item.described

    assert [m.role for m in heard] == [m.role for m in told] == ["system", "user"]
    assert heard[0] == told[0]
    assert heard[0].content == "Follow the given instructions."
    assert heard[1].content == "<|AUDIO|>\n\nWhat is said?"
    assert heard[1].audios[0].audio == str(Path("clips/x/0.wav"))
    assert told[1].content == (
        "Speech Input: [00:00:00 - 00:00:02] Hello.(Gender: Female)\n\nWhat is said?"
    )


def test_missing_file_and_broken_question_are_refused(folder: Path) -> None:
    write(folder / "eval_data/closed_ended_questions.jsonl", [question(0, "wer") | {"label": 3}])
    with pytest.raises(DataError, match="question 0 is not in the published layout"):
        load_items(folder, Path())
    untold = {k: v for k, v in CLOSED[0].items() if k != "textual_audio"}
    write(folder / "eval_data/closed_ended_questions.jsonl", [untold])
    with pytest.raises(DataError, match="closed_ended/0 has no `textual_audio`"):
        load_items(folder, Path())
    write(folder / "eval_data/closed_ended_questions.jsonl", [CLOSED[0], CLOSED[0]])
    with pytest.raises(DataError, match="closed_ended/0 is asked more than once"):
        load_items(folder, Path())
    (folder / "eval_data/chain-of-thought.jsonl").unlink()
    write(folder / "eval_data/closed_ended_questions.jsonl", CLOSED)
    with pytest.raises(DataError, match=r"chain-of-thought\.jsonl is missing"):
        load_items(folder, Path())


def test_questions_are_fetched_only_at_a_commit(tmp_path: Path) -> None:
    load = BENCHMARKS["speech_ifeval"].load
    with pytest.raises(ConfigError, match='"main" of owner/name is not a commit'):
        load(BenchmarkFiles(path="owner/name", revision="main"))
    with pytest.raises(DataError, match="nowhere is not there"):
        load(BenchmarkFiles(path=str(tmp_path / "nowhere")))


def test_rules_need_no_judge_and_thoughts_do(folder: Path) -> None:
    items = {item.id: item for item in load_items(folder, Path())}

    ruled, thought = items["closed_ended/0"], items["chain_of_thought/0"]
    assert score(ruled, "HELLO").values == {FOLLOWED: 1.0}
    assert score(ruled, "Hello").values == {FOLLOWED: 0.0}
    assert score(ruled, "HELLO").note is None
    assert score(thought, "so", ["Result: YES"]).values == {FOLLOWED: 1.0}
    assert score(thought, "so", ["Result: NO"]).values == {FOLLOWED: 0.0}
    assert score(thought, "so", ["Perhaps."]).note == UNREADABLE
    assert score(thought, "so").note == NOT_JUDGED


def test_outputs_of_others_are_read_and_scored(tmp_path: Path) -> None:
    rows = [
        record | {"response": response, "eval_response": reply, "follow_all_instructions": False}
        for record, response, reply in zip(
            CLOSED,
            ["HELLO, THEIR!", '"happy"', "sad"],
            ["Hello, their", "Result: YES", "hm"],
            strict=True,
        )
    ]
    for row in rows:
        row["seed_transcript"] = row.pop("textual_audio")  # as outputs call it
    path = write(tmp_path / "llm_eval@closed_ended_questions.jsonl.gz", rows)

    results = read_published([path], ReadOptions())
    report = aggregate(results)

    rate = report.headline["closed_ended rate"]
    assert isinstance(rate, Figure)
    assert (rate.value, rate.num_items) == (pytest.approx(2 / 3), 3)
    wrapping = find(report.cells, FOLLOWED, "group", "wrapping").estimate
    assert wrapping
    assert wrapping.value == 0.5
    assert report.headline["closed_ended word error rate"].value == 0.5
    assert report.headline["closed_ended accuracy, made_up"].value == 1.0
    assert report.remarks == ({"reason": UNREADABLE, "count": 1, "example": "closed_ended/2"},)
    assert results[0].claimed == {FOLLOWED: False}


def test_outputs_without_label_or_description_are_scored_by_their_rules(tmp_path: Path) -> None:
    row = {k: v for k, v in CLOSED[0].items() if k not in ("label", "textual_audio")}
    path = write(tmp_path / "a.jsonl", [row | {"response": "HELLO"}])
    (one,) = read_published([path], ReadOptions())

    assert one.score.values == {FOLLOWED: 1.0}
    with pytest.raises(DataError, match="closed_ended/0 has no label to compare with"):
        score(one.item, "HELLO", ["hello"])


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([], "is empty"),
        ([CLOSED[0]], "no `response`"),
        ([CLOSED[0] | {"response": None}], "no `response`"),
        ([CLOSED[0] | {"response": "a", "eval_response": 3}], "no `response`"),
        ([CLOSED[0] | {"response": "a", "metric": "bleu"}], "metric 'bleu' is none"),
        ([THOUGHT[0] | {"response": "a"}] * 2, "chain_of_thought/0 is asked more than once"),
        ([OPEN[0] | {"response": "a", "kwargs": []}], "not lists of equal length"),
    ],
)
def test_broken_outputs_are_refused(
    tmp_path: Path, records: list[dict[str, Any]], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        read_published([write(tmp_path / "rule_eval@x.jsonl", records)], ReadOptions())


def test_ifrate_needs_all_three_sections_whole_and_decided(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = load_items(folder, Path())
    outputs = ["HELLO", '"a"', "b", "{}", "so", "so"]
    replies = [(), (), (), (), ("Result: YES",), ("Result: NO",)]
    results = [
        answer(score, item, output, *said)
        for item, output, said in zip(items, outputs, replies, strict=True)
    ]
    assert IFRATE not in aggregate(results).headline  # most questions are missing

    for section, number in (("closed_ended", 3), ("creative_writing", 1), ("chain_of_thought", 2)):
        monkeypatch.setitem(NUM_ITEMS, section, number)
    figures = aggregate(results).headline
    assert figures[IFRATE].value == pytest.approx((2 / 3 + 1 + 1 / 2) / 3)
    assert IFRATE not in aggregate(results[:-1]).headline
    unjudged = answer(score, items[-1], "so")
    assert IFRATE not in aggregate([*results[:-1], unjudged]).headline
    unread = answer(score, items[1], '"a"', "hm")  # of no weight: its rule is decided
    assert IFRATE in aggregate([results[0], unread, *results[2:]]).headline


def test_forgetting_is_relative_to_the_backbone() -> None:
    assert forgetting_rate(0.45, 0.9) == pytest.approx(-0.5)
    with pytest.raises(ConfigError, match="cannot be forgotten"):
        forgetting_rate(0.5, 0.0)


def test_forgetting_rates_are_printed_below_their_systems() -> None:
    (row,) = forgetting_rows({"forgetting_rates": {"model": -0.0357, "cascade": 0.01}})

    assert row.cells == {"model": "-3.6%", "cascade": "+1.0%"}
    assert forgetting_rows({"forgetting_rates": {}}) == []


@pytest.mark.parametrize(
    ("reply", "verdict", "in_form"),
    [
        ("Result: YES", True, True),
        ("It reasons.\nresult: no", False, True),
        ("Result:\nyes", True, True),
        ("Result: NOT", False, True),  # as the official parser has it
        ("Result: NO. Or Result: YES?", False, True),  # the first counts
        ("Result:YES", True, False),
        ("Result: **yes**", True, False),
        ("Result: <NO>", False, False),
        ("Result: Not sure", False, True),
        ("Result:  nothing", None, False),
        ("YES", None, False),
        ("", None, False),
    ],
)
def test_judge_reply(reply: str, verdict: bool | None, in_form: bool) -> None:
    assert read_decision(reply) == Decision(verdict=verdict, in_form=in_form)


def test_word_error_rate_is_over_all_words() -> None:
    def spoken(label: str, reply: str) -> Result:
        record = question(0, "wer", label=label)
        item = make_item("unconstrained", 0, record, Path(), Path())
        return answer(score, item, "x", reply)

    results = [spoken("a b c", "a b x"), spoken("d", "d e f")]

    name = "unconstrained word error rate"
    assert aggregate(results).headline[name].value == 3 / 4
    assert normalise_basically(" <<It's>> [noise] (so) Fine! ") == "it s fine"
    assert count_word_errors("a b c", "a b x").num_errors == 1
    assert name not in aggregate([spoken("[noise]", "a")]).headline, "there is not one word"


def test_every_group_names_a_known_instruction() -> None:
    from desta.evaluation.ifeval.checkers import CHECKERS

    assert GROUPS.keys() <= CHECKERS["speech_ifeval"].keys()
