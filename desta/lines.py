"""Append-only files of lines that survive `kill -9` at any moment.

A line counts once its newline is on the disk. Text after the last newline is the rest of a write
that was killed: it is never returned, and is cut off before the next line is appended. The meaning
of the lines is left to the callers.

Symbolic links are followed: the file that they point to is read, locked and written, with its
temporary files beside it. If a file is rewritten, other hard links to it keep the old content, and
a warning is logged.
"""

import codecs
import errno
import logging
import os
from collections.abc import Callable, Hashable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Self

from filelock import FileLock, Timeout

from desta.errors import DataError, DestaError
from desta.files import UNWRITABLE, sync, write_atomic
from desta.paths import check_output

log = logging.getLogger(__name__)

Reading = Callable[[bytes], tuple[Hashable | None, bool]]
"""Line -> key of its item (None if it cannot be read), and whether the item failed."""

_BLOCK = 1 << 16  # bytes read at once in search of the last newline


def whole_lines(path: Path) -> Iterator[bytes]:
    """Yield the complete lines of a file without their newlines; nothing if there is no file.

    Raises:
        ConfigError: the path is a folder, a pipe or a device, whose lines may never end.
    """
    check_output(path)
    if not path.exists():
        return
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield line[:-1].removeprefix(codecs.BOM_UTF8)  # of an editor that saved it


def lock_path(path: Path) -> Path:
    """Return the path of the lock of a file, the same for all links to it."""
    real = _real(path)
    return real.with_name(f".{real.name}.lock")


def retry_path(path: Path) -> Path:
    """Return the path where retried lines of a file are kept until they replace failed ones."""
    real = _real(path)
    return real.with_name(f"{real.name}.again")


def current_lines(path: Path, read: Reading) -> list[bytes]:
    """Return the lines of a file, failed ones replaced by retried ones where there are any."""
    return replace_failed(whole_lines(path), whole_lines(retry_path(path)), read)


def replace_failed(lines: Iterable[bytes], others: Iterable[bytes], read: Reading) -> list[bytes]:
    """Return the lines, each failed one replaced by the line of the same key in `others`."""
    found = {key: line for line in others if (key := read(line)[0]) is not None}
    keys = ((line, *read(line)) for line in lines)
    return [found.get(key, line) if failed else line for line, key, failed in keys]


class LineFile:
    """A file of lines with an exclusive lock between processes.

    The lock file `.NAME.lock` beside it stays; the lock itself ends with its process.
    """

    def __init__(self, path: Path, *, busy: DestaError) -> None:
        """Lock the file; it is neither created nor changed before the first `append`.

        Args:
            path: the file; its folder must exist.
            busy: error to raise if another process has it open.

        Raises:
            DataError: `busy`, or the file system has no locks, or the folder takes no files.
            ConfigError: the path is a folder, a pipe or a device.
            OSError: the folder is missing or not writable.
        """
        check_output(path)
        self.path = _real(path)
        self._file: BinaryIO | None = None
        self._lock = FileLock(lock_path(path), timeout=0)
        if not self.path.parent.is_dir():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self.path))
        try:
            self._lock.acquire()
        except Timeout as error:
            if lock_path(path).exists():
                raise busy from error
            raise DataError(
                f"{path} cannot be locked: its folder takes no files",
                fix="give a path in a folder that can be written to",
            ) from error
        except OSError as error:
            if error.filename is not None:
                raise
            raise DataError(
                f"{path} cannot be locked: {error.strerror}",
                fix="give a folder on a disk of this machine, or have locks enabled on that one",
            ) from error

    def __iter__(self) -> Iterator[bytes]:
        """Yield the complete lines on the disk, without their newlines."""
        return whole_lines(self.path)

    def append(self, lines: Iterable[str]) -> None:
        """Append lines; they are on the disk when this returns."""
        text = "".join(f"{line}\n" for line in lines)
        if self._file is None:
            self._file = self.path.open("a+b")
            self._file.truncate(_end_of_lines(self._file))
            sync(self.path.parent)
        self._file.write(text.encode(errors=UNWRITABLE))
        self._file.flush()
        os.fsync(self._file.fileno())

    def rewrite(self, lines: Iterable[bytes]) -> None:
        """Replace all lines, atomically."""
        self._release()  # else the next append would go to the replaced file
        if self.path.exists() and self.path.stat().st_nlink > 1:
            log.warning(
                "%s has another name (a hard link), under which the old lines stay", self.path
            )
        write_atomic(self.path, b"".join(line + b"\n" for line in lines))

    def close(self) -> None:
        """Close the file and release its lock."""
        try:
            self._release()
        finally:
            self._lock.release()

    def _release(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class RetryFile(LineFile):
    """A file of lines in which failed items can be retried.

    Retried lines are appended to `NAME.again`; `replace`, in this process or the next one that
    opens the file, puts them in the places of the failed lines. Other lines are never changed.
    """

    def __init__(self, path: Path, read: Reading, *, busy: DestaError) -> None:
        """Lock the file, as `LineFile` does; nothing is changed yet.

        Args:
            path: the file; its folder must exist.
            read: returns the key of a line, and whether it failed.
            busy: error to raise if another process has it open.
        """
        super().__init__(path, busy=busy)
        self.again = retry_path(path)
        self._read = read
        self._busy = busy
        self._retried: LineFile | None = None

    def append_again(self, lines: Iterable[str]) -> None:
        """Append retried lines to `NAME.again`; they are on the disk when this returns."""
        if self._retried is None:
            self._retried = LineFile(self.again, busy=self._busy)
        self._retried.append(lines)

    def replace(self) -> None:
        """Replace failed lines by those in `NAME.again`, also of a process that was killed."""
        self._close_retried()
        if self.again.exists():
            if lines := current_lines(self.path, self._read):
                self.rewrite(lines)
            self.again.unlink()
        # Safe to remove: only the holder of this file's lock takes it.
        lock_path(self.again).unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file and release its lock; retried lines are kept for the next process."""
        try:
            self._close_retried()
        finally:
            super().close()

    def _close_retried(self) -> None:
        if self._retried is not None:
            self._retried.close()
            self._retried = None


def _real(path: Path) -> Path:
    """Return the path with links resolved; a circle of links is kept, and fails when opened."""
    return Path(os.path.realpath(path))


def _end_of_lines(file: BinaryIO) -> int:
    """Return the number of bytes up to and including the last newline."""
    end = file.seek(0, os.SEEK_END)
    while end:
        start = max(0, end - _BLOCK)
        file.seek(start)
        if (place := file.read(end - start).rfind(b"\n")) >= 0:
            return start + place + 1
        end = start
    return 0
