"""Clips that nobody recorded: what a corpus could state of them, drawn from the vocabulary."""

import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from desta.evaluation.benchmarks.probe.vocabulary import ATTRIBUTES, LANGUAGE_CODES, STATED
from desta.records import DOMAINS, Clip, Domain, Segment
from desta.sources.languages import LANGUAGES
from desta.sources.rendered.instruments import INSTRUMENTS
from desta.sources.rendered.sentences import read_sentences
from desta.sources.sound.classes import CLASSES

_SOURCE = "probe"
_BYTES_PER_SECOND = 14  # of words in UTF-8: a Chinese character takes longer than a letter
_NUM_STATED = 3
"""Attributes that a clip of speech states."""


def draw_clips(count: int) -> list[Clip]:
    """Return clips of all domains in turn; the first of more clips are the same."""
    return [_numbered(number) for number in range(count)]


def draw_clip(draw: random.Random, domain: Domain, names: Sequence[str] = ()) -> Clip:
    """Return a clip that states some attributes of its domain, these among them."""
    if domain == "speech":
        stated = dict.fromkeys([*names, *draw.sample(STATED["speech"], _NUM_STATED)])
        return speech_clip(draw, [*stated][:_NUM_STATED])
    return sound_clip(draw) if domain == "sound" else music_clip(draw, names)


def speech_clip(draw: random.Random, names: Collection[str], code: str = "") -> Clip:
    """Return a clip of speech that states these attributes.

    Args:
        draw: random numbers.
        names: attributes; a language that is stated is that of the words.
        code: language of the words; by default one of eight if it is stated, else English.
    """
    code = code or (draw.choice(LANGUAGE_CODES) if "Language" in names else "en")
    values = {name: draw.choice(ATTRIBUTES[name].values) for name in STATED["speech"]}
    values["Language"] = LANGUAGES[code]
    stated = {name: value for name, value in values.items() if name in names}
    return spoken(draw.choice(read_sentences(code)).text, stated)


def spoken(words: str, attributes: Mapping[str, str]) -> Clip:
    """Return a clip in which somebody says these words."""
    seconds = max(1.0, round(len(words.encode()) / _BYTES_PER_SECOND))
    segment = Segment(start=0.0, end=seconds, text=words)
    return make_clip("speech", attributes, seconds, [segment])


def sound_clip(draw: random.Random) -> Clip:
    """Return a clip that states a sound and its class."""
    kind = draw.choice([*CLASSES])
    attributes = {"Sound": draw.choice(CLASSES[kind]), "Sound class": kind}
    return make_clip("sound", attributes, draw.randint(1, 12))


def music_clip(draw: random.Random, names: Sequence[str] = ()) -> Clip:
    """Return a clip that states an instrument, its family, and either tempo or second note."""
    instrument = draw.choice([*INSTRUMENTS.values()])
    attributes = {"Instrument": instrument.name, "Instrument family": instrument.family}
    played = "Second note" if "Second note" in names else "Tempo"
    attributes[played] = draw.choice(ATTRIBUTES[played].values)
    return make_clip("music", attributes, draw.randint(3, 25))


def make_clip(
    domain: Domain,
    attributes: Mapping[str, str],
    seconds: float,
    segments: Sequence[Segment] = (),
) -> Clip:
    """Return a clip to which no recording belongs."""
    return Clip(
        id=_SOURCE,
        source=_SOURCE,
        audio=f"{_SOURCE}.wav",
        duration=float(seconds),
        domain=domain,
        segments=tuple(segments),
        attributes=dict(attributes),
    )


def _numbered(number: int) -> Clip:
    draw = random.Random(f"{_SOURCE}/clip/{number}")
    id = f"{_SOURCE}/{number:04}"
    return replace(draw_clip(draw, DOMAINS[number % len(DOMAINS)]), id=id, audio=f"{id}.wav")
