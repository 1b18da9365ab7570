"""Export of a data set as Parquet, in the Hub's layout: data/train-00000-of-00003.parquet."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from desta.construction.row_checks import Row, clips_of, find_row_fault
from desta.errors import ConfigError, DataError, need
from desta.paths import check_folder
from desta.publishing.survey import MISSING, OUTSIDE, UNREADABLE_RECORDING
from desta.reasons import Reasons
from desta.records import read_jsonl
from desta.shards import pair_features, shard_paths
from desta.sources.files import inside, is_file

PARQUET_FILES = "data/train-*.parquet"

_GROUP_ROWS = 1000
_GROUP_BYTES = 64 << 20
"""Limits of a row group, which readers hold in memory."""
_FILE_BYTES = 512 << 20

Size = int


@dataclass(kw_only=True)
class Exported:
    """Counts of an export."""

    num_files: int = 0
    num_rows: int = 0
    left_out: Reasons[str] = field(default_factory=Reasons)
    """Rows that are of no use, by reason."""
    silent: Reasons[str] = field(default_factory=Reasons)
    """Rows with a recording whose sound could not be put in, by reason."""


def export_parquet(
    directory: Path,
    out: Path,
    *,
    audio_root: Path | None = None,
    on_progress: Callable[[int], None] = lambda done: None,
) -> Exported:
    """Write the usable rows of a data set as Parquet; memory stays flat.

    Args:
        directory: shards, with or without a manifest.
        out: folder to write `data/` into.
        audio_root: folder that the paths of recordings are relative to. If given, a column `audios`
            holds the files of the recordings, unchanged; none outside this folder is read.
        on_progress: called with the number of finished rows.

    Raises:
        ConfigError: the folder holds Parquet files already.
        DataError: a shard is missing, a line is not JSON, or no row is usable.
    """
    folder = out / "data"
    for new in (out, folder):
        check_folder(new)
    parquet = need("pyarrow.parquet", extra="train", to="write Parquet")
    pyarrow = need("pyarrow", extra="train", to="write Parquet")
    paths = shard_paths(directory)
    if any(folder.glob("*.parquet")):
        raise ConfigError(f"{folder} holds Parquet files", fix="give another folder, or empty it")
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob("*.part"):
        path.unlink()  # left by an interrupted call
    schema = _schema(with_audio=audio_root is not None)
    exported = Exported()
    parts: list[Path] = []
    writer = None
    try:
        for group in _groups(_rows(paths, audio_root, exported)):
            if writer is None:
                parts.append(folder / f"{len(parts):05}.part")
                writer = parquet.ParquetWriter(parts[-1], schema, compression="zstd")
            writer.write_table(pyarrow.Table.from_pylist(group, schema=schema))
            exported.num_rows += len(group)
            on_progress(exported.num_rows)
            if parts[-1].stat().st_size >= _FILE_BYTES:
                writer.close()
                writer = None
    finally:
        if writer is not None:
            writer.close()
    if not parts:
        raise DataError(f"{directory} holds no usable row", fix=f"desta inspect {directory}")
    exported.num_files = len(parts)
    for number, part in enumerate(parts):
        part.replace(folder / f"train-{number:05}-of-{len(parts):05}.parquet")
    return exported


def _schema(*, with_audio: bool) -> Any:
    """Return the Arrow schema, with the column types of the Hub and `datasets` as metadata."""
    datasets = need("datasets", extra="train", to="write Parquet")
    columns = pair_features(datasets)
    if with_audio:
        columns["audios"] = datasets.List(datasets.Audio())
    return datasets.Features(columns).arrow_schema


def _rows(
    paths: Iterable[Path], audio_root: Path | None, exported: Exported
) -> Iterator[tuple[Row, Size]]:
    """Yield usable rows with their approximate size in bytes."""
    for number, row in enumerate(itertools.chain.from_iterable(map(read_jsonl, paths))):
        if fault := find_row_fault(row):
            exported.left_out.add(fault, str(row.get("id") or f"row {number}"))
        elif audio_root is None:
            yield row, 0
        else:
            sounds = [_sound(audio_root, str(clip["audio"])) for clip in clips_of(row)]
            for reason in {sound for sound in sounds if isinstance(sound, str)}:
                exported.silent.add(reason, str(row.get("id") or f"row {number}"))
            audios = [
                {"bytes": None if isinstance(sound, str) else sound, "path": clip["audio"]}
                for sound, clip in zip(sounds, clips_of(row), strict=True)
            ]
            yield {**row, "audios": audios}, sum(len(sound) for sound in sounds)


def _sound(root: Path, path: str) -> bytes | str:
    """Return the bytes of a recording, or the reason why it cannot be read."""
    place = inside(root, path)
    if place is None:
        return OUTSIDE
    if not is_file(root / place):
        return MISSING
    try:
        return (root / place).read_bytes()
    except OSError:
        return UNREADABLE_RECORDING


def _groups(rows: Iterable[tuple[Row, Size]]) -> Iterator[list[Row]]:
    group: list[Row] = []
    total = 0
    for row, size in rows:
        group.append(row)
        total += size
        if len(group) >= _GROUP_ROWS or total >= _GROUP_BYTES:
            yield group
            group, total = [], 0
    if group:
        yield group
