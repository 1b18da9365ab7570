"""The journal of measurements: one line for every batch that is finished."""

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
    """

    def __init__(self, path: Path, fingerprint: str) -> None:
        """Open the journal, or begin one.

        Raises:
            ConfigError: it belongs to other work.
            DataError: a line before the last is broken.
        """
        self.path = path
        self.records: list[Any] = []
        """What was on the disk when the journal was opened."""
        lines = path.read_bytes().split(b"\n")[:-1] if path.is_file() else []
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
        self._file = path.open("ab")
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
