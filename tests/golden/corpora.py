"""Little corpora in the layouts in which they unpack: what the files in `layouts` are made with."""

import csv
import io
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import soundfile

VALIDATION, TEST = "of the official validation split", "of the official test split"
DEV, EVALUATION = "of the official dev split", "of the official evaluation split"
NOT_WHOLE = "its entry is not whole"
OTHER_TEST = "a recording of another corpus's test split"
OUTSIDE = "the recording lies outside the root"
RATE = 16_000  # Hz


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """A corpus of a few recordings."""

    build: Callable[[Path], None]
    """Writes it into a root."""
    needed: tuple[str, ...]
    """Files and folders, as patterns, without any of which it cannot be read."""
    left: Mapping[str, int]
    """Reason -> recordings left out for it."""


def sound(seconds: float, *, channels: int = 1, seed: int = 0) -> bytes:
    """Return a recording."""
    samples = round(seconds * RATE)
    noise = np.random.default_rng([samples, seed]).uniform(-0.1, 0.1, (samples, channels))
    buffer = io.BytesIO()
    soundfile.write(buffer, noise, RATE, format="WAV")
    return buffer.getvalue()


def hub_sound(seconds: float, name: str = "x.wav") -> dict[str, object]:
    """Return a recording as it lies in a row of a parquet file."""
    return {"bytes": sound(seconds), "path": name}


def record(root: Path, *names: str, seconds: float | None = None, channels: int = 1) -> None:
    """Write recordings; they are known by their content, so any suffix will do."""
    for number, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        length = seconds or 0.05 + 0.5 * (1 + number % 5)
        path.write_bytes(sound(length, channels=channels, seed=zlib.crc32(name.encode())))


def write(root: Path, name: str, *lines: str, encoding: str = "utf-8") -> None:
    """Write a text."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding=encoding)


def write_csv(root: Path, name: str, rows: Iterable[Iterable[Any]]) -> None:
    """Write a table."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


def shard(root: Path, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write a parquet file."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(rows)), path)
