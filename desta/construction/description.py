"""Clip -> seed description: what a corpus knows of a recording, as one line of text.

    [00:00-00:05] Hello world (Gender: Female, Emotion: Happy, Duration: 5s)
    [00:00-00:10] (Sound class: Dog, Duration: 10s)
    [00:00-00:04] Ann: Good morning [00:04-00:07] Ben: Morning (Duration: 7s)

The format is that of DeSTA-AQA5M. A small backbone understands it better with one plain sentence
in front of the attributes (`DescriptionConfig.sentence`):

    [00:00-00:03] A woman speaks in French. (Language: French, Gender: Female, Duration: 3s)
"""

from dataclasses import dataclass

from desta.records import Clip, Segment
from desta.sources.glossary import JOINED

_SPEAKERS = {"female": "A woman", "male": "A man"}
_KIND = "Sound class"
_HEARD = ("Instrument", "Sound", _KIND, "Category")
"""What a sound or a piece of music is called, the most exact name first."""


@dataclass(frozen=True, kw_only=True)
class DescriptionConfig:
    """What a seed description says of a clip, beside its times and attributes."""

    transcription: bool = True
    """Write what is said, and by whom. Off for backbones that lose themselves in it."""
    sentence: bool = False
    """Put one plain English sentence in front."""


def describe(clip: Clip, config: DescriptionConfig = DescriptionConfig()) -> str:  # noqa: B008
    """Write the seed description of a clip; always one line."""
    whole = Segment(start=0.0, end=clip.duration)
    spoken = [s for s in clip.segments if config.transcription and _one_line(s.text)]
    parts = [_span(spoken[0] if spoken else whole)]
    if config.sentence:
        parts.append(_sentence(clip))
    for number, segment in enumerate(spoken):
        if number:
            parts.append(_span(segment))
        if segment.speaker:
            parts.append(f"{_one_line(segment.speaker)}:")
        parts.append(_one_line(segment.text))
    attributes = ", ".join(f"{n}: {_one_line(v)}" for n, v in stated_attributes(clip).items())
    return " ".join([*(part for part in parts if part), f"({attributes})"])


def stated_attributes(clip: Clip) -> dict[str, str]:
    """Return what the description states: the attributes in their order, then the duration."""
    stated = {name: value for name, value in clip.attributes.items() if _one_line(value)}
    stated.setdefault("Duration", _seconds(clip.duration))
    return stated


def _sentence(clip: Clip) -> str:
    """Say the attributes that matter most in plain words; empty where none of them is known."""
    known = {name: _one_line(value) for name, value in clip.attributes.items()}
    if clip.domain == "speech":
        words = [_SPEAKERS.get(known.get("Gender", "").casefold(), "Someone"), "speaks"]
        if language := known.get("Language"):
            words += ["in", language]
        if emotion := known.get("Emotion"):
            words += ["and sounds", emotion.casefold()]
        return f"{' '.join(words)}."
    name = next((name for name in _HEARD if known.get(name)), None)
    if name is None:
        return ""
    heard = known[name].split(JOINED)[0]  # the most exact of several comes first
    article = "an" if heard[0] in "AEIOUaeiou" else "a"
    # a small backbone that is asked for the class looks for it in the sentence
    kind = f" ({known[_KIND].casefold()})" if name == "Sound" and known.get(_KIND) else ""
    return f"This is the sound of {article} {heard.casefold()}{kind}."


def _span(segment: Segment) -> str:
    # What can be heard takes time: nothing ends in the second in which it starts.
    start = _round(segment.start)
    end = max(_round(segment.end), start + 1)
    return f"[{_clock(start)}-{_clock(end)}]"


def _clock(seconds: int) -> str:
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}" if hours else f"{minutes:02}:{seconds:02}"


def _seconds(duration: float) -> str:
    """Whole seconds from one second on; tenths below."""
    return f"{_round(duration)}s" if duration >= 0.95 else f"{max(duration, 0.1):.1f}s"


def _round(seconds: float) -> int:
    return int(seconds + 0.5)  # half up; round() would send 2.5 to 2 and 3.5 to 4


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split())
