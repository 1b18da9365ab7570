"""Corpora of single notes and strokes: NSynth, the Mridangam stroke data set."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from desta.errors import DataError
from desta.sources.base import (
    NOT_WHOLE,
    Metadata,
    Skipped,
    Source,
    find_file,
    of_split,
    readable,
    relative_id,
)
from desta.sources.files import list_files
from desta.sources.glossary import JOINED
from desta.sources.tables import load_json

_PITCHES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")

_MRIDANGAM = "mridangam_stroke_1.5"
_STROKE = re.compile(r"\d+__\w+?__(?P<stroke>[a-z]+)-\w+-\d+")  # 224030__akshaylaya__bheem-b-001


def note_attributes(midi: int) -> dict[str, str]:
    """Return the name of a note and its number.

    >>> note_attributes(60)
    {'Note': 'C4', 'MIDI note': '60'}
    """
    return {"Note": f"{_PITCHES[midi % 12]}{midi // 12 - 1}", "MIDI note": str(midi)}


def read_nsynth(root: Path) -> Iterator[Metadata | Skipped]:
    """Yield notes of four seconds: instrument, how it sounds, pitch and loudness.

    `nsynth-train/examples.json` describes `nsynth-train/audio/bass_electronic_018-022-100.wav`.
    """
    bring = "unpack nsynth-train.jsonwav.tar.gz"
    examples = find_file(root, "nsynth-train/examples.json", source="nsynth", bring=bring)
    for name, note in _examples(examples).items():
        try:
            pitch = int(note["pitch"])
            attributes = {
                "Instrument": readable(note["instrument_family_str"]),
                "Source": readable(note["instrument_source_str"]),
                **note_attributes(pitch),
                "Velocity": str(note["velocity"]),
                "Qualities": JOINED.join(map(readable, note["qualities_str"])),
            }
        except (KeyError, TypeError, ValueError):
            yield Skipped(id=name, reason=NOT_WHOLE, broken=True)
            continue
        yield Metadata(
            id=name,
            audio=f"nsynth-train/audio/{name}.wav",
            attributes=attributes,
            split="train",
        )
    for folder, split in {"nsynth-valid": "validation", "nsynth-test": "test"}.items():
        if (other := root / folder / "examples.json").is_file():
            yield from (of_split(name, split) for name in _examples(other))


def _examples(path: Path) -> dict[str, dict[str, Any]]:
    examples = load_json(path)
    if not isinstance(examples, dict):
        raise DataError(f"nsynth: {path} does not list notes", fix="unpack the archive again")
    return examples


def read_mridangam(root: Path) -> Iterator[Metadata | Skipped]:
    """Yield strokes on a South Indian drum: `B/224030__akshaylaya__bheem-b-001.wav`.

    The folder is the pitch the drum is tuned to, the file name holds the stroke.
    """
    bring = "unpack mridangam_stroke_1.5.zip"
    for path in list_files(root, _MRIDANGAM, "*/*.wav", source="mridangam", bring=bring):
        id = relative_id(path, root / _MRIDANGAM)
        if (match := _STROKE.fullmatch(path.stem)) is None:
            yield Skipped(id=id, reason="the file name does not tell what is heard")
            continue
        yield Metadata(
            id=id,
            audio=path.relative_to(root).as_posix(),
            attributes={
                "Instrument": "Mridangam",
                "Stroke": readable(match["stroke"]),
                "Tonic": path.parent.name,
            },
        )


NOTE_SOURCES = (
    Source(
        name="nsynth",
        title="NSynth, 300,000 notes of 1,000 instruments",
        domains=("music",),
        licence="CC-BY-4.0",
        obtain="Magenta's page of the data set: the archives with JSON and WAV files",
        layout="confirmed",
        cited="jg583/NSynth on the Hugging Face Hub, README.md (entries); "
        "erl-j/audio-latent-space-cartography-demo, src/pointData.js (folders)",
        read=read_nsynth,
    ),
    Source(
        name="mridangam",
        title="Mridangam stroke data set, ten strokes on drums of six pitches",
        domains=("music",),
        licence="CC-BY-3.0",
        obtain="Zenodo, record 4068196",
        layout="confirmed",
        cited="mir-dataset-loaders/mirdata, mirdata/datasets/mridangam_stroke.py and its index",
        read=read_mridangam,
    ),
)
