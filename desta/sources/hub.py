"""Corpora that come as Hugging Face data sets: folders of parquet files with the sounds inside."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from desta.errors import DataError, need
from desta.sources.base import Metadata, Reader, Skipped, of_split

RECORDINGS = "recordings"
"""Folder below the root for sounds that are taken out of something larger."""

_SUFFIX = re.compile(r"\.\w{1,5}")


@dataclass(frozen=True, kw_only=True)
class HubRow:
    """A row of a parquet file whose sound has become a file."""

    id: str
    """Path of the parquet file without its suffix, and the number of the row in it."""
    audio: str
    """Path of the sound, relative to the root; empty where the rows hold none."""
    shard: Path
    """The parquet file."""
    values: Mapping[str, Any]
    """Column -> value, of the columns that were asked for."""


def hub_reader(
    source: str,
    dataset: str,
    columns: Sequence[str],
    describe: Callable[[HubRow], Metadata | Skipped],
    *,
    audio: str | None = "audio",
    folder: str = ".",
    train: Sequence[str] = ("train",),
    splits: Mapping[str, str] | None = None,
) -> Reader:
    """Return the reader of a data set of the Hub that was downloaded as it is.

    The sound of a row is written once, whole or not at all, below `root/recordings`; a row is
    read again without its sound. Rows of files that are not called `train-...` are counted.

    Args:
        source: name of the corpus.
        dataset: its id on the Hub, for the error message.
        columns: what `describe` looks at.
        describe: row -> metadata.
        audio: column that holds the sound; None where the rows only name files.
        folder: where the parquet files lie below the root, at any depth.
        train: how the names of the files to read begin.
        splits: other beginning -> the official split that it is, where it is not its name.
    """

    def read(root: Path) -> Iterator[Metadata | Skipped]:
        shards = sorted((root / folder).rglob("*.parquet"))
        if not any(_split(shard) in train for shard in shards):
            raise DataError(
                f"{source}: {root / folder} holds no file {train[0]}-*.parquet",
                fix=f"run `hf download {dataset} --repo-type dataset --local-dir {root}`, "
                "or describe a corpus of your own with `desta describe custom`",
            )
        parquet = need("pyarrow.parquet", extra="train", to=f"read {dataset}")
        for shard in shards:
            with _open(parquet, shard) as file:
                name = shard.relative_to(root).with_suffix("").as_posix()
                if (split := _split(shard)) not in train:
                    for number in range(file.metadata.num_rows):
                        yield of_split(f"{name}/{number}", (splits or {}).get(split, split))
                else:
                    rows = _rows(file, name, shard, root, columns, audio)
                    yield from (row if isinstance(row, Skipped) else describe(row) for row in rows)

    return read


def _open(parquet: Any, shard: Path) -> Any:
    try:
        return parquet.ParquetFile(shard)
    except (OSError, ValueError) as error:  # a shard that is cut off has no footer
        raise DataError(
            f"{shard} cannot be read: {' '.join(str(error).split())}", fix="fetch that file again"
        ) from error


def _split(shard: Path) -> str:
    """Return `train` for `train-00000-of-00004-0a1b.parquet`."""
    return shard.stem.partition("-")[0]


def _rows(
    file: Any, name: str, shard: Path, root: Path, columns: Sequence[str], audio: str | None
) -> Iterator[HubRow | Skipped]:
    number = 0
    for group in range(file.num_row_groups):  # some hundred rows: what is held in memory
        if audio is None:
            for values in file.read_row_group(group, columns=list(columns)).to_pylist():
                yield HubRow(id=f"{name}/{number}", audio="", shard=shard, values=values)
                number += 1
            continue
        rows = file.read_row_group(group, columns=[*columns, f"{audio}.path"]).to_pylist()
        ids = [f"{name}/{number + offset}" for offset in range(len(rows))]
        number += len(rows)
        paths = [
            Path(RECORDINGS, f"{id}{_suffix(row[audio])}")
            for id, row in zip(ids, rows, strict=True)
        ]
        if not all((root / path).is_file() for path in paths):
            sounds = file.read_row_group(group, columns=[f"{audio}.bytes"]).column(audio)
            for path, sound in zip(paths, sounds, strict=True):
                _write(root / path, sound.as_py())
        for id, path, row in zip(ids, paths, rows, strict=True):
            if (root / path).is_file():
                values = {column: row[column] for column in columns}
                yield HubRow(id=id, audio=path.as_posix(), shard=shard, values=values)
            else:
                yield Skipped(id=id, reason="its row holds no sound", broken=True)


def _suffix(sound: Mapping[str, Any] | None) -> str:
    suffix = Path((sound or {}).get("path") or "").suffix
    return suffix if _SUFFIX.fullmatch(suffix) else ""


def _write(target: Path, sound: Mapping[str, Any] | None) -> None:
    if sound is None or not sound.get("bytes") or target.is_file():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.part")
    partial.write_bytes(sound["bytes"])
    partial.replace(target)
