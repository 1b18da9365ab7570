"""Atomic writing and hashing of files."""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from desta.paths import check_output

UNWRITABLE = "backslashreplace"
"""`errors=` for text that may hold unpaired surrogates: they are written as JSON escapes."""


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file atomically: whole or not at all, even if the power fails."""
    with atomic_file(path) as file:
        file.write(data)


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file atomically."""
    text = json.dumps(value, indent=1, ensure_ascii=False) + "\n"
    write_atomic(path, text.encode(errors=UNWRITABLE))


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing that replaces the old one when the block ends without an error.

    A symbolic link is kept, and the file it points to replaced.

    Raises:
        ConfigError: the path is a folder, a pipe or a device.
    """
    check_output(path)
    real = path.resolve()
    temporary = real.with_name(f".{real.name}.part")  # always the same: a rerun overwrites it
    with temporary.open("wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(real)
    sync(real.parent)


def sha256(path: Path) -> str:
    """Return the SHA-256 of a whole file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync(path: Path) -> None:
    """Flush the content of a file, or the entries of a directory, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
