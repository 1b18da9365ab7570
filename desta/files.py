"""Files that are written whole or not at all, and their hash."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from desta.paths import check_output

UNWRITABLE = "backslashreplace"
"""`errors=` for text that may hold unpaired surrogates: they become JSON's own escapes."""


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file whole, or not at all, also if the power fails."""
    with atomic_file(path) as file:
        file.write(data)


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file that is there, whole, when the block ends, or else stays as it was.

    A link to a file stays one.

    Raises:
        ConfigError: the path leads to a folder, a pipe or a device.
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
    """Wait until what a file holds, or which names a directory has, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
