import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from desta.construction.prompts import load_pool
from desta.errors import ConfigError, DataError
from desta.evaluation.base import Item
from desta.evaluation.baselines import no_audio, transcription_only
from desta.evaluation.benchmarks.attributes import BENCHMARK
from desta.evaluation.benchmarks.attributes.questions import (
    COMPARISONS,
    QUESTIONS,
    AttributesData,
    ClipSet,
    Comparison,
    load_examples,
)
from desta.evaluation.benchmarks.attributes.score import named_choice
from desta.evaluation.recipe import build_eval_recipe, resolve_recipe
from desta.records import DOMAINS, LOCATOR, Clip, Message, Segment, read_clips

LANGUAGES = ("Danish", "French", "Greek")


def clip(number: int, language: str, **changes: object) -> Clip:
    values: dict[str, object] = {
        "id": f"corpus/{number}",
        "source": "corpus",
        "audio": f"{number}.wav",
        "duration": 1.0 + number % 7,
        "domain": "speech",
        "segments": (Segment(start=0.0, end=1.0, text=f"words {number}"),),
        "attributes": {"Language": language, "Gender": "Female"},
        "split": "test",
    }
    return Clip(**(values | changes))  # type: ignore[arg-type]


def write(path: Path, clips: list[Clip]) -> Path:
    path.write_text("".join(json.dumps(c.to_json()) + "\n" for c in clips), encoding="utf-8")
    return path


@pytest.fixture
def data(tmp_path: Path) -> AttributesData:
    clips = [clip(n, LANGUAGES[n % 3]) for n in range(30)]
    clips += [clip(100, "Latin", split="train")]
    return AttributesData(
        clips=(ClipSet(path=write(tmp_path / "clips.jsonl", clips), root=tmp_path / "audio"),),
        attributes={"Language": ()},
        system_prompt="Answer briefly.",
    )


@pytest.mark.parametrize(
    ("answer", "named"),
    [
        ("French", "French"),
        ("The language is french.", "French"),
        ("FRENCH!", "French"),
        ("French, yes, French", "French"),
        ("French or Danish", None),
        ("Frenchman", None),
        ("", None),
        ("I cannot tell.", None),
    ],
)
def test_an_answer_counts_if_it_names_one_value_only(answer: str, named: str | None) -> None:
    assert named_choice(answer, LANGUAGES) == named


@pytest.mark.parametrize(
    ("answer", "named"),
    [
        ("I hear a bass drum.", "Bass drum"),
        ("I hear a drum.", "Drum"),
        ("A bass-drum", "Bass drum"),
        ("A drum, a bass", "Drum"),
        ("A bass drum and another drum", None),
    ],
)
def test_a_longer_value_hides_the_shorter_one_inside_it(answer: str, named: str | None) -> None:
    assert named_choice(answer, ("Drum", "Bass drum")) == named


def test_a_woman_is_female_and_no_man() -> None:
    assert named_choice("It is a woman.", ("Female", "Male")) == "Female"
    assert named_choice("A man speaks.", ("Female", "Male")) == "Male"


@given(st.lists(st.sampled_from(["French", "Danish", "or", "the", "Greek"]), max_size=6))
def test_word_order_does_not_change_what_is_named(words: list[str]) -> None:
    forward, backward = " ".join(words), ", ".join(reversed(words))
    assert named_choice(forward, LANGUAGES) == named_choice(backward, LANGUAGES)


def test_only_held_out_clips_are_asked_about_and_make_the_closed_set(data: AttributesData) -> None:
    examples = load_examples(data)

    assert len(examples) == 30
    assert {e.choices for e in examples} == {LANGUAGES}


def test_clips_that_are_too_short_to_tell_are_left_out(data: AttributesData) -> None:
    (clips,) = data.clips
    longest = max(c.duration for c in read_clips(clips.path) if c.split == "test")

    at_the_limit = load_examples(replace(data, clips=(replace(clips, min_seconds=longest),)))
    assert 0 < len(at_the_limit) < 30
    with pytest.raises(ConfigError, match="no clip to be asked about"):
        load_examples(replace(data, clips=(replace(clips, min_seconds=longest + 0.1),)))


@pytest.mark.parametrize("seconds", [-1.0, float("inf"), float("nan")])
def test_a_shortest_clip_has_a_length(tmp_path: Path, seconds: float) -> None:
    with pytest.raises(ConfigError, match="min_seconds"):
        ClipSet(path=tmp_path, root=tmp_path, min_seconds=seconds)


def test_the_model_is_not_told_what_is_said(data: AttributesData) -> None:
    for example in load_examples(data):
        system, asked = example.messages
        assert system == Message(role="system", content="Answer briefly.")
        assert [ref.text for ref in asked.audios] == [" "]
        assert "words" not in asked.content
        assert asked.content.count(LOCATOR) == 1


def test_per_value_draws_the_same_clips_when_others_are_added(
    data: AttributesData, tmp_path: Path
) -> None:
    data = replace(data, per_value=4)
    before = load_examples(data)
    more = write(tmp_path / "more.jsonl", [clip(n, "Latin") for n in range(200, 205)])

    after = load_examples(replace(data, clips=(*data.clips, ClipSet(path=more, root=tmp_path))))

    assert Counter(e.target for e in before) == dict.fromkeys(LANGUAGES, 4)
    assert {e.id for e in before} == {e.id for e in after if e.target != "Latin"}
    assert load_examples(replace(data, seed=1)) != before


def test_groups_share_one_closed_set(data: AttributesData, tmp_path: Path) -> None:
    other = write(tmp_path / "other.jsonl", [clip(n, "French") for n in range(3)])
    group = ClipSet(path=other, root=tmp_path, group="across corpora")

    examples = load_examples(replace(data, clips=(*data.clips, group)))

    assert Counter(e.groups["group"] for e in examples) == {"held-out": 30, "across corpora": 3}
    assert {e.choices for e in examples} == {LANGUAGES}


def test_a_closed_set_of_the_recipe_leaves_other_clips_out(data: AttributesData) -> None:
    examples = load_examples(replace(data, attributes={"Language": ("French", "Danish")}))

    assert {e.target for e in examples} == {"French", "Danish"}


@pytest.mark.parametrize(
    ("attributes", "fix"),
    [
        ({"Langage": ()}, "spelling"),
        ({"Language": ("Frenc", "Danish")}, "French"),
        ({"Gender": ()}, "differ"),
    ],
)
def test_attributes_that_cannot_be_scored_are_errors(
    data: AttributesData, attributes: dict[str, tuple[str, ...]], fix: str
) -> None:
    with pytest.raises(ConfigError) as raised:
        load_examples(replace(data, attributes=attributes))

    assert fix in raised.value.fix


def test_a_clip_listed_twice_is_an_error(data: AttributesData) -> None:
    with pytest.raises(DataError, match="occurs 2 times"):
        load_examples(replace(data, clips=data.clips * 2))


def test_a_recipe_is_read_and_a_misspelt_system_named() -> None:
    data = {
        "clips": [{"path": "clips.jsonl", "root": "audio", "group": "across corpora"}],
        "attributes": {"Language": ["French", "Danish"], "Sound class": []},
    }
    tree = {"model": "runs/demo", "data": data}
    recipe = resolve_recipe(build_eval_recipe(tree, AttributesData, where="recipe"), BENCHMARK)

    assert recipe.data.attributes == {"Language": ("French", "Danish"), "Sound class": ()}
    assert recipe.systems == ("model", "no_audio")
    assert recipe.transcribe is False
    assert recipe.max_new_tokens == 32
    with pytest.raises(ConfigError, match="no audoi") as raised:
        build_eval_recipe({**tree, "systems": ["no audoi"]}, AttributesData, where="recipe")
    assert "no_audio" in raised.value.fix


def test_baselines_differ_from_the_model_in_the_clip_alone(data: AttributesData) -> None:
    example = load_examples(data)[0]
    asked = example.messages[1].content

    silent = no_audio(example)
    cascade = transcription_only(example)

    assert silent[1] == Message(role="user", content=asked.replace(LOCATOR, " "))
    assert cascade[1].content == asked.replace(LOCATOR, example.transcription)
    assert silent[0] == cascade[0] == example.messages[0]
    assert example.transcription.startswith("words")


def with_notes(data: AttributesData, **comparison: Any) -> AttributesData:
    [clips] = data.clips
    notes = [clip(n, "Danish", attributes={"MIDI note": str(40 + n)}) for n in range(40)]
    write(clips.path, [*notes, clip(99, "French"), clip(98, "Greek")])
    return replace(data, compare={"MIDI note": Comparison(**comparison)})


def test_two_clips_are_compared_by_their_numbers_and_none_twice(data: AttributesData) -> None:
    items = [x for x in load_examples(with_notes(data, pairs=8, least=5)) if len(x.clips) == 2]

    numbers = [[40 + int(Path(c.audio).stem) for c in item.clips] for item in items]
    assert len(items) == 8
    assert {item.target for item in items[:2]} == {"Higher", "Lower"}
    for item, (first, second) in zip(items, numbers, strict=True):
        assert item.target == ("Higher" if second - first >= 5 else "Lower")
        assert abs(second - first) >= 5
        assert item.messages[-1].content.count(LOCATOR) == 2
        assert item.groups["task"] == "MIDI note, two clips"
        for number in (first, second):
            assert f"MIDI note: {number}" in item.described[-1].content
    assert len({n for pair in numbers for n in pair}) == 16


@pytest.mark.parametrize(
    ("value", "comparison", "message"),
    [
        ("64", {"pairs": 0}, "pairs = 0"),
        ("64", {"pairs": 9, "least": 500}, "no two clips of a group differ by 500"),
        ("E4", {"pairs": 9}, '"E4", which is no number'),
    ],
)
def test_what_cannot_be_compared_is_an_error(
    data: AttributesData, value: str, comparison: dict[str, Any], message: str
) -> None:
    def ask() -> list[Item]:
        asked = with_notes(data, **comparison)
        notes = [{"Language": name, "MIDI note": value} for name in LANGUAGES]
        write(asked.clips[0].path, [clip(n, "", attributes=note) for n, note in enumerate(notes)])
        return load_examples(asked)

    with pytest.raises(ConfigError, match=re.escape(message)):
        ask()


def test_an_attribute_without_a_question_about_two_clips_is_refused(data: AttributesData) -> None:
    with pytest.raises(ConfigError, match="no question about two clips") as caught:
        replace(data, compare={"MIDI": Comparison(pairs=1)})
    assert "MIDI note" in caught.value.fix


def test_no_question_stands_in_a_prompt_pool() -> None:
    pooled = {
        prompt.text.casefold() for domain in (*DOMAINS, "multi") for prompt in load_pool(domain)
    }

    asked = [*QUESTIONS.values(), *COMPARISONS.values()]

    assert pooled
    assert not pooled & {question.casefold() for question in asked}
