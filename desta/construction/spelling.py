"""Spelling of the seed descriptions of each corpus in DeSTA-AQA5M.

Taken from the table of the published data set (docs/dataset.md of its repository, commit 5503dfc),
which shows one description per corpus. Verified are the names, their order, the punctuation,
whether a duration is stated, and the values shown. One rule is inferred: if the value shown is in
lower case (`Gender: male`), so are all values of that attribute. Other values, and corpora not
listed, keep the words of the glossary.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from desta.sources.glossary import JOINED, number

_FIELD = re.compile(r"\{(?P<name>[^:}]+)(?::(?P<form>\w+))?\}")


@dataclass(frozen=True, kw_only=True)
class Spelling:
    """Spelling of the descriptions of one corpus."""

    clauses: tuple[str, ...]
    """Clauses in order, with `{Attribute}` or `{Attribute:form}`; forms are the keys of `_FORMS`. A
    clause is used if all its attributes are stated and none of them is in an earlier clause."""
    values: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Attribute -> value in the glossary -> spelling."""
    quoted: bool = False
    """Whether times have hours and words quotes: `[00:00:00 - 00:00:04]Ann: "Hello" (...)`."""

    @property
    def states_duration(self) -> bool:
        """Whether a duration is written."""
        return any("{Duration" in clause for clause in self.clauses)


def spell(stated: Mapping[str, str], spelling: Spelling | None) -> Iterator[tuple[str, str]]:
    """Yield the clauses of a description, each with the name of its first attribute.

    Args:
        stated: attribute -> value in the glossary.
        spelling: spelling of the corpus; attributes without a clause, or all if None, are written
            as `Name: value`.
    """
    left = dict(stated)
    for clause in spelling.clauses if spelling else ():
        names = list(dict.fromkeys(match["name"] for match in _FIELD.finditer(clause)))
        if all(name in left for name in names):
            yield names[0], _FIELD.sub(lambda match: _written(match, stated, spelling), clause)
            for name in names:
                del left[name]
    for name, value in left.items():
        yield name, f"{name}: {value}"


def _written(match: re.Match[str], stated: Mapping[str, str], spelling: Spelling | None) -> str:
    name, value = match["name"], stated[match["name"]]
    if spelling and value in spelling.values.get(name, {}):
        return spelling.values[name][value]
    return _FORMS[match["form"]](value) if match["form"] else value


def _decimal(value: str) -> str:
    found = number(value.removesuffix("s"))
    return value if found is None else f"{found:.1f}"


def _whole(value: str) -> str:
    found = number(value.partition("/")[0])
    return value if found is None else f"{found:g}"


_FORMS: Mapping[str, Callable[[str], str]] = {
    "small": str.lower,
    "squeezed": lambda value: value.lower().replace(" ", ""),
    "snake": lambda value: value.lower().replace(" ", "_"),
    "joined": lambda value: value.lower().replace(JOINED, ", "),
    "list": lambda value: str(value.lower().split(JOINED)),
    "stopped": lambda value: f"{value.removesuffix('.')}.",
    "decimal": _decimal,
    "whole": _whole,
    "rating": lambda value: value.partition("/")[0],
    "scaled": lambda value: f"{value}.0" if re.search(r"/\d+$", value) else value,
    "db": lambda value: value.replace("dB", "db"),
    "ms": lambda value: value.replace("dB", "ms"),  # C50 is in decibels; the table says ms
    "midi": lambda value: value.zfill(3),
}

# fmt: off
PUBLISHED: Mapping[str, Spelling] = {
    # speech
    "accentdb": Spelling(
        clauses=(
            "Accent: {Accent}", "Gender: {Gender}", "Emotion: {Emotion}", "Duration: {Duration}",
        )
    ),
    "anispeech": Spelling(
        clauses=(
            "Emotion: {Emotion:small}", "Speaking speed: {Speaking speed}", "Pitch: {Pitch:small}",
            "Gender: {Gender}", "Duration: {Duration}",
        )
    ),
    "asvspoof2019": Spelling(clauses=("Gender: {Gender}", "Source: {Source}")),
    "asvspoof5": Spelling(clauses=("Gender: {Gender}", "Source: {Source}")),
    "biic-podcast": Spelling(
        clauses=("Emotion: {Emotion}", "Gender: {Gender}", "Sentiment: {Sentiment:small}")
    ),
    "cafe": Spelling(
        clauses=(
            "Emotion: {Emotion}", "Gender: {Gender}", "Intensity: {Intensity} intensity",
            "Age: {Age}", "English Translation: {English translation}",
        ),
        values={"Emotion": {"Angry": "Anger"}},
    ),
    "codecfake": Spelling(
        clauses=("Gender: {Gender}", "Accent: {Accent:small}", "Source: {Source}"),
        values={"Source": {"Synthesised speech": "Synthesis speech"}},
    ),
    "common-voice": Spelling(
        clauses=(
            "Gender: {Gender:small}", "Age: {Age:small}", "Accent: {Accent}",
            "Duration: {Duration}",
        ),
        values={"Gender": {"Male": "male_masculine"}, "Age": {"30s": "thirties"}},
    ),
    "crema-d": Spelling(
        clauses=(
            "Emotion: {Emotion}", "Gender: {Gender}", "Age: {Age}", "Race: {Race}",
            "Ethnicity: {Ethnicity}",
        ),
        values={"Emotion": {"Angry": "Anger"}},
    ),
    "cszs": Spelling(clauses=("Gender: {Gender:small}", "Language: {Language}")),
    "dailytalk": Spelling(
        clauses=(
            "Emotion: {Emotion}", "Act: {Act}", "Gender: {Gender}", "Duration: {Duration}",
        ),
        values={"Emotion": {"Neutral": "No emotion"}},
    ),
    "dusha": Spelling(
        clauses=(
            "Emotion: {Emotion:small}", "Speaker: {Speaker}",
            "Speaker_Emotion: {Intended emotion:small}",
        )
    ),
    "emns": Spelling(
        clauses=("Emotion: {Emotion}", "Gender: {Gender}", "Speaker: {Speaker}", "Age: {Age}")
    ),
    "emov-db": Spelling(clauses=("Emotion: {Emotion}", "Gender: {Gender}")),
    "emovo": Spelling(
        clauses=("Emotion: {Emotion}", "Gender: {Gender}", "Age: {Age}"),
        values={"Emotion": {"Disgusted": "Disgust"}},
    ),
    "esd": Spelling(clauses=("Emotion: {Emotion}", "Gender: {Gender}")),
    "expresso": Spelling(
        clauses=("Style: {Style:small}", "Gender: {Gender}", "Duration: {Duration}")
    ),
    "fair-speech": Spelling(
        clauses=(
            "Gender: {Gender:small}", "Age: {Age}", "First Language: {Native language}",
            "Socioeconomic Background: {Socioeconomic background}", "Ethnicity: {Ethnicity}",
        )
    ),
    "globe": Spelling(
        clauses=(
            "Accent: {Accent}", "Age: {Age:small}", "Gender: {Gender:small}",
            "Duration: {Duration}",
        )
    ),
    "iemocap": Spelling(
        clauses=(
            "Emotion: {Emotion}", "Gender: {Gender}", "Pitch: {Pitch}", "Volume: {Volume}",
            "Speaking speed: {Speaking speed}", "Duration: {Duration}",
        )
    ),
    "kespeech": Spelling(clauses=("Speaker: {Speaker}", "Dialect: {Dialect}")),
    "l2-arctic": Spelling(clauses=("Accent: {Accent}", "Speaker: {Speaker}")),
    "libricount": Spelling(
        clauses=("Number of Speakers: {Number of speakers}", "Duration: {Duration}")
    ),
    "libritts-r": Spelling(
        clauses=(
            "Gender: {Gender:small}", "Speaker: {Speaker}", "Pitch Type: {Pitch:small} pitch",
            "Noise Type: {Noise level:small}",
        ),
        values={"Noise level": {"Moderate": "balanced in clarity"}},
    ),
    "meld": Spelling(
        clauses=(
            "Emotion:{Emotion}", "Sentiment:{Sentiment}", "Gender: {Gender}",
            "Duration: {Duration}",
        )
    ),
    "msp-improv": Spelling(
        clauses=(
            "Gender: {Gender}", "Emotion: {Emotion}", "Activation: {Arousal:scaled}",
            "Valence: {Valence:scaled}", "Dominance: {Dominance:scaled}",
            "Naturalness: {Naturalness:scaled}",
        )
    ),
    "msp-podcast": Spelling(
        clauses=(
            "Emotion: {Emotion}", "Gender: {Gender}", "Arousal: {Arousal:rating}",
            "Valence: {Valence:rating}", "Dominance: {Dominance:rating}",
        ),
        values={"Emotion": {"Neutral": "N"}},
    ),
    "noise-reverb": Spelling(
        clauses=(
            "Gender:{Gender}",
            "Noise Level: {Noise level}(Signal-to-Noise Ratio: {Signal-to-noise ratio:db})",
            "Noise Level: {Noise level}",
            "Reverberation(C50): {Reverberation (C50):ms}",
            "Duration: {Duration}",
        ),
        quoted=True,
    ),
    "ntuml2021": Spelling(clauses=("Gender: {Gender:small}",)),
    "paraspeechcaps": Spelling(clauses=("Gender: {Gender:small}", "emotion: {Emotion:small}")),
    "prompttts": Spelling(
        clauses=(
            "Speaking speed: {Speaking speed}", "Volume: {Volume}", "Pitch: {Pitch}",
            "Gender: {Gender}", "Emotion: {Emotion:small}", "Duration: {Duration}",
        )
    ),
    "speech-accent-archive": Spelling(
        clauses=(
            "Gender: {Gender:small}", "Age: {Age}", "Native Language: {Native language:small}",
            "Country: {Country:small}",
        )
    ),
    "speech-commands": Spelling(clauses=("Command: {Command}", "Duration: {Duration}")),
    "tmhint-qi": Spelling(
        clauses=(
            "gender: {Gender:small}",
            "mos_score: {Mean opinion score:whole}, "
            "Speech_quality: {Mean opinion score:whole}/5({Speech quality})",
        )
    ),
    "vctk": Spelling(
        clauses=(
            "Gender: {Gender}", "Pitch:{Pitch:small}", "Accent: {Accent:squeezed}", "Age: {Age}",
            "Emotion: {Emotion:small}",
        )
    ),
    "vctk-musan": Spelling(
        clauses=(
            "Noise Level: {Noise level}",
            "Signal-to-Noise Ratio: {Signal-to-noise ratio:db}",
        )
    ),
    "voxceleb1": Spelling(
        clauses=("Gender: {Gender}", "Emotion: {Emotion}", "Duration: {Duration}")
    ),
    "voxlingua107": Spelling(clauses=("Language: {Language}", "Duration: {Duration}")),
    # sound
    "audiocaps": Spelling(clauses=("{Heard}",)),
    "audioset": Spelling(clauses=("{Sound:joined}",)),
    "clotho": Spelling(clauses=("{Heard}",)),
    "esc50": Spelling(clauses=("Audio category: {Sound:snake}", "Duration: {Duration:decimal}")),
    "fsd50k": Spelling(clauses=("Type: {Sound:list}",)),
    "vocalsound": Spelling(clauses=("{Sound}",)),
    "wavcaps": Spelling(clauses=("{Heard:stopped}",)),
    # music
    "fma": Spelling(clauses=("Genre: {Genre}",)),
    "gtzan": Spelling(clauses=("Genre: {Genre:small}", "Duration: {Duration}")),
    "mridangam": Spelling(
        clauses=("Stroke: {Stroke:small}", "Tonic: {Tonic:small}", "Duration: {Duration}")
    ),
    "nsynth": Spelling(
        clauses=(
            "Family: {Instrument:small}", "Source: {Source:small}", "MIDI Note: {MIDI note:midi}",
        )
    ),
    "opensinger": Spelling(clauses=("Gender: {Gender}", "Song: {Song}")),
}
# fmt: on
"""Corpus -> spelling."""
