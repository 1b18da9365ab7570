"""Seed descriptions: the metadata of a clip as one line of text.

    [00:00-00:05] Hello world (Gender: Female, Emotion: Happy, Duration: 5s)
    [00:00-00:10] (Sound class: Dog, Duration: 10s)
    [00:00-00:04] Ann: Good morning [00:04-00:07] Ben: Morning (Duration: 7s)

The format is that of DeSTA-AQA5M. A small backbone understands it better with one plain sentence
in front of the attributes (`DescriptionConfig.sentence`):

    [00:00-00:03] A woman speaks in French. (Language: French, Gender: Female, Duration: 3s)

All variants, with examples: docs/guides/descriptions.md.
"""

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

from desta.construction.spelling import PUBLISHED, Spelling, spell
from desta.errors import ConfigError
from desta.records import Clip, Segment
from desta.sources.glossary import JOINED

_DURATION = "Duration"
_SPEAKERS = {"female": "A woman", "male": "A man"}
_KIND = "Sound class"
_HEARD = ("Instrument", "Sound", _KIND, "Category")
"""Attributes that name a sound or a piece of music, the most exact first."""


@dataclass(frozen=True, kw_only=True)
class DescriptionConfig:
    """Form of seed descriptions."""

    transcription: bool = True
    """Include transcription and speakers. Off for backbones that are distracted by them."""
    sentence: bool = False
    """Put a plain English sentence in front of the attributes."""
    times: bool = True
    """Write when each segment begins and ends."""
    only: tuple[str, ...] | None = None
    """Attributes that may be stated beside what the prompt asks for; null for all. Without times
    and transcription, clips that agree in them are described alike, and the backbone answers a
    prompt once for all of them."""
    spelling: Literal["consistent", "published"] = "consistent"
    """`published` uses the spelling of DeSTA-AQA5M for each corpus."""
    order: Literal["written", "random"] = "written"
    """`random` shuffles the attributes of every pair."""
    drop: float = 0.0
    """Share of attributes left out, drawn for every pair. At least one attribute stays, and those
    that the prompt of the pair needs."""

    def __post_init__(self) -> None:
        if not 0 <= self.drop <= 1:
            raise ConfigError(f"description.drop = {self.drop} is not a share", fix="give 0 to 1")


def describe_clip(
    clip: Clip,
    config: DescriptionConfig = DescriptionConfig(),  # noqa: B008
    *,
    needs: Collection[str] = (),
    pair: str = "",
    seed: int = 0,
) -> str:
    """Return the seed description of a clip, always one line.

    Args:
        clip: the clip.
        config: form of the description.
        needs: attributes that the prompt refers to, which are always stated.
        pair: id of the audio-text pair, which with the seed determines order and dropping.
        seed: seed of the draw.
    """
    draw = _Draw(seed, pair)
    spelling = PUBLISHED.get(clip.source) if config.spelling == "published" else None
    known = stated_attributes(clip)
    if config.only is not None:
        allowed = {name: value for name, value in known.items() if name in {*config.only, *needs}}
        known = allowed or {_DURATION: known[_DURATION]}
    stated = draw.keep(known, config.drop, needs)
    if spelling and not spelling.states_duration and _DURATION not in {*needs, *clip.attributes}:
        rest = {name: value for name, value in stated.items() if name != _DURATION}
        stated = rest or stated
    clauses = list(spell(stated, spelling))
    if config.order == "random":
        clauses.sort(key=lambda clause: draw.ticket("order", clause[0]))
    attributes = f"({', '.join(text for _, text in clauses)})"
    sentence = _sentence(clip, stated) if config.sentence else ""
    return " ".join(filter(None, [_heard(clip, config, sentence, spelling), attributes]))


def stated_attributes(clip: Clip) -> dict[str, str]:
    """Return all attributes that may be stated, in order, then the duration."""
    stated = {name: _one_line(value) for name, value in clip.attributes.items()}
    stated = {name: value for name, value in stated.items() if value}
    stated.setdefault(_DURATION, _seconds(clip.duration))
    return stated


@dataclass(frozen=True)
class _Draw:
    """Random choices for the description of one pair."""

    seed: int
    pair: str

    def ticket(self, what: str, name: str) -> float:
        """Return a number in [0, 1) that depends on seed, pair and name alone."""
        drawn = json.dumps([self.seed, self.pair, what, name]).encode()
        return int.from_bytes(hashlib.blake2b(drawn, digest_size=8).digest(), "big") / 2**64

    def keep(
        self, stated: Mapping[str, str], drop: float, needs: Collection[str]
    ) -> dict[str, str]:
        """Drop a share of the attributes, but never all beside the duration."""
        if not drop:
            return dict(stated)
        tickets = {name: self.ticket("drop", name) for name in stated}
        kept = {name for name in stated if name in needs or tickets[name] >= drop}
        own = [name for name in stated if name != _DURATION] or [_DURATION]
        if kept.isdisjoint(own):
            kept.add(max(own, key=tickets.__getitem__))
        return {name: value for name, value in stated.items() if name in kept}


def _heard(clip: Clip, config: DescriptionConfig, sentence: str, spelling: Spelling | None) -> str:
    """Return the times and the words of a clip."""
    whole = Segment(start=0.0, end=clip.duration)
    quoted = spelling is not None and spelling.quoted
    spoken = [s for s in clip.segments if config.transcription and _one_line(s.text)]
    parts = []
    for number, segment in enumerate(spoken or [whole]):
        words, speaker = _one_line(segment.text), _one_line(segment.speaker)
        line = [sentence if not number else "", f"{speaker}:" if speaker and words else ""]
        line.append(f'"{words}"' if quoted and words else words)
        heard = " ".join(filter(None, line))
        span = _span(segment, quoted) if config.times else ""
        parts.append(f"{span}{' ' if span and heard and not quoted else ''}{heard}")
    return " ".join(filter(None, parts))


def _sentence(clip: Clip, known: Mapping[str, str]) -> str:
    """Return a sentence with the most important attributes; empty if none of them is stated."""
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
    heard = known[name].split(JOINED)[0]  # the most exact value comes first
    article = "an" if heard[0] in "AEIOUaeiou" else "a"
    # Small backbones that are asked for the class look for it in the sentence.
    known_kind = known.get(_KIND, "") if name == "Sound" else ""
    kind = f" ({known_kind.casefold()})" if known_kind not in ("", heard) else ""
    return f"This is the sound of {article} {heard.casefold()}{kind}."


def _span(segment: Segment, hours: bool) -> str:
    # A segment never ends in the second in which it starts.
    start = _round(segment.start)
    end = max(_round(segment.end), start + 1)
    if hours:
        return f"[{_clock(start, hours)} - {_clock(end, hours)}]"
    return f"[{_clock(start)}-{_clock(end)}]"


def _clock(seconds: int, always_hours: bool = False) -> str:
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    clock = f"{minutes:02}:{seconds:02}"
    return f"{hours:02}:{clock}" if hours or always_hours else clock


def _seconds(duration: float) -> str:
    """Return whole seconds from one second on, tenths below."""
    return f"{_round(duration)}s" if duration >= 0.95 else f"{max(duration, 0.1):.1f}s"


def _round(seconds: float) -> int:
    return int(seconds + 0.5)  # half up; round() would send 2.5 to 2 and 3.5 to 4


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split())
