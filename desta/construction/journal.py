"""Journal of all responses and refusals of the backbone, keyed by request.

One SQLite file beside the shards. It is kept when the data set is finished, so that another recipe
only sends new requests (docs/decisions/0016).
"""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, Self

from desta.errors import DataError
from desta.generators.base import Completion, Outcome, Refusal
from desta.generators.reasoning import completion
from desta.paths import check_output

FORMAT = 3  # 1 had no refusals, 2 kept reasoning in the text
_MOST_KEYS = 500
"""Keys per query; SQLite's limit depends on its build."""
_FULL = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)
_LOCKED = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


class ResponseJournal:
    """Outcomes of requests by key; survives `kill -9` and a full disk.

    It is locked while open, so that no other process writes to the data set either.
    """

    def __init__(self, path: Path) -> None:
        """Open or create the journal.

        Raises:
            DataError: it is damaged or newer, another process has it open, or the disk is full.
        """
        check_output(path)
        self.path = path
        with self._telling():
            self._database = sqlite3.connect(path, isolation_level=None, timeout=1.0)
            try:
                self._open()
            except BaseException:
                self._database.close()
                raise

    def find(self, keys: Iterable[bytes]) -> dict[bytes, Outcome]:
        """Return the stored completions and refusals of requests."""
        found: dict[bytes, Outcome] = {}
        rest = iter(keys)
        with self._telling():
            while some := list(islice(rest, _MOST_KEYS)):
                for key, *row in self._rows("responses", some):
                    found[key] = _completion(*row)
                for key, reason, message in self._rows("refusals", some):
                    found[key] = Refusal(reason=reason, message=message)
        return found

    def keys(self) -> Iterator[bytes]:
        """Yield the keys of all stored requests."""
        with self._telling():
            for (key,) in self._database.execute(
                "SELECT key FROM responses UNION ALL SELECT key FROM refusals"
            ):
                yield key

    def add(self, outcomes: Mapping[bytes, Outcome]) -> None:
        """Store completions and refusals, all or none; they are on the disk when this returns."""
        completions, refusals = [], []
        for key, outcome in outcomes.items():
            if isinstance(outcome, Refusal):
                refusals.append((key, outcome.reason, outcome.message))
            else:
                row = outcome.text, outcome.num_tokens, outcome.finished, outcome.reasoning
                completions.append((key, *row))
        with self._telling():
            self._database.execute("BEGIN")
            try:
                self._database.executemany(
                    "INSERT INTO responses VALUES (?, ?, ?, ?, ?)", completions
                )
                self._database.executemany("INSERT INTO refusals VALUES (?, ?, ?)", refusals)
                self._database.execute("COMMIT")
            except sqlite3.Error:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                raise

    def forget_refusals(self) -> int:
        """Delete all refusals, so that they are retried; return their number."""
        with self._telling():
            return self._database.execute("DELETE FROM refusals").rowcount

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def _open(self) -> None:
        execute = self._database.execute
        # With one process at a time the write-ahead log needs no shared memory, which network file
        # systems lack.
        execute("PRAGMA locking_mode = EXCLUSIVE")
        execute("PRAGMA journal_mode = WAL")
        execute("PRAGMA synchronous = FULL")  # commits are flushed to the disk
        execute("BEGIN IMMEDIATE")
        [version] = execute("PRAGMA user_version").fetchone()
        if version > FORMAT:
            raise DataError(
                f"{self.path} has format {version}, newer than {FORMAT}",
                fix="install a newer version of desta",
            )
        if version == 0:
            execute(
                "CREATE TABLE responses (key BLOB PRIMARY KEY NOT NULL, text TEXT NOT NULL, "
                "num_tokens INTEGER NOT NULL, finished INTEGER NOT NULL)"
            )
        if version < 2:
            execute(
                "CREATE TABLE refusals (key BLOB PRIMARY KEY NOT NULL, reason TEXT NOT NULL, "
                "message TEXT NOT NULL)"
            )
        if version < FORMAT:
            execute("ALTER TABLE responses ADD COLUMN reasoning TEXT")  # NULL in older rows
            execute(f"PRAGMA user_version = {FORMAT}")
        execute("COMMIT")

    def _rows(self, table: str, keys: Sequence[bytes]) -> Iterator[tuple[Any, ...]]:
        marks = ",".join("?" * len(keys))
        return self._database.execute(f"SELECT * FROM {table} WHERE key IN ({marks})", keys)

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """Convert errors of the database to a DataError with a fix."""
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # primary result code
            if code in _LOCKED:
                raise DataError(
                    f"another process is at work in {self.path.parent}",
                    fix="wait until it ends, or give another directory",
                ) from error
            if code in _FULL:
                raise DataError(
                    f"{self.path} cannot be written: {error}",
                    fix="make room on the disk and give the command again: nothing is lost",
                ) from error
            if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
                raise DataError(
                    f"{self.path} cannot be opened: {error}", fix="check the path and permissions"
                ) from error
            raise DataError(
                f"{self.path} is damaged: {error}",
                fix="delete it; what it held will be generated again",
            ) from error


def _completion(text: str, num_tokens: int, finished: int, reasoning: str | None) -> Completion:
    """Return a stored completion; older formats have reasoning in the text."""
    if reasoning is None:
        return completion(text, num_tokens=num_tokens, finished=bool(finished))
    return Completion(
        text=text, num_tokens=num_tokens, finished=bool(finished), reasoning=reasoning
    )
