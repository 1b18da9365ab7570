"""A file of lines that grows while work is done, and survives `kill -9` at any moment.

A line counts once its newline is on the disk. What follows the last newline was being written when
a process died: nobody is given it, and it is cut off before another line is added. What the lines
mean, and whether a file may be added to at all, its users know.

A link to a file stays a link: the file that it leads to is read, locked and written, and all that
stands beside it for a while stands there. Where a file is written anew, another name of it (a hard
link) keeps what was there before, and a warning says so.
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
"""Says what a line is about, None where that cannot be told, and whether it failed."""

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
    real = _real(path)
    return real.with_name(f".{real.name}.lock")


def again_of(path: Path) -> Path:
    """Return the file of what was asked again of another, until it is in its place."""
    real = _real(path)
    return real.with_name(f"{real.name}.again")


def filled(path: Path, read: Reading) -> list[bytes]:
    """Return the lines of a file; what was asked again already is in its place."""
    return fill(whole_lines(path), whole_lines(again_of(path)), read)


def fill(lines: Iterable[bytes], others: Iterable[bytes], read: Reading) -> list[bytes]:
    """Let lines that failed give way to what others hold of the same."""
    found = {key: line for line in others if (key := read(line)[0]) is not None}
    keys = ((line, *read(line)) for line in lines)
    return [found.get(key, line) if failed else line for line, key, failed in keys]


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
            DataError: `busy`, or the file system keeps no locks, or the folder takes no files.
            ConfigError: it is a folder, a pipe or a device.
            OSError: the folder is missing, or may not be written to.
        """
        check_output(path)
        self.path = _real(path)
        self._file: BinaryIO | None = None
        self._lock = FileLock(lock_of(path), timeout=0)
        if not self.path.parent.is_dir():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self.path))
        try:
            self._lock.acquire()
        except Timeout as error:
            if lock_of(path).exists():
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

    def rewrite(self, lines: Iterable[bytes]) -> None:
        """Put other lines in the place of all, whole or not at all."""
        self._release()  # or what is appended next would go to the file that was
        if self.path.exists() and self.path.stat().st_nlink > 1:
            log.warning(
                "%s has another name (a hard link), under which the old lines stay", self.path
            )
        write_atomic(self.path, b"".join(line + b"\n" for line in lines))

    def close(self) -> None:
        """Let other processes have the file."""
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
    """A file of lines of which those that failed can be asked again.

    What is asked again is appended to `NAME.again`, and put into the places of the lines that
    failed when all is there, or by the next process that opens the file. A line that did not fail
    is never changed.
    """

    def __init__(self, path: Path, read: Reading, *, busy: DestaError) -> None:
        """Lock the file, as `LineFile` does; nothing is changed yet.

        Args:
            path: the file; its folder must be there.
            read: tells lines apart, and those that failed from others.
            busy: what to raise where another process has it open.
        """
        super().__init__(path, busy=busy)
        self.again = again_of(path)
        self._read = read
        self._busy = busy
        self._retried: LineFile | None = None

    def append_again(self, lines: Iterable[str]) -> None:
        """Keep lines that will take the place of others; they are on the disk when this returns."""
        if self._retried is None:
            self._retried = LineFile(self.again, busy=self._busy)
        self._retried.append(lines)

    def replace(self) -> None:
        """Put what was asked again, by this process or one that was cut off, into its place."""
        self._close_retried()
        if self.again.exists():
            if lines := filled(self.path, self._read):
                self.rewrite(lines)
            self.again.unlink()
        lock_of(self.again).unlink(missing_ok=True)  # only who holds the lock of the file takes it

    def close(self) -> None:
        """Let other processes have the file; what was asked again waits for the next one."""
        try:
            self._close_retried()
        finally:
            super().close()

    def _close_retried(self) -> None:
        if self._retried is not None:
            self._retried.close()
            self._retried = None


def _real(path: Path) -> Path:
    """Return where links lead; a circle of links stays as it is, and opening it says so."""
    return Path(os.path.realpath(path))


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
