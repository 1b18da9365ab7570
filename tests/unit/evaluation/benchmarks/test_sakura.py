import json
from pathlib import Path
from typing import Any

import pytest

from desta.errors import DataError
from desta.evaluation.base import Item
from desta.evaluation.benchmarks import sakura
from desta.evaluation.published import read_results_files
from support.published import report
from support.results import answer as answered

QUESTION = "Which animal is it? (a) dog (b) crow (c) cow (d) rooster"
ROW = {
    "attribute_label": "dog",
    "single_instruction": QUESTION,
    "single_answer": " (a) dog",
    "multi_instruction": "What does it have? (a) Feathers (b) Fur",
    "multi_answer": "(b) Fur",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for track in sakura.files.TRACKS:
        folder = tmp_path / "data" / track
        folder.mkdir(parents=True)
        table = {f"data/{track}/audio/x.wav": ROW}
        (folder / "metadata.json").write_text(json.dumps(table), encoding="utf-8")
    return tmp_path


def item(root: Path) -> Item:
    return sakura.files.load_items(root)[0]


def test_every_clip_asks_twice_and_a_space_before_an_answer_is_taken_off(root: Path) -> None:
    items = sakura.files.load_items(root)

    assert len(items) == 8
    assert (items[0].target, items[0].groups) == ("(a) dog", {"track": "Animal", "hop": "single"})
    assert items[1].choices == ("(a) Feathers", "(b) Fur")
    assert items[0].messages[-1].content == f"<|AUDIO|>\n\n{QUESTION}"
    assert items[0].messages[-1].audios[0].audio == str(root / "data/Animal/audio/x.wav")


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("(a) dog", True),
        ("a", True),
        ("A.", True),
        ("The answer is (a).", True),
        ("The answer is a.", True),
        ("It sounds like a dog to me", True),
        ("(a) dog or (b) crow", False),
        ("dog and crow", False),
        ("(b)", False),
        ("(b) dog", False),  # letter and text disagree
        ("a bird", False),
        ("", False),
    ],
)
def test_the_rule_wants_one_option_named_by_letter_or_text(
    root: Path, answer: str, right: bool
) -> None:
    assert sakura.score.score(item(root), answer).values[sakura.score.RULE] == float(right)


@pytest.mark.parametrize(
    ("reply", "official", "lenient"),
    [
        ("Explanation: x\nJudgement: correct", 1.0, 1.0),
        ("Explanation: x\nJudgement: Incorrect ", 0.0, 0.0),
        ("Explanation: x\nJudgement: correct.", 0.0, 1.0),
        ("**Judgement:** correct", 0.0, 1.0),
        ("I cannot say", 0.0, None),
    ],
)
def test_a_reply_in_another_form_is_wrong_officially_and_read_leniently_beside(
    root: Path, reply: str, official: float, lenient: float | None
) -> None:
    score = sakura.score.score(item(root), "dog", [reply])

    assert score.values[sakura.score.JUDGE] == official
    assert score.values[sakura.score.LENIENT] == lenient


def test_without_a_judge_its_readings_are_missing_not_zero(root: Path) -> None:
    items = sakura.files.load_items(root)
    report = sakura.score.aggregate([answered(sakura.score.score, i, i.target) for i in items])

    assert report.headline[f"Average multi ({sakura.score.RULE})"].value == 1.0
    assert not [name for name in report.headline if sakura.score.JUDGE in name.split("(")[1]]
    assert report.remarks[0]["count"] == 8


def test_figures_are_by_track_and_hop_and_averaged_over_tracks(root: Path) -> None:
    items = [i for i in sakura.files.load_items(root) if i.groups["hop"] == "single"]
    replies = ["correct", "correct", "correct", "wrong form"]

    report = sakura.score.aggregate(
        [
            answered(sakura.score.score, i, "dog", f"Explanation: x\nJudgement: {reply}")
            for i, reply in zip(items, replies, strict=True)
        ]
    )

    assert report.headline["Language single (judge)"].value == 0.0
    assert report.headline["Average single (judge)"].value == 0.75


def judged(judgement: str, **changes: Any) -> dict[str, Any]:
    row = {
        "instruction": QUESTION,
        "label": "(a) dog",
        "model_response": "dog",
        "Explanation": "x",
        "Judgement": judgement,
    }
    return {**row, **changes}


def test_a_file_of_judgements_is_scored_as_it_is(tmp_path: Path) -> None:
    table = {
        "data/Animal/audio/x.wav": judged("correct"),
        "data/Emotion/audio/x.wav": judged("No extracted judgement"),
    }
    path = tmp_path / "judged.json"
    path.write_text(json.dumps({"judge_model": "j", "results": table}), encoding="utf-8")

    found = report("sakura", path, subset="single")

    assert found.headline["Animal single (judge)"].value == 1.0
    assert found.headline["Average single (judge)"].value == 0.5
    assert found.remarks[0]["reason"] == sakura.score.UNREADABLE


def test_a_file_about_other_questions_is_another_version(root: Path, tmp_path: Path) -> None:
    table = {"data/Animal/audio/y.wav": judged("correct")}
    path = tmp_path / "judged.json"
    path.write_text(json.dumps({"results": table}), encoding="utf-8")

    with pytest.raises(DataError, match="answers 1 questions that are not in this version"):
        read_results_files(sakura.BENCHMARK, [path], subset="single", data=str(root))


def test_an_answer_outside_the_options_is_an_error(root: Path) -> None:
    path = root / "data" / "Gender" / "metadata.json"
    path.write_text(json.dumps({"x.wav": {**ROW, "multi_answer": "(c) Scales"}}), encoding="utf-8")

    with pytest.raises(DataError, match="no letter of the options"):
        sakura.files.load_items(root)
