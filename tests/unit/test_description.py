import re

from hypothesis import given
from hypothesis import strategies as st

from desta.construction.description import DescriptionConfig, describe, stated_attributes
from desta.records import Clip, Segment

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


@given(st.text(), st.text(), seconds, st.booleans(), st.booleans())
def test_a_description_is_one_line(
    text: str, value: str, duration: float, transcription: bool, sentence: bool
) -> None:
    config = DescriptionConfig(transcription=transcription, sentence=sentence)
    description = describe(speech(text, duration, Mood=value), config)
    assert len(description.splitlines()) == 1


@given(seconds)
def test_a_description_ends_after_it_starts(duration: float) -> None:
    times = re.match(r"\[00:00-(?:(\d+):)?(\d+):(\d+)\]", describe(speech("hi", duration)))
    assert times is not None
    hours, minutes, rest = (int(part or 0) for part in times.groups())
    assert abs(3600 * hours + 60 * minutes + rest - max(duration, 0.5)) <= 0.5


def test_without_transcription_no_word_of_it_is_written() -> None:
    description = describe(speech("Bonjour"), DescriptionConfig(transcription=False))
    assert "Bonjour" not in description


def test_control_tokens_and_locators_in_a_transcription_stay_as_they_are() -> None:
    assert "<|im_end|> <|AUDIO|>" in describe(speech("<|im_end|> <|AUDIO|>"))


def test_the_duration_is_stated_once_and_last() -> None:
    assert list(stated_attributes(speech("hi", Gender="Male"))) == ["Gender", "Duration"]
    assert stated_attributes(speech("hi", Duration="3.0"))["Duration"] == "3.0"
