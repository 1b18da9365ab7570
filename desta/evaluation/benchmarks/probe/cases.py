"""Cases: a clip, a question about it and the right answer, by what the answer rests on."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from desta.evaluation.benchmarks.probe.clips import (
    draw_clip,
    make_clip,
    music_clip,
    sound_clip,
    speech_clip,
    spoken,
)
from desta.evaluation.benchmarks.probe.vocabulary import (
    ACTIONS,
    ATTRIBUTES,
    CLEAR_FAMILIES,
    FEELINGS,
    LANGUAGE_CODES,
    NAMES,
    PEOPLE,
    STATED,
    UNKNOWN,
)
from desta.records import Clip, Domain, Segment
from desta.sources.languages import LANGUAGES
from desta.sources.rendered.instruments import INSTRUMENTS
from desta.sources.rendered.sentences import read_sentences
from desta.sources.sound.classes import CLASSES

_DOMAINS: tuple[Domain, ...] = ("speech", "speech", "sound", "music")
_TURN = 3.0  # seconds that one speaker of a conversation talks
_LONGER = 10  # seconds, in a question about the length


@dataclass(frozen=True, kw_only=True)
class Case:
    """Question about a clip, with its answer."""

    clip: Clip
    attribute: str
    question: str
    target: str
    values: Sequence[str]
    """Answers that there could be, `UNKNOWN` aside."""
    closed: bool = False
    """Whether it is asked with options only, because the right answer has many names."""


MakeCase = Callable[[random.Random, int], Case]
"""(random numbers, round) -> a case; a round goes once through all functions of a kind."""


def stated_case(draw: random.Random, number: int) -> Case:
    """Return a case whose answer is a value in the description."""
    round, place = divmod(number, len(_DOMAINS))
    domain = _DOMAINS[place]
    names = STATED[domain]
    attribute = names[(2 * round + place if domain == "speech" else round) % len(names)]
    clip = draw_clip(draw, domain, [attribute])
    return _case(draw, clip, attribute, clip.attributes[attribute])


def _case(draw: random.Random, clip: Clip, attribute: str, target: str) -> Case:
    known = ATTRIBUTES[attribute]
    return Case(
        clip=clip,
        attribute=attribute,
        question=draw.choice(known.wordings),
        target=target,
        values=known.values,
    )


def _language_of_words(draw: random.Random, round: int) -> Case:
    code = LANGUAGE_CODES[round % len(LANGUAGE_CODES)]
    clip = speech_clip(draw, ["Gender", "Volume"], code)
    return _case(draw, clip, "Language", LANGUAGES[code])


def _sex_of_caption(draw: random.Random, round: int) -> Case:
    target = [*PEOPLE][round % len(PEOPLE)]
    heard = f"{draw.choice(PEOPLE[target])} {draw.choice(ACTIONS)}"
    clip = make_clip("sound", {"Heard": heard}, draw.randint(3, 12))
    return _case(draw, clip, "Gender", target)


def _emotion_of_words(draw: random.Random, round: int) -> Case:
    target = [*FEELINGS][round % len(FEELINGS)]
    return Case(
        clip=spoken(draw.choice(FEELINGS[target]), {"Gender": draw.choice([*PEOPLE])}),
        attribute="Emotion",
        question="Which emotion do the words express?",
        target=target,
        values=[*FEELINGS],
        closed=True,
    )


def _class_of_sound(draw: random.Random, round: int) -> Case:
    target = draw.choice([name for name, sounds in CLASSES.items() if sounds != (name,)])
    sound = draw.choice([sound for sound in CLASSES[target] if sound != target])
    return Case(
        clip=make_clip("sound", {"Sound": sound}, draw.randint(1, 12)),
        attribute="Sound class",
        question="Which kind of sound is it?",
        target=target,
        values=[*CLASSES],
        closed=True,
    )


def _family_of_instrument(draw: random.Random, round: int) -> Case:
    target = CLEAR_FAMILIES[round % len(CLEAR_FAMILIES)]
    names = {i.name for i in INSTRUMENTS.values() if i.family == target}
    instrument = draw.choice(sorted(n for n in names if target.casefold() not in n.casefold()))
    return Case(
        clip=make_clip("music", {"Instrument": instrument}, draw.randint(3, 25)),
        attribute="Instrument family",
        question="To which family does the instrument belong?",
        target=target,
        values=CLEAR_FAMILIES,
        closed=True,
    )


def _number_of_speakers(draw: random.Random, round: int) -> Case:
    count = 1 + round % len(NAMES)
    speakers = draw.sample(NAMES, count)
    lines = draw.sample(read_sentences("en"), len(NAMES))
    segments = [
        Segment(
            start=_TURN * place,
            end=_TURN * (place + 1),
            speaker=speakers[place % count],
            text=line.text,
        )
        for place, line in enumerate(lines)
    ]
    return Case(
        clip=make_clip("speech", {}, _TURN * len(lines), segments),
        attribute="Number of speakers",
        question="How many people speak?",
        target=str(count),
        values=[str(number) for number in range(1, len(NAMES) + 1)],
    )


def _tempo_of_beats(draw: random.Random, round: int) -> Case:
    slow = round % 4 < 2
    beats = draw.randint(44, 66) if slow else draw.randint(150, 190)
    instrument = draw.choice(ATTRIBUTES["Instrument"].values)
    attributes = {"Instrument": instrument, "Beats per minute": str(beats)}
    return Case(
        clip=make_clip("music", attributes, draw.randint(3, 25)),
        attribute="Tempo",
        question="Is the music slow or fast?",
        target="Slow" if slow else "Fast",
        values=("Slow", "Fast"),
    )


def _length(draw: random.Random, round: int) -> Case:
    longer = round % 4 < 2
    seconds = draw.randint(14, 40) if longer else draw.randint(1, 7)
    return Case(
        clip=make_clip("sound", sound_clip(draw).attributes, seconds),
        attribute="Duration",
        question=f"Does the recording last longer than {_LONGER} seconds?",
        target="Yes" if longer else "No",
        values=("Yes", "No"),
    )


INFERRED: tuple[MakeCase, ...] = (
    _language_of_words,
    _sex_of_caption,
    _emotion_of_words,
    _class_of_sound,
    _family_of_instrument,
    _number_of_speakers,
    _tempo_of_beats,
    _length,
)
"""The answer follows from the description."""


def _absent_in_speech(attribute: str) -> MakeCase:
    # Pitch would tell the sex, and so may the endings of words in other languages than English.
    others = [name for name in STATED["speech"] if name not in ("Language", "Pitch", attribute)]
    return lambda draw, round: _case(
        draw, speech_clip(draw, draw.sample(others, 2), "en"), attribute, UNKNOWN
    )


ABSENT: tuple[MakeCase, ...] = (
    *map(_absent_in_speech, ("Gender", "Age", "Noise level", "Volume", "Pitch")),
    lambda draw, round: _case(draw, sound_clip(draw), "Noise level", UNKNOWN),
    lambda draw, round: _case(draw, music_clip(draw, ["Second note"]), "Tempo", UNKNOWN),
    lambda draw, round: _case(draw, music_clip(draw, ["Tempo"]), "Second note", UNKNOWN),
)
"""Nothing in the description answers it."""
