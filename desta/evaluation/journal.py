"""The journal of an evaluation: results in the order of its plan, one a line.

What an interrupted call has written whole is kept; a line that it tore is cut off. An answer is
never changed. A line without an answer gives way to what was answered when it was asked again:
these results are appended to `<journal>.again`, and put into the journal when all are there, or by
the next call.
"""

import json
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from desta.errors import DataError
from desta.evaluation.base import Result
from desta.shards import write_atomic

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


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Keep other processes from writing the same journal; a lock dies with its process.

    Raises:
        DataError: another process writes it.
    """
    lock = FileLock(path.with_name(f".{path.name}.lock"), timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise DataError(
            f"another process writes {path}",
            fix="let it finish, share the work by --shard K/N, or give another --out",
        ) from error
    try:
        yield
    finally:
        lock.release()


def open_journal(path: Path, expected: Sequence[tuple[str, str]]) -> int:
    """Cut a torn last line off; return how many results there are.

    Args:
        path: the journal; may be missing.
        expected: (system, item id) of all results, in the order of the plan.

    Raises:
        DataError: it holds other results.
    """
    if not path.exists():
        return 0
    lines = path.read_bytes().split(b"\n")[:-1]  # what follows the last newline was cut off
    keys = [key_of(line) for line in lines]
    if keys != list(expected[: len(keys)]):
        raise DataError(f"{path} is not in the order of its plan", fix="delete its folder")
    os.truncate(path, sum(len(line) + 1 for line in lines))
    if lines:
        logger.info("%s holds %d of %d results already", path, len(lines), len(expected))
    return len(lines)


def find_skipped(path: Path) -> set[tuple[str, str]]:
    """Return (system, item id) of the results of an opened journal that hold no answer."""
    if not path.exists():
        return set()
    lines = path.read_bytes().split(b"\n")[:-1]
    return {key for line in lines if (key := _key_if_skipped(line))}


def asked_again(journal: Path) -> Path:
    """Return where results wait that will take the place of lines without an answer."""
    return journal.with_name(f"{journal.name}.again")


def replace_skipped(journal: Path) -> None:
    """Put what was asked again into its place in the journal; answers stay as they are."""
    again = asked_again(journal)
    if not again.exists():
        return
    found = {key: line for line in again.read_bytes().split(b"\n")[:-1] if (key := key_of(line))}
    lines = [
        found.get(key, line) if (key := _key_if_skipped(line)) else line
        for line in journal.read_bytes().split(b"\n")
    ]
    write_atomic(journal, b"\n".join(lines))
    again.unlink()


def append(path: Path, results: Sequence[Result]) -> None:
    """Write results to the end, so that they outlast a loss of power."""
    text = "".join(json.dumps(r.to_json(), ensure_ascii=False) + "\n" for r in results)
    with path.open("ab") as file:
        file.write(text.encode())
        file.flush()
        os.fsync(file.fileno())


def key_of(line: bytes) -> tuple[str, str] | None:
    """Return who answered what; None where a line is damaged."""
    try:
        record = json.loads(line)
        return record["system"], record["id"]
    except (ValueError, KeyError, TypeError):
        return None


def _key_if_skipped(line: bytes) -> tuple[str, str] | None:
    key = key_of(line)
    return key if key and json.loads(line).get("skipped") else None
