"""The questions of the probe: what they rest on, and that a rule tells right answers from wrong."""

import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from desta.errors import DataError
from desta.evaluation.base import Item, Result, hash_questions
from desta.evaluation.benchmarks.probe import BENCHMARK, ProbeData
from desta.evaluation.benchmarks.probe.clips import draw_clips
from desta.evaluation.benchmarks.probe.files import read_questions
from desta.evaluation.benchmarks.probe.questions import PER_KIND, make_questions
from desta.evaluation.benchmarks.probe.score import ACCURACY, FORM, score
from desta.evaluation.benchmarks.probe.vocabulary import KINDS, UNKNOWN
from desta.records import DOMAINS, END_AUDIO, START_AUDIO

ITEMS = make_questions()
OWN_KIND = {kind: [i for i in ITEMS if i.groups["kind"] == kind] for kind in ("absent", "format")}


def description(item: Item) -> str:
    content = item.messages[-1].content
    return content[content.index(START_AUDIO) + len(START_AUDIO) : content.index(END_AUDIO)]


def perfect(item: Item) -> str:
    """Return the right answer, in the form that is prescribed."""
    targets = [each["target"] for each in item.record["asked"]]
    form = item.groups["form"]
    if form == "JSON":
        return json.dumps(
            dict(zip(item.groups["attribute"].lower().split(" and "), targets, strict=True))
        )
    if form == "list":
        return "\n".join(f"- {target}" for target in targets)
    word = targets[0]
    changed = {"upper case": word.upper(), "lower case": word.lower(), "quotes": f'"{word}"'}
    return changed.get(form, word)


def test_the_set_is_the_same_everywhere() -> None:
    assert hash_questions(ITEMS) == "640 items (2a5e75ea9de1)"
    assert Counter(item.groups["kind"] for item in ITEMS) == dict.fromkeys(KINDS, PER_KIND)
    assert len({item.question for item in ITEMS}) == len({item.id for item in ITEMS}) == len(ITEMS)


def test_one_answer_is_right_and_no_other() -> None:
    for item in ITEMS:
        right = score(item, perfect(item))
        assert set(right.values.values()) == {1.0}, item.id
        assert right.extracted == item.target
        for said in ("", "I am not sure about that.", *item.choices):
            if said != item.target:
                assert score(item, said).values[ACCURACY] == 0.0, item.id


def test_what_is_asked_is_in_the_description_only_if_it_is_stated() -> None:
    for item in ITEMS:
        shown, kind = description(item), item.groups["kind"]
        for name in item.groups["attribute"].split(" and "):
            stated = re.search(rf"[(,] ?{name}: ", shown) is not None
            # the length is always stated, and a question about it asks to compare
            assert stated == (kind in ("stated", "format") or name == "Duration"), item.id
        if kind in ("stated", "format"):
            assert all(each["target"] in shown for each in item.record["asked"]), item.id
        assert (item.target == UNKNOWN) == (kind == "absent"), item.id


def test_no_question_holds_a_clip_or_asks_in_one_way_only() -> None:
    assert not any(message.audios for item in ITEMS for message in item.messages)
    for kind in ("stated", "inferred", "absent"):
        forms = Counter(i.groups["form"] for i in ITEMS if i.groups["kind"] == kind)
        assert set(forms) == {"closed", "open"}
        assert min(forms.values()) >= 40


def test_the_place_of_the_right_option_tells_nothing() -> None:
    closed = [i for i in ITEMS if i.choices and i.target != UNKNOWN and len(i.choices) == 5]
    places = Counter(item.choices.index(item.target) for item in closed)
    assert len(places) == 4
    assert min(places.values()) > 0.15 * len(closed)


@pytest.mark.parametrize(
    "said", ["unknown", "It is not stated.", "That cannot be determined.", "Not mentioned here"]
)
def test_not_to_know_may_be_said_in_many_ways(said: str) -> None:
    for item in OWN_KIND["absent"]:
        assert score(item, said).values == {ACCURACY: 1.0}


def test_who_guesses_beside_not_knowing_is_wrong() -> None:
    item = next(i for i in OWN_KIND["absent"] if i.groups["attribute"] == "Gender")
    assert score(item, "It is unknown, but probably a woman.").values == {ACCURACY: 0.0}


def test_a_right_value_in_another_form_is_no_right_answer() -> None:
    for item in OWN_KIND["format"]:
        names = [each["target"] for each in item.record["asked"]]
        said = f"I would say That it is {', '.join(names)}"
        assert score(item, said).values == {ACCURACY: 0.0, FORM: 0.0}, item.id


def test_a_wrong_value_in_the_right_form_counts_as_form_only() -> None:
    item = next(i for i in OWN_KIND["format"] if i.groups["form"] == "upper case")
    [asked] = item.record["asked"]
    wrong = next(value for value in asked["values"] if value != asked["target"])
    assert score(item, wrong.upper()).values == {ACCURACY: 0.0, FORM: 1.0}


def test_figures_are_by_kind_and_form() -> None:
    results = [
        Result(item=i, score=score(i, perfect(i)), system="no_audio", output=perfect(i))
        for i in ITEMS
    ]
    report = BENCHMARK.aggregate(results)
    assert report.headline[ACCURACY].value == 1.0
    kinds = [c for c in report.cells if (c.metric, c.dimension) == (ACCURACY, "kind")]
    assert [cell.num_scored for cell in kinds] == [PER_KIND] * 4
    assert BENCHMARK.find_fault is not None
    assert BENCHMARK.find_fault(results[0]) is None
    broken = replace(results[0], item=replace(ITEMS[0], record={"asked": [{"target": 1}]}))
    assert "record.asked[0].target is 1" in str(BENCHMARK.find_fault(broken))


def test_more_clips_begin_with_the_same_ones() -> None:
    clips = draw_clips(60)
    assert clips[:7] == draw_clips(7)
    assert Counter(clip.domain for clip in clips) == dict.fromkeys(DOMAINS, 20)
    assert len({clip.id for clip in clips}) == 60


def rows(path: Path, *lines: object) -> Path:
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return path


def test_questions_of_a_file_name_the_right_answer_by_text_or_letter(tmp_path: Path) -> None:
    given = {"question": "Which is lower?", "options": ["A flute", "A tuba"]}
    path = rows(
        tmp_path / "q.jsonl",
        given | {"answer": "A tuba", "category": "Music"},
        {"question": "Which?", "choices": ["x", "y"], "answer": "B", "id": 7},
    )
    first, second = BENCHMARK.load(ProbeData(path=path))
    assert (first.target, first.groups["kind"], first.id) == ("A tuba", "Music", "row 1")
    assert (second.target, second.groups["kind"], second.id) == ("y", "file", "7")
    assert first.messages[-1].content.endswith("Choose one of these: A flute; A tuba.")
    assert score(first, "It is a tuba.").values == {ACCURACY: 1.0}
    assert score(first, "A flute or a tuba").values == {ACCURACY: 0.0}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "is empty"),
        ('{"question": "Who?"', "is not JSON"),
        ('{"question": "Who?"}\n{oops}\n', "line 2"),
        ('{"question": "Who?", "answer": "a"}', "row 1 has no 'options'"),
        ('{"question": "Who?", "options": ["a", "b"]}', "row 1 has no 'answer'"),
        ('{"question": "Who?", "options": ["a", "b"], "answer": "c"}', "'c' is none of the"),
        ('{"options": ["a", "b"], "answer": "a"}', "row 1 has no 'question'"),
    ],
)
def test_a_broken_file_of_questions_is_refused(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "q.jsonl"
    path.write_text(text)
    with pytest.raises(DataError) as caught:
        read_questions(path)
    assert told in caught.value.message
    assert str(path) in caught.value.message
    assert caught.value.fix
