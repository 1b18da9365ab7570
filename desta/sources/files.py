"""Files of a corpus: search, listing in a fixed order, reading, adding of recordings."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from desta.audio import AudioError, load_audio
from desta.errors import DataError
from desta.files import write_atomic
from desta.records import Clip
from desta.sources.base import find_file, find_folder

RECORDINGS = "recordings"
"""Folder below the root of a corpus for sounds that are taken out of something larger."""


def find_any(root: Path, *inside: str, source: str, bring: str) -> Path:
    """Return the first existing one of several files or folders; the error names the first.

    Raises:
        DataError: none exists.
    """
    found = next((name for name in inside if (root / name).exists()), inside[0])
    find = find_file if (root / found).is_file() or Path(found).suffix else find_folder
    return find(root, found, source=source, bring=bring)


def unpacked(root: Path, name: str) -> Path:
    """Return the folder of a name below the root, or the root if it is that folder itself."""
    return root / name if (root / name).is_dir() else root


def list_files(root: Path, inside: str, pattern: str, *, source: str, bring: str) -> list[Path]:
    """Return the files of a folder of the corpus that match a pattern, sorted.

    Args:
        root: folder of the corpus.
        inside: path below it; "." for the root itself.
        pattern: pattern for `Path.glob`.
        source: name of the corpus.
        bring: what to fetch or unpack, for the error message.

    Raises:
        DataError: the folder is missing or no file in it matches.
    """
    folder = find_folder(root, inside, source=source, bring=bring)
    paths = visible(folder, pattern)
    if not paths:
        raise DataError(
            f"{source}: {folder} holds no {pattern}",
            fix=f"{bring}, or describe a corpus of your own with `desta describe custom`",
        )
    return paths


def visible(folder: Path, pattern: str) -> list[Path]:
    """Return the paths that match a pattern, sorted, without hidden files (macOS's `._x.wav`)."""
    return sorted(path for path in folder.glob(pattern) if not path.name.startswith("."))


def read_words(path: Path) -> str | None:
    """Return the text of a file as one line; None if it is missing or empty."""
    if not path.is_file():
        return None
    return " ".join(read_text(path).split()) or None


def read_text(path: Path) -> str:
    """Return the text of a file; bytes that are not UTF-8 become U+FFFD."""
    return path.read_text(encoding="utf-8-sig", errors="replace")


def read_fields(path: Path, delimiter: str | None = None) -> Iterator[list[str]]:
    """Yield the stripped fields of every line that has any; quotes are ordinary characters.

    Args:
        path: a text file such as those of Kaldi.
        delimiter: separator; None for any run of white space.
    """
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        for line in file:
            if line.strip():
                yield [field.strip() for field in line.rstrip("\r\n").split(delimiter)]


def read_kaldi(path: Path) -> dict[str, str]:
    """Return first word -> rest of the line of a Kaldi file such as `text` or `wav.scp`."""
    return {fields[0]: " ".join(fields[1:]) for fields in read_fields(path)}


def is_file(path: Path) -> bool:
    """Return whether a file exists; False also if the path is too long for one."""
    try:
        return path.is_file()
    except OSError:
        return False


def inside(root: Path, text: str) -> str | None:
    """Return a path given by a corpus, relative to the root; None if it leaves the root."""
    base = Path(os.path.abspath(root))  # noqa: PTH100 (removes "..", follows no links)
    path = Path(os.path.abspath(base / text))  # noqa: PTH100
    return path.relative_to(base).as_posix() if path.is_relative_to(base) else None


def load_clip(root: Path, clip: Clip) -> NDArray[np.float32]:
    """Return the samples of a clip, (T,), mono at 16 kHz.

    Raises:
        AudioError: the recording cannot be read, or lies outside the root.
    """
    path = inside(root, clip.audio)
    if path is None:
        raise AudioError(
            clip.audio, "lies outside the root", fix="give the folder that all recordings lie in"
        )
    return load_audio(root / path)


def keep(root: Path, prefix: str, suffix: str, sound: bytes) -> str:
    """Store a sound, unless it exists already; return its path relative to the root.

    The name ends in a hash of the content, so that rows of a newer release never get sounds of an
    older one.

    Args:
        root: folder of the corpus.
        prefix: beginning of the path below `recordings`.
        suffix: ending of the file, such as ".wav".
        sound: the bytes of the file.
    """
    digest = hashlib.sha256(sound).hexdigest()[:16]
    path = Path(RECORDINGS, f"{prefix}{digest}{suffix}")
    target = root / path
    if not target.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(target, sound)
    return path.as_posix()
