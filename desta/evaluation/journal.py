"""The journal of an evaluation: results in the order of its plan, one a line.

What an interrupted call has written whole is kept; a line that it tore is cut off. An answer is
never changed. A line without an answer gives way to what was answered when it was asked again, as
`desta.lines.RetryFile` does it.
"""

import json
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from desta.errors import DataError
from desta.evaluation.base import Result
from desta.lines import RetryFile
from desta.renamed import system_id

log = logging.getLogger(__name__)

RESULTS = "results.jsonl"


@dataclass(frozen=True, kw_only=True)
class Shard:
    """One of several processes that share an evaluation."""

    number: int = 0
    """From 0."""
    count: int = 1

    @property
    def file(self) -> str:
        """Name of its journal."""
        return RESULTS if self.count == 1 else f"results-{self.number}-of-{self.count}.jsonl"

    def takes(self, batch: int) -> bool:
        """Return whether a batch, by its number in the plan, is answered here."""
        return batch % self.count == self.number


def batch_sizes(num_items: int, batch_size: int, num_systems: int) -> list[int]:
    """Return the sizes of all batches of a plan, in its order."""
    full, rest = divmod(num_items, batch_size)
    return ([batch_size] * full + ([rest] if rest else [])) * num_systems


class Journal:
    """The journal of one process; no other process may add to it while it is open."""

    def __init__(self, path: Path, expected: Sequence[tuple[str, str]]) -> None:
        """Open the journal; a missing one is begun with its first results.

        Args:
            path: the file.
            expected: (system, item id) of all results, in the order of the plan.

        Raises:
            DataError: it holds other results, or another process writes it.
        """
        self._lines = lock(path)
        try:
            self._lines.replace()  # by what a call that was cut off has asked again
            read = [read_line(line) for line in self._lines]
            keys = [key for key, _ in read]
            if keys != list(expected[: len(keys)]):
                both = enumerate(zip(keys, expected, strict=False), start=1)
                others = (number for number, (key, wanted) in both if key != wanted)
                first = next(others, len(expected) + 1)
                raise DataError(
                    f"{path}:{first} is not what its plan has in that place",
                    fix="delete that line and all behind it, and they are asked again",
                )
        except BaseException:
            self._lines.close()
            raise
        self.num_results = len(keys)
        """Results that earlier calls wrote."""
        self.skipped = {key for key, skipped in read if key and skipped}
        """(system, item id) of those that hold no answer."""
        if keys:
            log.info("%s holds %d of %d results already", path, len(keys), len(expected))

    def append(self, results: Iterable[Result]) -> None:
        """Write results to the end, so that they outlast a loss of power."""
        self._lines.append(map(line_of, results))

    def append_again(self, results: Iterable[Result]) -> None:
        """Write results that will take the place of lines without an answer."""
        self._lines.append_again(map(line_of, results))

    def replace_skipped(self) -> None:
        """Put what was asked again into its place, before anything is appended."""
        self._lines.replace()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.close()


def lock(path: Path) -> RetryFile:
    """Keep other processes from writing a journal, until it is closed.

    Raises:
        DataError: one of them has it open.
    """
    return RetryFile(
        path,
        read_line,
        busy=DataError(
            f"another process writes {path}",
            fix="let it finish; `desta eval` also takes --shard K/N, or another --out",
        ),
    )


def line_of(result: Result) -> str:
    """Return a result as its journal holds it, without the newline."""
    return json.dumps(result.to_json(), ensure_ascii=False)


def read_line(line: bytes) -> tuple[tuple[str, str] | None, bool]:
    """Return who answered what, None where a line is damaged, and whether there is no answer."""
    try:
        record = json.loads(line)
        system, id = system_id(record["system"]), record["id"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None, False  # damaged: it is not known to have failed
    if not (isinstance(system, str) and isinstance(id, str)):
        return None, False
    return (system, id), bool(record.get("skipped"))
