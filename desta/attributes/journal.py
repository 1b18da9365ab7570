"""Journal of measurements: one line per finished batch."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from desta.errors import ConfigError, DataError
from desta.lines import LineFile


class MeasurementJournal:
    """File of finished batches.

    The first line holds a fingerprint of the work, every other line one record.
    """

    def __init__(self, path: Path, fingerprint: str) -> None:
        """Open or create the journal.

        Raises:
            ConfigError: it belongs to other work.
            DataError: its first line is broken, or another process has it open.
        """
        self.path = path
        self._lines = LineFile(
            path,
            busy=DataError(
                f"another process is at work in {path.parent}",
                fix="wait until it ends, or give another directory",
            ),
        )
        header = {"fingerprint": fingerprint}
        try:
            found = next(self._read(), None)
            if found is None:
                self.append(header)
            elif found != header:
                raise ConfigError(
                    f"{path.parent} holds the unfinished work of another recipe",
                    fix=f"go back to that recipe, give another directory, or delete {path}",
                )
        except BaseException:
            self._lines.close()
            raise

    def records(self) -> Iterator[Any]:
        """Yield the records on the disk.

        Raises:
            DataError: a line is broken.
        """
        records = self._read()
        next(records)
        yield from records

    def append(self, record: Any) -> None:
        """Append a record; it is on the disk when this returns."""
        self._lines.append([json.dumps(record, ensure_ascii=False)])

    def _read(self) -> Iterator[Any]:
        for line in self._lines:
            try:
                yield json.loads(line)
            except ValueError as error:
                raise DataError(
                    f"{self.path} is damaged: {error}", fix="delete it and start again"
                ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.close()
