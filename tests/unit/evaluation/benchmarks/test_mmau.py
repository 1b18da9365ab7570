import json
from pathlib import Path
from typing import Any

import pytest

from desta.errors import DataError
from desta.evaluation.benchmarks import mmau
from desta.evaluation.metrics import find
from desta.evaluation.published import read_results_files
from support.published import report

ROW: dict[str, Any] = {
    "id": "1",
    "audio_id": "./test-mini-audios/1.wav",
    "question": "Who speaks?",
    "choices": ["Man", "Woman", "The child", "Robot"],
    "answer": "Man",
    "task": "speech",
    "difficulty": "easy",
    "sub-category": "Speaker",
    "category": ["Reasoning"],
}


def write(tmp_path: Path, *rows: dict[str, Any], name: str = "mmau-test-mini.json") -> Path:
    path = tmp_path / name
    path.write_text(json.dumps(rows), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("choices", "options"),
    [
        (["a", "b", "c"], '"a", "b" or "c"'),
        (["a", "b"], '"a" or "b"'),
        (["a"], '"a"'),
    ],
)
def test_the_question_lists_its_options(tmp_path: Path, choices: list[str], options: str) -> None:
    (item,) = mmau.MMAU_FORMAT.load_items(
        write(tmp_path, {**ROW, "choices": choices, "answer": "a"})
    )

    system, asked = item.messages
    assert system.content.endswith('"The correct answer is: "___" ".')
    assert asked.content == f"<|AUDIO|>\n\nWho speaks? Choose from the following options: {options}"
    assert asked.audios[0].audio == str(tmp_path / "test-mini-audios/1.wav")
    assert item.groups == {"task": "speech", "difficulty": "easy", "sub-category": "Speaker"}


def test_a_folder_is_read_by_the_published_name_of_its_file(tmp_path: Path) -> None:
    write(tmp_path, ROW)

    assert len(mmau.MMAU_FORMAT.load_items(tmp_path)) == 1


@pytest.mark.parametrize(
    ("prediction", "right"),
    [
        ("Man", True),
        ("it is a MAN!", True),
        ("man or woman", False),  # a word of a wrong option
        ("The man", False),  # "the" stands in a wrong option only
        ("woman", False),
        ("human", False),
        ("", False),
        ("?!", False),
    ],
)
def test_string_match_wants_all_words_of_the_answer_and_none_of_the_others(
    prediction: str, right: bool
) -> None:
    assert mmau.string_match("Man", prediction, ROW["choices"]) is right


def test_an_option_with_the_same_words_is_not_another_one() -> None:
    assert mmau.string_match("A then B", "b then a", ["A then B", "B then A"])
    assert mmau.string_match("yes", "yes", ["yes", "yes yes", "no"])


def test_the_two_readings_differ_by_the_prefix(tmp_path: Path) -> None:
    (item,) = mmau.MMAU_FORMAT.load_items(write(tmp_path, {**ROW, "choices": ["Man", "The woman"]}))

    score = mmau.MMAU.score(item, "The correct answer is: Man", ())

    assert score.values == {"model_output": 0.0, "model_prediction": 1.0}
    assert score.extracted == "Man"


def test_a_published_results_file_gives_both_figures_and_counts_rows_without_output(
    tmp_path: Path,
) -> None:
    path = write(
        tmp_path,
        {**ROW, "model_output": "The correct answer is: Man", "model_prediction": "Man"},
        {**ROW, "id": "2", "model_output": "Woman", "task": "sound"},
        {**ROW, "id": "3"},
        {**ROW, "id": "4", "model_prediction": "Man"},
    )

    found = report("mmau", path)

    assert found.headline["model_output"].value == 0.0
    assert found.headline["model_prediction"].value == pytest.approx(2 / 3)
    assert find(found.cells, "model_output").num_unscored == 2
    assert find(found.cells, "model_prediction").num_unscored == 1
    assert find(found.cells, "model_prediction", "task", "sound").num_scored == 1
    assert {note["reason"]: note["count"] for note in found.remarks} == {"no model_output": 1}
    version = read_results_files(mmau.MMAU, [path]).version
    assert version.startswith("unknown annotations of 4 items")


def test_answers_that_the_authors_keep_are_not_scored(tmp_path: Path) -> None:
    row = {key: value for key, value in ROW.items() if key != "answer"}
    (item,) = mmau.MMAU_FORMAT.load_items(write(tmp_path, row, name="mmau-test.json"))

    score = mmau.MMAU.score(item, "Man", ())

    assert set(score.values.values()) == {None}
    assert score.note == mmau.ANSWER_WITHHELD


def test_mmar_is_the_same_with_other_keys(tmp_path: Path) -> None:
    row = {
        "id": "x",
        "audio_path": "./audio/x.wav",
        "question": "What?",
        "choices": ["cat", "dog"],
        "answer": "cat",
        "modality": "mix-sound-speech",
        "category": "Signal Layer",
        "sub-category": "Counting",
        "answer_prediction": "cat",
    }

    found = report("mmar", write(tmp_path, row))

    assert found.headline["answer_prediction"].value == 1.0
    assert find(found.cells, "answer_prediction", "modality", "mix-sound-speech").num_scored == 1


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([ROW, ROW], "occurs 2 times"),
        ([{**ROW, "choices": "Man"}], "no 'choices' that is list"),
        ([{**ROW, "choices": [1, 2]}], "choices that are no texts"),
        ([{**ROW, "id": None}], "no 'id'"),
        ([], "not a list of JSON objects"),
        ([ROW], "no row has 'model_output'"),
    ],
)
def test_wrong_results_files_are_one_clear_error(
    tmp_path: Path, rows: list[dict[str, Any]], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        report("mmau", write(tmp_path, *rows))
