"""Reading of Hugging Face data sets: folders of Parquet files with the sounds inside."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from desta.errors import DataError, need
from desta.sources.base import Metadata, Reader, Skipped, of_split
from desta.sources.files import keep, visible

_SUFFIX = re.compile(r"\.\w{1,5}")
_ROWS_AT_ONCE = 64
"""Rows held in memory with their sounds."""


@dataclass(frozen=True, kw_only=True)
class HubRow:
    """A row of a Parquet file whose sound is stored as a file."""

    id: str
    """Path of the Parquet file without its suffix, and the number of the row in it."""
    audio: str
    """Path of the sound, relative to the root; empty if the rows hold no sound."""
    values: Mapping[str, Any]
    """Column -> value, of the requested columns."""


def hub_reader(
    source: str,
    datasets: str | Sequence[str],
    columns: Sequence[str],
    describe: Callable[[HubRow], Metadata | Skipped],
    *,
    audio: str | None = "audio",
    folder: str = ".",
    train: Sequence[str] = ("train",),
    splits: Mapping[str, str] | None = None,
) -> Reader:
    """Create a reader of a downloaded Hub data set.

    The sound of a row is stored below `root/recordings` (`recordings.keep`). Rows of files of other
    splits are skipped and counted.

    Args:
        source: name of the corpus.
        datasets: its id on the Hub, for the error message; if there are several, each lies in a
            folder of its own name.
        columns: columns that `describe` needs.
        describe: function row -> metadata.
        audio: column of the sound; None if the rows only name files.
        folder: folder of the Parquet files below the root, at any depth.
        train: prefixes of the names of the files to read.
        splits: other prefix -> official split, if it is not the prefix itself.
    """

    def read(root: Path) -> Iterator[Metadata | Skipped]:
        shards = visible(root / folder, "**/*.parquet")
        if not any(_split(shard) in train for shard in shards):
            raise DataError(
                f"{source}: {root / folder} holds no file {train[0]}-*.parquet",
                fix=f"run {_download(datasets, root)}, "
                "or describe a corpus of your own with `desta describe custom`",
            )
        parquet = need("pyarrow.parquet", extra="train", to=f"read {source}")
        for shard in shards:
            with _reading(shard):
                file = parquet.ParquetFile(shard)
            with file:
                name = shard.relative_to(root).with_suffix("").as_posix()
                if (split := _split(shard)) not in train:
                    for number in range(file.metadata.num_rows):
                        yield of_split(f"{name}/{number}", (splits or {}).get(split, split))
                else:
                    _check_columns(file, shard, columns, audio)
                    rows = _rows(file, shard, name, root, columns, audio)
                    yield from (row if isinstance(row, Skipped) else describe(row) for row in rows)

    return read


def read_parquet_rows(
    shard: Path, root: Path, columns: Sequence[str], *, audio: str, to: str
) -> Iterator[HubRow]:
    """Yield the rows of one Parquet file; their sounds are stored below `root/recordings`.

    Args:
        shard: the file, below `root`.
        root: folder of the data set.
        columns: columns to read beside the sound; a missing one is an error.
        audio: column of the sound.
        to: purpose, for the error if pyarrow is missing.

    Raises:
        DataError: the file is damaged, or a row holds no sound.
    """
    parquet = need("pyarrow.parquet", extra="train", to=to)
    with _reading(shard):
        file = parquet.ParquetFile(shard)
    with file:
        _check_columns(file, shard, columns, audio)
        name = shard.relative_to(root).with_suffix("").as_posix()
        for row in _rows(file, shard, name, root, columns, audio):
            if isinstance(row, Skipped):
                raise DataError(
                    f"{shard}: row {row.id} holds no sound", fix="fetch that file again"
                )
            yield row


def column_names(shard: Path, *, to: str) -> set[str]:
    """Return the column names of a Parquet file."""
    parquet = need("pyarrow.parquet", extra="train", to=to)
    with _reading(shard):
        return set(parquet.read_schema(shard).names)


def _download(datasets: str | Sequence[str], root: Path) -> str:
    """Return the commands that download the corpus."""
    places = (
        {datasets: root}
        if isinstance(datasets, str)
        else {id: root / id.partition("/")[2] for id in datasets}
    )
    return " and ".join(
        f"`hf download {id} --repo-type dataset --local-dir {place}`"
        for id, place in places.items()
    )


def _split(shard: Path) -> str:
    """Return `train` for `train-00000-of-00004-0a1b.parquet`."""
    return shard.stem.partition("-")[0]


def _check_columns(file: Any, shard: Path, columns: Sequence[str], audio: str | None) -> None:
    wanted = (*columns, *((f"{audio}.bytes", f"{audio}.path") if audio else ()))
    there = {file.schema.column(number).path for number in range(len(file.schema.names))}
    for column in wanted:
        if not any(f"{path}.".startswith(f"{column}.") for path in there):  # lists lie deeper
            raise DataError(
                f'{shard} has no column "{column}"',
                fix="fetch that file again; another revision of the data set may differ",
            )


@contextmanager
def _reading(shard: Path) -> Iterator[None]:
    """Convert errors of a damaged shard to a DataError that names it."""
    try:
        yield
    except (OSError, ValueError, NotImplementedError) as error:
        raise DataError(
            f"{shard} cannot be read: {' '.join(str(error).split())}", fix="fetch that file again"
        ) from error


def _rows(
    file: Any, shard: Path, name: str, root: Path, columns: Sequence[str], audio: str | None
) -> Iterator[HubRow | Skipped]:
    sounds = (f"{audio}.bytes", f"{audio}.path") if audio else ()
    for number, row in enumerate(_values(file, shard, [*columns, *sounds])):
        id = f"{name}/{number}"
        kept = _keep(root, id, row[audio]) if audio else ""
        if kept is None:
            yield Skipped(id=id, reason="its row holds no sound", broken=True)
        else:
            yield HubRow(id=id, audio=kept, values={column: row[column] for column in columns})


def _values(file: Any, shard: Path, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    with _reading(shard):
        for batch in file.iter_batches(batch_size=_ROWS_AT_ONCE, columns=columns):
            yield from batch.to_pylist()


def _keep(root: Path, id: str, sound: Mapping[str, Any] | None) -> str | None:
    """Store the sound of a row and return its path; None if there is none."""
    if not sound or not sound["bytes"]:
        return None
    suffix = Path(sound["path"] or "").suffix
    return keep(root, f"{id}-", suffix if _SUFFIX.fullmatch(suffix) else "", sound["bytes"])
