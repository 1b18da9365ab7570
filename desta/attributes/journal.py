"""The journal of measurements: one line for every batch that is finished."""

import fcntl
import json
import os
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from desta.errors import ConfigError, DataError
from desta.shards import sync


class Journal:
    """Append-only record of finished batches that survives `kill -9` at any moment.

    The first line holds a fingerprint of the work, every other line one record. A line counts
    once its newline is on the disk; what follows the last newline was being written, and goes.
    While it is open no other process may open it: lines of two would run into each other.
    """

    def __init__(self, path: Path, fingerprint: str) -> None:
        """Open the journal, or begin one.

        Raises:
            ConfigError: it belongs to other work.
            DataError: a line before the last is broken, or another process has it open.
        """
        self.path = path
        self.records: list[Any] = []
        """What was on the disk when the journal was opened."""
        self._file = path.open("ab")
        try:
            self._open(fingerprint)
        except BaseException:
            self._file.close()
            raise

    def _open(self, fingerprint: str) -> None:
        path = self.path
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DataError(
                f"another process is at work in {path.parent}",
                fix="wait until it ends, or give another directory",
            ) from error
        lines = path.read_bytes().split(b"\n")[:-1] if self._file.tell() else []
        try:
            header, *self.records = [json.loads(line) for line in lines] or [None]
        except ValueError as error:
            raise DataError(
                f"{path} is damaged: {error}", fix="delete it and start again"
            ) from error
        if lines and header != {"fingerprint": fingerprint}:
            raise ConfigError(
                f"{path.parent} holds the unfinished work of another recipe",
                fix=f"go back to that recipe, give another directory, or delete {path}",
            )
        self._file.truncate(sum(len(line) + 1 for line in lines))
        if not lines:
            self.append({"fingerprint": fingerprint})
            sync(path.parent)

    def append(self, record: Any) -> None:
        """Add a record; it is on the disk when this returns."""
        self._file.write((json.dumps(record, ensure_ascii=False) + "\n").encode())
        self._file.flush()
        os.fsync(self._file.fileno())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()
