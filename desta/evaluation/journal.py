"""The journal of an evaluation: results in the order of its plan, one a line, never changed.

What an interrupted call has written whole is kept; a line that it tore is cut off.
"""

import json
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from desta.errors import DataError
from desta.evaluation.base import Result
from desta.lines import LineFile

logger = logging.getLogger(__name__)

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
        """Tell whether a batch, by its number in the plan, is answered here."""
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
        self._lines = LineFile(
            path,
            busy=DataError(
                f"another process writes {path}",
                fix="let it finish, share the work by --shard K/N, or give another --out",
            ),
        )
        keys = [key_of(line) for line in self._lines]
        self.num_results = len(keys)
        """What earlier calls wrote."""
        if keys != list(expected[: len(keys)]):
            self._lines.close()
            raise DataError(f"{path} is not in the order of its plan", fix="delete its folder")
        if keys:
            logger.info("%s holds %d of %d results already", path, len(keys), len(expected))

    def append(self, results: Iterable[Result]) -> None:
        """Write results to the end, so that they outlast a loss of power."""
        self._lines.append(json.dumps(r.to_json(), ensure_ascii=False) for r in results)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._lines.close()


def key_of(line: bytes) -> tuple[str, str] | None:
    """Return who answered what; None where a line is damaged."""
    try:
        record = json.loads(line)
        return record["system"], record["id"]
    except (ValueError, KeyError, TypeError):
        return None
