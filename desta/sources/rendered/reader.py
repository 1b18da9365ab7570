"""Reader of a folder of rendered clips."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from desta.errors import ConfigError
from desta.records import read_jsonl
from desta.sources.base import (
    NOT_WHOLE,
    Metadata,
    Skipped,
    Source,
    find_file,
    spoken,
)
from desta.sources.glossary import JOINED
from desta.sources.languages import language_name
from desta.sources.music.notes import note_attributes
from desta.sources.rendered.folder import TABLE
from desta.sources.rendered.fonts import SOUND_FONTS
from desta.sources.rendered.instruments import INSTRUMENTS, Instrument
from desta.sources.rendered.parts import fetch_parts
from desta.sources.rendered.voices import find_voice

_INTERVALS = (
    *("Unison", "Minor second", "Major second", "Minor third", "Major third", "Perfect fourth"),
    *("Tritone", "Perfect fifth", "Minor sixth", "Major sixth", "Minor seventh", "Major seventh"),
    "Octave",
)
"""Semitones -> name."""
_LOW, _HIGH = 52, 72  # MIDI notes E3 and C5
_SLOW, _FAST = 80, 125  # beats a minute


def read_rendered(root: Path) -> Iterator[Metadata | Skipped]:
    """Yield speech with its words, and notes, pairs of notes and tunes with their instruments.

    `rendered.jsonl` holds what each clip was rendered from. A speaker keeps to one split, and so do
    the instruments of a sound font that play together.
    """
    bring = "`desta render` makes it"
    for number, row in enumerate(
        read_jsonl(find_file(root, TABLE, source="rendered", bring=bring))
    ):
        try:
            yield _speech(row) if "voice" in row else _music(row)
        except (
            *(KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError),
            ConfigError,  # no such voice
        ):
            yield Skipped(id=str(row.get("id", number)), reason=NOT_WHOLE, broken=True)


def _speech(row: Mapping[str, Any]) -> Metadata:
    voice = find_voice(row["voice"])
    return Metadata(
        id=_text(row["id"]),
        audio=_text(row["audio"]),
        domain="speech",
        segments=spoken(_text(row["text"])),
        attributes={"Language": language_name(voice.language), "Gender": voice.gender},
        group=voice.group,
        split=voice.split,
    )


def _music(row: Mapping[str, Any]) -> Metadata:
    players = [INSTRUMENTS[part["program"]] for part in row["parts"]]
    attributes = {
        "Instrument": JOINED.join(dict.fromkeys(player.name for player in players)),
        "Instrument family": JOINED.join(dict.fromkeys(player.family for player in players)),
    }
    keys = [int(note[2]) for note in row["parts"][0]["notes"]]
    if "bpm" in row:
        attributes = {
            "Number of instruments": str(len(players)),
            **attributes,
            "Tempo": tempo_name(row["bpm"]),
            "Beats per minute": str(int(row["bpm"])),
        }
    elif players[0].pitched:
        named = players[0].family != "Organ" and (
            players[0].program not in SOUND_FONTS[row["font"]].mistuned
        )
        attributes |= _pitches(keys, named=named)
    return Metadata(
        id=_text(row["id"]),
        audio=_text(row["audio"]),
        domain="music",
        attributes=attributes,
        group=recording_group(row["font"], players[0]),
    )


def _pitches(keys: list[int], *, named: bool) -> dict[str, str]:
    """Return the attributes of one note, or of two one after the other.

    Args:
        keys: MIDI numbers.
        named: whether the notes sound at their keys; an organ also sounds octaves beside them.
    """
    if len(keys) == 1:
        return {**note_attributes(keys[0]), "Pitch": pitch_name(keys[0])} if named else {}
    first, second = keys
    names = JOINED.join(note_attributes(key)["Note"] for key in keys)
    return {
        **({"Note": names} if named else {}),
        "Second note": "Higher" if second > first else "Lower",
        "Interval": _INTERVALS[abs(second - first)],
    }


def pitch_name(key: int) -> str:
    """Return Low below E3, High from C5, else Medium, for a MIDI number.

    >>> pitch_name(51), pitch_name(60), pitch_name(72)
    ('Low', 'Medium', 'High')
    """
    return "Low" if key < _LOW else "Medium" if key < _HIGH else "High"


def tempo_name(bpm: float) -> str:
    """Return Slow below 80 beats a minute, Fast from 125, else Medium.

    >>> tempo_name(60), tempo_name(100), tempo_name(150)
    ('Slow', 'Medium', 'Fast')
    """
    return "Slow" if bpm < _SLOW else "Medium" if bpm < _FAST else "Fast"


def recording_group(font: str, player: Instrument) -> str:
    """Return the group of an instrument of a sound font, that of all it plays with.

    Fonts that share recordings share their groups.
    """
    return f"soundfont/{SOUND_FONTS[font].recordings}-{player.band}"


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not text")
    return value


RENDERED_SOURCES = (
    Source(
        name="rendered",
        title="Rendered speech in eight languages and rendered notes, intervals and tunes",
        domains=("speech", "music"),
        licence="speech: Apache-2.0 (Kokoro, voices and weights); music: MIT (Fluid R3), MIT with "
        "CC0 and public-domain samples (MuseScore General), Apache-2.0 (Sonivox), GPL-2.0 "
        "(TimGM6mb); texts and scores: this project's",
        obtain="`desta sources fetch rendered` fetches voices and sound fonts, `desta render "
        "speech` and `desta render music` make the clips",
        layout="confirmed",
        cited="the table that `desta render` writes",
        read=read_rendered,
        packages=tuple(font.package for font in SOUND_FONTS.values() if font.package),
        fetch=fetch_parts,
    ),
)
