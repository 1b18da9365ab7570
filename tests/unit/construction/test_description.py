import re
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from desta.construction.description import DescriptionConfig, describe_clip, stated_attributes
from desta.errors import ConfigError
from desta.records import Clip, Segment

SOURCES = ("corpus", "noise-reverb", "wavcaps")
MANY = {"Gender": "Female", "Emotion": "Happy", "Accent": "Scottish", "Pitch": "Low"}
seconds = st.floats(min_value=0.01, max_value=7200, allow_nan=False)


def speech(text: str, duration: float = 3.0, **attributes: str) -> Clip:
    return Clip(
        id="clip",
        source="corpus",
        audio="clip.wav",
        duration=duration,
        domain="speech",
        segments=(Segment(start=0.0, end=duration, text=text),),
        attributes=attributes,
    )


@given(st.text(), st.text(), seconds, st.booleans(), st.booleans(), st.sampled_from(SOURCES))
def test_a_description_is_one_line(
    text: str, value: str, duration: float, transcription: bool, sentence: bool, source: str
) -> None:
    config = DescriptionConfig(
        transcription=transcription, sentence=sentence, spelling="published", drop=0.5
    )
    clip = replace(speech(text, duration, Mood=value), source=source)
    description = describe_clip(clip, config)
    assert len(description.splitlines()) == 1


@given(seconds)
def test_a_description_ends_after_it_starts(duration: float) -> None:
    times = re.match(r"\[00:00-(?:(\d+):)?(\d+):(\d+)\]", describe_clip(speech("hi", duration)))
    assert times is not None
    hours, minutes, rest = (int(part or 0) for part in times.groups())
    assert abs(3600 * hours + 60 * minutes + rest - max(duration, 0.5)) <= 0.5


def test_without_transcription_no_word_of_it_is_written() -> None:
    description = describe_clip(speech("Bonjour"), DescriptionConfig(transcription=False))
    assert "Bonjour" not in description


def test_control_tokens_and_locators_in_a_transcription_stay_as_they_are() -> None:
    assert "<|im_end|> <|AUDIO|>" in describe_clip(speech("<|im_end|> <|AUDIO|>"))


def test_the_duration_is_stated_once_and_last() -> None:
    assert list(stated_attributes(speech("hi", Gender="Male"))) == ["Gender", "Duration"]
    assert stated_attributes(speech("hi", Duration="3.0"))["Duration"] == "3.0"


def written(description: str) -> list[str]:
    """Return the names of the attributes in a description, in their order."""
    return re.findall(r"(\w+): ", description.rpartition("(")[2])


def test_the_order_is_drawn_for_every_pair_and_every_order_is_as_likely() -> None:
    clip = speech("hi", Gender="Male", Accent="Scottish")
    shuffled = DescriptionConfig(order="random")
    orders = Counter(
        tuple(written(describe_clip(clip, shuffled, pair=f"clip#{n}"))) for n in range(3000)
    )

    assert len(orders) == 6
    assert all(count == pytest.approx(500, abs=80) for count in orders.values())


@pytest.mark.parametrize("drop", [0.3, 0.8])
def test_the_stated_share_of_attributes_is_left_out(drop: float) -> None:
    config = DescriptionConfig(drop=drop, sentence=True)
    counts: Counter[str] = Counter()
    for n in range(2000):
        description = describe_clip(speech("hi", **MANY), config, pair=f"c/{n}#0", needs={"Accent"})
        names = written(description)
        counts.update(names)
        # the sentence says nothing that is left out
        assert ("A woman" in description) == ("Gender" in names)
        assert ("sounds happy" in description) == ("Emotion" in names)

    assert counts.pop("Accent") == 2000
    assert set(counts) == {*MANY, "Duration"} - {"Accent"}
    assert all(count / 2000 == pytest.approx(1 - drop, abs=0.04) for count in counts.values())


def test_one_attribute_stays_and_it_is_not_the_duration() -> None:
    config = DescriptionConfig(drop=1.0)
    kept = Counter(
        str(written(describe_clip(speech("hi", **MANY), config, pair=str(n)))) for n in range(400)
    )

    assert set(kept) == {f"['{name}']" for name in MANY}
    assert describe_clip(speech("hi"), config) == "[00:00-00:03] hi (Duration: 3s)"


def test_what_a_draw_does_to_an_attribute_depends_on_no_other() -> None:
    config = DescriptionConfig(drop=0.5, order="random")
    for n in range(100):
        few = describe_clip(speech("hi", **MANY), config, pair=str(n), needs={"Pitch"})
        more = describe_clip(speech("hi", **MANY, Age="20s"), config, pair=str(n), needs={"Pitch"})
        assert [name for name in written(more) if name != "Age"] == written(few)


def test_pair_and_seed_change_a_draw() -> None:
    config = DescriptionConfig(drop=0.5, order="random")
    clip = speech("hi", **MANY)

    assert describe_clip(clip, config, pair="a", seed=1) == describe_clip(
        clip, config, pair="a", seed=1
    )
    assert len({describe_clip(clip, config, pair="a", seed=n) for n in range(50)}) > 20
    assert len({describe_clip(clip, config, pair=str(n)) for n in range(50)}) > 20


def test_a_duration_that_the_published_line_has_not_is_stated_where_a_prompt_needs_it() -> None:
    config = DescriptionConfig(spelling="published")
    clip = replace(speech("hi", Emotion="Sad"), source="esd")

    assert describe_clip(clip, config) == "[00:00-00:03] hi (Emotion: Sad)"
    asked = describe_clip(clip, config, needs={"Duration"})
    assert asked == "[00:00-00:03] hi (Emotion: Sad, Duration: 3s)"
    bare = replace(clip, attributes={})
    assert describe_clip(bare, config) == "[00:00-00:03] hi (Duration: 3s)"


@pytest.mark.parametrize("drop", [-0.1, 1.5])
def test_a_share_to_drop_outside_0_to_1_is_an_error(drop: float) -> None:
    with pytest.raises(ConfigError, match=f"description.drop = {drop} is not a share"):
        DescriptionConfig(drop=drop)


def test_only_states_the_listed_attributes_and_what_the_prompt_needs() -> None:
    clip = speech("oui", Language="French", **MANY)
    config = DescriptionConfig(only=("Language", "Gender"))

    assert describe_clip(clip, config) == "[00:00-00:03] oui (Language: French, Gender: Female)"
    assert "Pitch: Low" in describe_clip(clip, config, needs=("Pitch",))
    assert describe_clip(speech("oui"), config) == "[00:00-00:03] oui (Duration: 3s)"


def test_clips_that_agree_are_described_alike_without_times_and_words() -> None:
    config = DescriptionConfig(
        transcription=False, sentence=True, times=False, only=("Language", "Gender")
    )
    texts = {
        describe_clip(speech(words, seconds, Language="French", Gender="Female"), config)
        for words, seconds in (("oui", 1.0), ("merci bien", 7.5))
    }

    assert texts == {"A woman speaks in French. (Language: French, Gender: Female)"}
    assert describe_clip(speech("oui", Pitch="Low"), DescriptionConfig(times=False)) == (
        "oui (Pitch: Low, Duration: 3s)"
    )
