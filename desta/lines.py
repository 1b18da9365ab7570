"""A file of lines that grows while work is done, and survives `kill -9` at any moment.

A line counts once its newline is on the disk. What follows the last newline was being written when
a process died: nobody is given it, and it is cut off before another line is added. What the lines
mean, and whether a file may be added to at all, its users know.
"""

import codecs
import errno
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Self

from filelock import FileLock, Timeout

from desta.errors import DataError, DestaError
from desta.paths import check_output
from desta.shards import UNWRITABLE, sync

_BLOCK = 1 << 16  # bytes read at once in search of the last newline


def whole_lines(path: Path) -> Iterator[bytes]:
    """Yield the lines of a file without their newlines; none where there is no file.

    Raises:
        ConfigError: it is a folder, a pipe or a device: lines of these may never end.
    """
    check_output(path)
    if not path.exists():
        return
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield line[:-1].removeprefix(codecs.BOM_UTF8)  # of an editor that saved it


def lock_of(path: Path) -> Path:
    """Return the file that locks another; whatever links lead to that, it is the same."""
    real = path.resolve()
    return real.with_name(f".{real.name}.lock")


class LineFile:
    """A file of lines that no other process adds to while it is open here.

    The lock is a file beside it, `.NAME.lock`, which stays; what holds it dies with its process.
    """

    def __init__(self, path: Path, *, busy: DestaError) -> None:
        """Lock the file; it is neither made nor changed before the first `append`.

        Args:
            path: the file; its folder must be there.
            busy: what to raise where another process has it open.

        Raises:
            DataError: `busy`, or the file system keeps no locks.
            ConfigError: it is a folder, a pipe or a device.
            OSError: the folder is missing, or may not be written to.
        """
        check_output(path)
        self.path = path
        self._file: BinaryIO | None = None
        self._lock = FileLock(lock_of(path), timeout=0)
        if not path.parent.is_dir():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        try:
            self._lock.acquire()
        except Timeout as error:
            raise busy from error
        except OSError as error:
            if error.filename is not None:
                raise
            raise DataError(
                f"{path} cannot be locked: {error.strerror}",
                fix="give a folder on a disk of this machine, or have locks enabled on that one",
            ) from error

    def __iter__(self) -> Iterator[bytes]:
        """Yield the whole lines that are on the disk, without their newlines."""
        return whole_lines(self.path)

    def append(self, lines: Iterable[str]) -> None:
        """Add lines; they are on the disk when this returns."""
        text = "".join(f"{line}\n" for line in lines)
        if self._file is None:
            self._file = self.path.open("a+b")
            self._file.truncate(_end_of_lines(self._file))
            sync(self.path.parent)
        self._file.write(text.encode(errors=UNWRITABLE))
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Let other processes have the file."""
        try:
            if self._file is not None:
                self._file.close()
        finally:
            self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _end_of_lines(file: BinaryIO) -> int:
    """Return the bytes up to the last newline, and with it."""
    end = file.seek(0, os.SEEK_END)
    while end:
        start = max(0, end - _BLOCK)
        file.seek(start)
        if (place := file.read(end - start).rfind(b"\n")) >= 0:
            return start + place + 1
        end = start
    return 0
