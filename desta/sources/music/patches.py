"""Freepats: notes and strokes of General-MIDI instruments, out of patches for Gravis UltraSound."""

import io
import math
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from desta.sources.base import Metadata, Skipped, Source, relative_id
from desta.sources.files import keep, list_files
from desta.sources.music.notes import note_attributes
from desta.sources.sound.named import UNTOLD, find_name

_FOLDER = "usr/share/midi/freepats"
_MAGIC = b"GF1PATCH110\0ID#000002\0"
_NUM_SAMPLES = 129 + 63 + 6  # offset, within the header of the layer: the third of three
_FIRST = 129 + 63 + 47  # offset of the first sample
_HEADER = 96  # bytes before the data of a sample
_WIDE, _UNSIGNED, _LOOPED, _TO_AND_FRO = 0x01, 0x02, 0x04, 0x08
_HELD = 1.0  # seconds for which a note with a loop is held at least
_FADE = 0.05  # seconds

_INSTRUMENTS = (
    (r"Tone_000/00[01]_.*", "Piano"),
    (r"Tone_000/00[245]_.*", "Electric piano"),
    (r"Tone_000/01[69]_.*", "Organ"),
    (r"Tone_000/02[13]_.*", "Accordion"),
    (r"Tone_000/02[45]_.*", "Guitar"),
    (r"Tone_000/(02[6789]|030|084)_.*", "Electric guitar"),  # 084 calls itself overdriven guitar
    (r"Tone_000/032_.*", "Double bass"),
    (r"Tone_000/03[34567]_.*", "Bass guitar"),
    (r"Tone_000/038_.*", "Bass synthesizer"),
    (r"Tone_000/04[458]_.*", "Strings"),
    (r"Tone_000/053_.*", "Choir"),
    (r"Tone_000/056_.*", "Flugelhorn"),  # as the patch calls itself; its file says trumpet
    (r"Tone_000/059_.*", "Trumpet"),
    (r"Tone_000/060_.*", "Horn"),
    (r"Tone_000/06[4567]_.*", "Saxophone"),
    (r"Tone_000/076_.*", "Bottle"),
    (r"Tone_000/(080|088|094|095|098|101|102)_.*", "Synthesizer"),
    *(
        (rf"Tone_000/\d+_{name}", name.replace("_", " ").capitalize())
        for name in (
            *("Bassoon", "Brass_Section", "Celesta", "Cello", "Clarinet", "Clavinet", "Dulcimer"),
            *("Flute", "Glockenspiel", "Harp", "Harpsichord", "Oboe", "Ocarina", "Pan_Flute"),
            *("Piccolo", "Recorder", "Sitar", "Steel_Drums", "Timpani", "Trombone", "Tuba"),
            *("Tubular_Bells", "Violin", "Xylophone"),
        )
    ),
    (r"Tone_000/069_English_Horn", "English horn"),
    (r".*_Wood_Block.*", "Wood block"),
    (r"Drum_000/\d+_(Snare_.*|Stick_Rim)", "Snare drum"),
    (r"Drum_000/\d+_Kick_\d", "Bass drum"),
    (r"Drum_000/\d+_Tom_.*", "Tom drum"),
    (r"Drum_000/\d+_Hi-Hat_.*", "Hi-hat"),
    (r"Drum_000/\d+_Cymbal_.*", "Cymbal"),
    (r"Drum_000/\d+_Tombourine", "Tambourine"),
    (r"Drum_000/\d+_Cow_Bell", "Cowbell"),
    (r"Drum_000/\d+_Vibra-Slap", "Vibraslap"),
    (r"Drum_000/\d+_Belltree", "Bell tree"),
    (r"Drum_000/\d+_Metronome_.*", "Metronome"),
    *(
        (rf"Drum_000/\d+_{name}(_.*)?", name)
        for name in (
            *("Agogo", "Bongo", "Cabasa", "Claves", "Conga", "Cuica", "Guiro", "Maracas"),
            *("Shaker", "Timbale", "Triangle", "Whistle"),
        )
    ),
)
"""Name of a patch -> instrument."""
_PITCHED = re.compile(
    r"Tone_000/(?!014|047|115).*"
)  # bells, kettledrums, wood blocks: no sure note


@dataclass(frozen=True, kw_only=True)
class _Sample:
    """A note as a patch holds it."""

    samples: NDArray[np.float32]
    rate: int  # Hz
    pitch: float  # Hz


def read_freepats(root: Path) -> Iterator[Metadata | Skipped]:
    """Yield notes and strokes, each a sample of a patch such as `Tone_000/040_Violin.pat`.

    The name tells the instrument, the sample its pitch. A note that ends in a loop is held until
    it is a second long. A patch is one recorded instrument, and stays in one split. Kept as WAV.
    """
    bring = "`desta sources fetch freepats` fetches it"
    for path in list_files(root, _FOLDER, "*/*.pat", source="freepats", bring=bring):
        patch = relative_id(path, root / _FOLDER)
        instrument = find_name(_INSTRUMENTS, patch)
        if instrument is None:
            yield Skipped(id=patch, reason=UNTOLD)
            continue
        samples = _read_patch(path.read_bytes())
        if not samples:
            yield Skipped(id=patch, reason="its patch cannot be read", broken=True)
        for number, sample in enumerate(samples):
            wav = io.BytesIO()
            soundfile.write(wav, sample.samples, sample.rate, format="WAV")
            id = f"{patch}-{number:02}"
            note = note_attributes(_midi(sample.pitch)) if _PITCHED.fullmatch(patch) else {}
            yield Metadata(
                id=id,
                audio=keep(root, f"freepats/{id.replace('/', '-')}-", ".wav", wav.getvalue()),
                attributes={"Instrument": instrument, **note},
                group=f"freepats/{patch}",
            )


def _midi(pitch: float) -> int:
    """Return the nearest MIDI note of a pitch in Hz; 69 is 440 Hz."""
    return round(69 + 12 * math.log2(pitch / 440))


def _read_patch(data: bytes) -> list[_Sample]:
    """Return the samples of a patch with one layer; none where it is damaged."""
    if not data.startswith(_MAGIC) or len(data) < _FIRST:
        return []
    found = []
    start = _FIRST
    for _ in range(data[_NUM_SAMPLES]):
        try:
            size, loop, end, rate, _, _, pitch = struct.unpack_from("<3IH3I", data, start + 8)
            modes = data[start + 55]
        except (struct.error, IndexError):
            return []
        content = data[start + _HEADER : start + _HEADER + size]
        if len(content) < size or not (rate and pitch and loop <= end <= size):
            return []
        found.append(
            _Sample(
                samples=_held(_decoded(content, modes), loop, end, rate, modes),
                rate=rate,
                pitch=pitch / 1000,
            )
        )
        start += _HEADER + size
    return found


def _decoded(content: bytes, modes: int) -> NDArray[np.float32]:
    """Return samples between -1 and 1."""
    kind = ("u" if modes & _UNSIGNED else "i") + ("2" if modes & _WIDE else "1")
    width = 2 if modes & _WIDE else 1
    values = np.frombuffer(content[: len(content) // width * width], dtype=f"<{kind}")
    scale = 2.0 ** (8 * width - 1)
    return (values.astype(np.float32) - (scale if modes & _UNSIGNED else 0)) / np.float32(scale)


def _held(
    samples: NDArray[np.float32], loop: int, end: int, rate: int, modes: int
) -> NDArray[np.float32]:
    """Repeat the loop of a note (its start and end in bytes), and fade out."""
    width = 2 if modes & _WIDE else 1
    part = samples[loop // width : end // width]
    if not modes & _LOOPED or not len(part):
        return samples
    if modes & _TO_AND_FRO:
        part = np.concatenate([part, part[::-1]])
    length = round(_HELD * rate)
    start = samples[: end // width]
    times = max(0, -(-(length - len(start)) // len(part)))
    held = np.concatenate([start, *[part] * times])[: max(length, len(start))]
    fade = min(len(held), round(_FADE * rate))
    return held * np.concatenate(
        [np.ones(len(held) - fade, np.float32), np.linspace(1, 0, fade, dtype=np.float32)]
    )


PATCH_SOURCES = (
    Source(
        name="freepats",
        title="Freepats, notes and strokes of General-MIDI instruments",
        domains=("music",),
        licence="GPL-2.0 or later, with an exception for compositions",
        obtain="a Debian package; `desta sources fetch` unpacks it",
        layout="confirmed",
        cited="the files of the package",
        read=read_freepats,
        packages=("freepats",),
    ),
)
