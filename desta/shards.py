"""Data set directories: shards of audio-text pairs and their manifest.

    audio-00000.jsonl ...  shards, one pair a line, in the order of the clips
    manifest.json          shards with their hashes, recipe and counts; written last
    dropped.ndjson         the pairs that were not kept, each with its reason
    responses.sqlite       every response of the backbone, by request; may be deleted at the end
    building/              the next shards; only while construction is running

Published directories hold `*.jsonl` shards without a manifest, and can be read too. No other file
of a data set directory ends in `.jsonl`.
"""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Self, TypedDict

from desta.errors import DataError
from desta.files import UNWRITABLE, sha256, write_atomic
from desta.paths import check_local
from desta.reasons import Count, Reasons
from desta.records import TEXTS, AudioTextPair
from desta.schema import Json, check_json, read_json

FORMAT = 3
"""Format of the directory; raised whenever older code would misread a newer directory."""
MANIFEST = "manifest.json"
RESPONSES = "responses.sqlite"


@dataclass(frozen=True, kw_only=True)
class ShardFile:
    """One file of a data set."""

    name: str
    rows: int
    sha256: str


class Faithful(TypedDict):
    """Counts of responses to prompts about an attribute, and of those that name the right value."""

    asked: int
    right: int
    kept: int
    kept_right: int


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """Shards of a data set directory, their origin, and counts."""

    backbone: str
    """Id of the backbone that wrote the responses."""
    revision: str
    """Revision of its weights."""
    prompt_pool: str
    """SHA-256 of the prompt pools."""
    sampling: Mapping[str, Any]
    recipe: str
    """SHA-256 of recipe, clips, prompts and backbone."""
    shards: tuple[ShardFile, ...]
    code: str = ""
    """SHA-256 of the code that turned them into pairs; empty where it was not noted."""
    dropped: Reasons[str] = field(default_factory=Reasons)
    """Items that did not become a pair."""
    counts: Mapping[str, Mapping[str, Mapping[str, int]]] = field(default_factory=dict)
    """Source -> kind of prompt -> numbers of responses `kept` and `dropped`."""
    faithfulness: Mapping[str, Mapping[str, Mapping[str, int]]] = field(default_factory=dict)
    """Kind of prompt -> attribute -> responses to prompts about it (`asked`) and the `right` ones
    among them, and the same of those `kept`."""
    num_unknown: int = 0
    """Pairs whose prompt asks for an attribute that the clip does not have."""
    format: int = FORMAT

    @property
    def num_kept(self) -> int:
        """Number of pairs in the shards."""
        return sum(shard.rows for shard in self.shards)

    @property
    def num_dropped(self) -> int:
        """Items that did not become a pair."""
        return self.dropped.total

    def write(self, directory: Path) -> None:
        """Write `manifest.json`, which marks the shards as finished."""
        text = json.dumps(asdict(self), indent=2, ensure_ascii=False, sort_keys=True)
        write_atomic(directory / MANIFEST, f"{text}\n".encode(errors=UNWRITABLE))

    @classmethod
    def read(cls, directory: Path) -> Self | None:
        """Read `manifest.json`; return None if there is none.

        Raises:
            DataError: it is broken, or of a newer format.
        """
        path = directory / MANIFEST
        if not path.is_file():
            return None
        again = "construct the data set again"
        values = read_json(path, dict[str, Json], fix=again, what="a manifest")
        newer = values.get("format")
        if isinstance(newer, int) and newer > FORMAT:
            raise DataError(
                f"{path} has format {newer}, newer than {FORMAT}",
                fix="install a newer version of desta",
            )
        where = f"{path} is not a manifest"
        dropped = {"dropped": values.pop("dropped", {})}
        check_json(dropped, dict[str, dict[str, Count]], where=where, fix=again)
        check_json(values, cls, where=where, fix=again)
        told = {"faithfulness": values.get("faithfulness", {})}
        check_json(told, dict[str, dict[str, dict[str, Faithful]]], where=where, fix=again)
        try:
            values["shards"] = tuple(ShardFile(**shard) for shard in values["shards"])
            return cls(**values, dropped=Reasons.from_json(dropped["dropped"]))
        except TypeError as error:  # a key that is not known
            raise DataError(f"{path} is not a manifest: {error}", fix=again) from error


class ShardWriter:
    """Writer of shards named `<prefix>-00000.jsonl` and so on; pairs are written at once."""

    def __init__(self, directory: Path, *, rows_per_shard: int, prefix: str = "audio") -> None:
        """Create a writer; the first shard is opened with the first pair.

        Args:
            directory: folder of the shards; not to be read before `close`.
            rows_per_shard: pairs in each shard but the last.
            prefix: beginning of their names.
        """
        self._directory = directory
        self._rows_per_shard = rows_per_shard
        self._prefix = prefix
        self._shards: list[ShardFile] = []
        self._file: BinaryIO | None = None
        self._rows = 0
        self._sha256 = hashlib.sha256()

    def add(self, pair: AudioTextPair) -> None:
        """Write one pair."""
        if self._file is None:
            self._file = (self._directory / self._name).open("wb")
        line = _line(pair.to_json())
        self._file.write(line)
        self._sha256.update(line)
        self._rows += 1
        if self._rows == self._rows_per_shard:
            self._end_shard()

    def close(self) -> tuple[ShardFile, ...]:
        """Finish the last shard and return all shards, which are on the disk then."""
        if self._file is not None:
            self._end_shard()
        return tuple(self._shards)

    def abandon(self) -> None:
        """Close the unfinished shard after an error."""
        if self._file is not None:
            self._file.close()

    @property
    def _name(self) -> str:
        return f"{self._prefix}-{len(self._shards):05}.jsonl"

    def _end_shard(self) -> None:
        assert self._file is not None, "a shard ends only after its first pair"
        with self._file as file:
            file.flush()
            os.fsync(file.fileno())
        shard = ShardFile(name=self._name, rows=self._rows, sha256=self._sha256.hexdigest())
        self._shards.append(shard)
        self._file, self._rows, self._sha256 = None, 0, hashlib.sha256()


def shard_paths(directory: Path) -> list[Path]:
    """Return the shards of a directory in order: those of its manifest, else all `*.jsonl`.

    Raises:
        DataError: the directory or a shard is missing, or there are no shards.
    """
    check_local(directory)
    if not directory.is_dir():
        raise DataError(f"{directory} is not a directory", fix="give the directory of a data set")
    manifest = Manifest.read(directory)
    if manifest is None and (directory / RESPONSES).exists():
        raise DataError(
            f"{directory} is not finished", fix="give the `desta construct` command again"
        )
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


def verify_shards(directory: Path) -> Manifest:
    """Compare every shard with the manifest.

    Raises:
        DataError: there is no manifest, or a shard is missing or was changed.
    """
    manifest = Manifest.read(directory)
    if manifest is None:
        raise DataError(f"{directory} has no {MANIFEST}", fix="nothing to verify it against")
    for path, shard in zip(shard_paths(directory), manifest.shards, strict=True):
        if (found := sha256(path)) != shard.sha256:
            raise DataError(
                f"shard {path} was changed: its SHA-256 starts with {found[:12]}, "
                f"the manifest says {shard.sha256[:12]}",
                fix="construct the data set again",
            )
    return manifest


def pair_features(datasets: Any) -> dict[str, Any]:
    """Return the columns of audio-text pairs with their types of the package `datasets`."""
    text = datasets.Value("string")
    message = {
        "role": text,
        "content": text,
        "audios": datasets.List({"audio": text, "text": text}),
    }
    return {**dict.fromkeys(TEXTS, text), "messages": datasets.List(message)}


def _line(record: Any) -> bytes:
    return (json.dumps(record, ensure_ascii=False) + "\n").encode(errors=UNWRITABLE)


def _natural(path: Path) -> list[str | int]:
    """Sort key that puts `audio.2` before `audio.10`."""
    return [int(p) if p.isdigit() else p for p in re.split(r"(\d+)", path.name)]
