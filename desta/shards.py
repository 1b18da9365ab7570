"""A data set directory: shards of audio-text pairs, the manifest, and the journal of a run.

    audio-00000.jsonl ...  shards, one pair a line, in the order of the plan
    manifest.json          what the shards are and where they come from; written last
    construct.journal      what is finished so far; only while construction is under way

Published directories hold `*.jsonl` shards without a manifest, and are read as they are. Nothing
else in a data set directory ends in `.jsonl`.
"""

import hashlib
import itertools
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from desta.errors import ConfigError, DataError
from desta.records import AudioTextPair, read_jsonl

FORMAT = 1
"""Of the directory; raised whenever an older reader would misread a newer directory."""
MANIFEST = "manifest.json"


@dataclass(frozen=True, kw_only=True)
class Shard:
    """One file of a data set."""

    name: str
    rows: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Dropped:
    """How many items were dropped for one reason."""

    count: int
    example: str
    """Id of the first of them."""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What the shards of a directory are and where they come from."""

    backbone: str
    """Model id of the backbone that wrote the responses."""
    revision: str
    """What pins its weights."""
    prompt_pool: str
    """SHA-256 of the prompt pools."""
    sampling: Mapping[str, Any]
    recipe: str
    """SHA-256 of all that decides what the shards hold."""
    shards: tuple[Shard, ...]
    dropped: Mapping[str, Dropped] = field(default_factory=dict)
    """By reason."""
    num_unknown: int = 0
    """Pairs whose prompt asks for an attribute that nothing is known of."""
    format: int = FORMAT

    @property
    def num_kept(self) -> int:
        """Pairs in the shards."""
        return sum(shard.rows for shard in self.shards)

    @property
    def num_dropped(self) -> int:
        """Items that did not become a pair."""
        return sum(dropped.count for dropped in self.dropped.values())

    def write(self, directory: Path) -> None:
        """Write `manifest.json`: the shards count as finished from here on."""
        text = json.dumps(asdict(self), indent=2, ensure_ascii=False, sort_keys=True)
        write_atomic(directory / MANIFEST, f"{text}\n".encode())

    @classmethod
    def read(cls, directory: Path) -> Self | None:
        """Read `manifest.json`; None where there is none.

        Raises:
            DataError: it is broken, or of a format that this version does not know.
        """
        path = directory / MANIFEST
        if not path.is_file():
            return None
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            if values["format"] > FORMAT:
                raise DataError(
                    f"{path} has format {values['format']}, newer than {FORMAT}",
                    fix="install a newer version of desta",
                )
            values["shards"] = tuple(Shard(**shard) for shard in values["shards"])
            values["dropped"] = {k: Dropped(**v) for k, v in values["dropped"].items()}
            return cls(**values)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f"{path} is not a manifest: {error}", fix="construct the data set again"
            ) from error


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file whole, or not at all, also if the power fails."""
    temporary = path.with_name(f".{path.name}.part")  # always the same: a rerun overwrites it
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync(path.parent)


def sync(path: Path) -> None:
    """Wait until what a file holds, or which names a directory has, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_shards(
    directory: Path, pairs: Iterable[AudioTextPair], *, rows_per_shard: int, prefix: str = "audio"
) -> tuple[Shard, ...]:
    """Write pairs in order as `<prefix>-00000.jsonl` and so on; one shard is held in memory."""
    shards: list[Shard] = []
    lines = (_line(pair.to_json()) for pair in pairs)
    while data := list(itertools.islice(lines, rows_per_shard)):
        name = f"{prefix}-{len(shards):05}.jsonl"
        content = b"".join(data)
        write_atomic(directory / name, content)
        sha256 = hashlib.sha256(content).hexdigest()
        shards.append(Shard(name=name, rows=len(data), sha256=sha256))
    return tuple(shards)


def shard_paths(directory: Path) -> list[Path]:
    """Return the shards of a directory in order: those of its manifest, else all `*.jsonl`.

    Raises:
        DataError: the directory or a shard is missing, or there are no shards.
    """
    if not directory.is_dir():
        raise DataError(f"{directory} is not a directory", fix="give the directory of a data set")
    manifest = Manifest.read(directory)
    if manifest is None:
        paths = sorted(directory.glob("*.jsonl"), key=_natural)
    else:
        paths = [directory / shard.name for shard in manifest.shards]
    if not paths:
        raise DataError(f"{directory} holds no shards", fix="run `desta construct` first")
    for path in paths:
        if not path.is_file():
            raise DataError(f"shard {path} is missing", fix="construct the data set again")
    return paths


def read_pairs(directory: Path) -> Iterator[AudioTextPair]:
    """Yield the pairs of a directory in order.

    Raises:
        DataError: a shard is missing, or a line is not an audio-text pair.
    """
    for path in shard_paths(directory):
        for record in read_jsonl(path):
            try:
                yield AudioTextPair.from_json(record)
            except (KeyError, TypeError, AttributeError) as error:
                raise DataError(
                    f"{path}: row {record.get('id', '?')!r} is not an audio-text pair: {error}",
                    fix="write the file with `desta construct`",
                ) from error


def verify(directory: Path) -> Manifest:
    """Compare every shard with the manifest.

    Raises:
        DataError: there is no manifest, or a shard is missing or not what was written.
    """
    manifest = Manifest.read(directory)
    if manifest is None:
        raise DataError(f"{directory} has no {MANIFEST}", fix="nothing to verify it against")
    for shard in manifest.shards:
        path = directory / shard.name
        if not path.is_file():
            raise DataError(f"shard {path} is missing", fix="construct the data set again")
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != shard.sha256:
            raise DataError(
                f"shard {path} was changed: its SHA-256 starts with {found[:12]}, "
                f"the manifest says {shard.sha256[:12]}",
                fix="construct the data set again",
            )
    return manifest


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
        self._file.write(_line(record))
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


def _line(record: Any) -> bytes:
    return (json.dumps(record, ensure_ascii=False) + "\n").encode()


def _natural(path: Path) -> list[str | int]:
    """Sort key that puts `audio.2` before `audio.10`."""
    return [int(p) if p.isdigit() else p for p in re.split(r"(\d+)", path.name)]
