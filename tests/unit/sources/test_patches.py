"""Notes out of patches."""

import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from desta.sources import find_source
from desta.sources.base import Metadata, Skipped


def make_patch(root: Path, data: bytes) -> None:
    path = root / "usr/share/midi/freepats/Tone_000/040_Violin.pat"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def one_note(modes: int, samples: bytes, loop: int = 0) -> bytes:
    data = b"GF1PATCH110\0ID#000002\0".ljust(198, b"\0") + b"\1"
    fields = struct.pack("<3IH3I", len(samples), loop, len(samples), 1000, 0, 0, 440_000)
    note = (bytes(8) + fields).ljust(55, b"\0") + bytes([modes])
    return data.ljust(239, b"\0") + note + bytes(40) + samples


@pytest.mark.parametrize(
    ("modes", "samples", "expected"),
    [
        (0x00, b"\x40\xc0", [0.5, -0.5]),
        (0x02, b"\xc0\x40", [0.5, -0.5]),
        (0x01, struct.pack("<2h", 16384, -16384), [0.5, -0.5]),
        (0x04, b"\0\x40\xc0", [0, 0.5, -0.5, 0.5, -0.5, 0.5, -0.5]),
        (0x0C, b"\0\x40\xc0", [0, 0.5, -0.5, 0.5, -0.5, -0.5, 0.5]),
    ],
)
def test_a_note_is_decoded_and_its_loop_held(
    tmp_path: Path, modes: int, samples: bytes, expected: list[float]
) -> None:
    make_patch(tmp_path, one_note(modes, samples, loop=1 if modes & 4 else 0))

    (note,) = find_source("freepats").read(tmp_path)

    assert isinstance(note, Metadata)
    assert note.attributes == {"Instrument": "Violin", "Note": "A4", "MIDI note": "69"}
    heard, rate = soundfile.read(tmp_path / note.audio)
    assert rate == 1000
    assert len(heard) == (1000 if modes & 4 else 2)
    assert heard[: len(expected)] == pytest.approx(np.array(expected), abs=1e-3)
    assert not modes & 4 or heard[-1] == 0


def test_a_patch_that_is_cut_is_counted(tmp_path: Path) -> None:
    make_patch(tmp_path, one_note(0, b"1234")[:-2])

    (left,) = find_source("freepats").read(tmp_path)

    assert isinstance(left, Skipped)
    assert left.broken
