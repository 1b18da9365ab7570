"""Choices of questions: how files write them, and right answers that are none of them."""

import json
from pathlib import Path
from typing import Any

import pytest

from desta.errors import DataError
from desta.evaluation.base import Item, form_messages
from desta.evaluation.benchmarks import dynamic_superb, mmau, sakura
from desta.evaluation.benchmarks.voicebench import score as voicebench
from desta.evaluation.metrics import NOT_OFFERED, check_offered, named_choices
from support.commands import desta
from support.published import report, write

FORMATS = {"mmau": mmau.MMAU_FORMAT, "mmar": mmau.MMAR_FORMAT}


def row(id: str, **fields: Any) -> dict[str, Any]:
    known = {"question": "Who?", "choices": ["dog", "cat"], "answer": "dog", "task": "sound"}
    return {"id": id, "audio_id": "./a.wav", "audio_path": "./a.wav", **known, **fields}


@pytest.mark.parametrize(
    ("target", "choices", "offered"),
    [
        ("dog", ["dog", "cat"], True),
        ("Dog.", ["dog", "cat"], True),
        ("bass drum", ["drum bass", "cat"], True),  # the same words to the official script
        ("cow", ["dog", "cat"], False),
        ("dog", ["dogs", "a dog"], False),
        ("+", ["+", "-"], True),
        ("+", ["*", "-"], False),
        ("गाय", ["गाय", "कुत्ता"], True),
        ("", ["dog", "cat"], True),  # its authors keep it to themselves
        ("dog", [], True),  # an open question
    ],
)
def test_a_right_answer_is_looked_for_among_the_choices(
    target: str, choices: list[str], offered: bool
) -> None:
    assert check_offered(target, choices) == (None if offered else NOT_OFFERED)


def test_choices_that_differ_in_a_vowel_sign_are_two() -> None:
    assert named_choices("यह किताब है।", ["कताब", "किताब"]) == {"किताब"}
    assert check_offered("किताब", ["कताब"]) == NOT_OFFERED


@pytest.mark.parametrize("name", list(FORMATS))
def test_mmau_and_mmar_note_a_right_answer_that_is_no_choice(tmp_path: Path, name: str) -> None:
    key = FORMATS[name].output
    rows = [row("1"), row("2", answer="cow"), row("3", answer="pig"), row("4", answer=None)]
    path = write(tmp_path / "r.json", [each | {key: "a cow"} for each in rows])

    found = report(name, path)
    notes = {note["reason"]: (note["count"], note["example"]) for note in found.remarks}
    assert notes == {NOT_OFFERED: (2, "2"), mmau.ANSWER_WITHHELD: (1, "4")}
    assert found.headline[key].value == pytest.approx(1 / 3)  # as the script counts

    done = desta("score", name, path, "--json")
    system = json.loads(done.stdout)["systems"][0]
    assert {"reason": NOT_OFFERED, "count": 2, "example": "2"} in system["remarks"]


def test_every_benchmark_with_choices_notes_it() -> None:
    def item(target: str, choices: tuple[str, ...], **fields: Any) -> Item:
        known = {"id": "x", "messages": form_messages("", "<|AUDIO|>", ["a.wav"]), "question": "?"}
        return Item(**known, target=target, choices=choices, **fields)

    spoken = item("cow", ("dog", "cat"), groups={"instance": "i", "dimension": "Audio"})
    assert dynamic_superb.score(spoken, "cow").note == NOT_OFFERED
    options = {"options": {"a": "dog", "b": "cat"}}
    heard = item("(a) cow", ("(a) dog", "(b) cat"), record=options)
    assert sakura.score.score(heard, "(a)").note == f"{sakura.score.NO_REPLY}; {NOT_OFFERED}"
    for letter in ("E", "b", " B"):  # the official code compares as written
        asked = item(letter, voicebench.CHOICES, groups={"subset": "mmsu"})
        scored = voicebench.score(asked, "The answer is B.")
        assert (scored.note, scored.values["official"]) == (NOT_OFFERED, 0.0)
        drawn = voicebench.score(asked, "I cannot tell")
        assert drawn.note == f"{voicebench.DRAWN}; {NOT_OFFERED}"
        assert drawn.values["expected"] == 0.0


@pytest.mark.parametrize("written", ['["dog", "cat"]', "['dog', 'cat']", '\n[ "dog","cat" ] '])
def test_choices_may_be_a_list_written_as_a_text(tmp_path: Path, written: str) -> None:
    path = write(tmp_path / "q.json", [row("1", choices=written)])
    assert mmau.MMAU_FORMAT.load_items(path)[0].choices == ("dog", "cat")


@pytest.mark.parametrize(
    "written",
    [
        "dog, cat", "[]", "", '{"a": "dog"}', '["dog", 3]', "[" * 5000, "__import__('os')", None,
        7, [], ["dog", None],
    ],
)  # fmt: skip
def test_choices_that_are_no_list_of_texts_are_one_sentence(tmp_path: Path, written: Any) -> None:
    path = write(tmp_path / "q.json", [row("1"), row("bad", choices=written)])
    with pytest.raises(DataError, match="bad has (no )?.?choices.? that") as error:
        mmau.MMAU_FORMAT.load_items(path)
    assert '["one", "two"]' in error.value.fix
    assert len(error.value.message) < 300


def test_mmar_is_read_under_both_names_of_its_file(tmp_path: Path) -> None:
    rows = [row("1"), row("2")]
    write(tmp_path / "MMAR-meta.jsonl", rows, lines=True)
    assert [i.id for i in mmau.MMAR_FORMAT.load_items(tmp_path)] == ["1", "2"]
    write(tmp_path / "MMAR-meta.json", rows)
    assert len(mmau.MMAR_FORMAT.load_items(tmp_path)) == 2
    write(tmp_path / "mmau-test-mini.json", rows)
    write(tmp_path / "mmau-test.json", rows)
    with pytest.raises(DataError, match="holds 2 of the files"):
        mmau.MMAU_FORMAT.load_items(tmp_path)
