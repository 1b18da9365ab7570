"""Rows of a corpus out of CSV, TSV, JSONL or a Hugging Face data set."""

import csv
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from desta.errors import DataError, need
from desta.records import read_jsonl

Row = Mapping[str, Any]
"""Column -> value; a missing value is None, empty or absent."""

_UNPACKED = "recordings"
"""Folder below the root for the sounds that a data set holds in itself."""


def read_table(path: Path, columns: Sequence[str] = ()) -> list[Row]:
    """Read a table whose first line (CSV, TSV) or keys (JSONL) name the columns.

    Args:
        path: .csv, .tsv or .jsonl.
        columns: those that the first row must have.

    Raises:
        DataError: the file is missing, not UTF-8, not a table, or lacks a column.
    """
    rows = _read_table(path)
    for column in columns:
        if rows and column not in rows[0]:
            raise DataError(
                f'{path} has no column "{column}"', fix="fetch the file of this name again"
            )
    return rows


def _read_table(path: Path) -> list[Row]:
    if not path.is_file():
        raise DataError(
            f"{path} is not a file", fix="check the root, and `table` in the recipe of the corpus"
        )
    try:
        if path.suffix.lower() == ".jsonl":
            return list(read_jsonl(path))
        with path.open(newline="", encoding="utf-8-sig") as file:
            delimiter = "\t" if path.suffix.lower() == ".tsv" else _delimiter(file.readline())
            file.seek(0)
            return list(csv.DictReader(file, delimiter=delimiter, restkey="", strict=True))
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8", fix="save it as UTF-8") from error
    except csv.Error as error:
        raise DataError(f"{path} is not a table: {error}", fix="mend its quotes") from error


def _delimiter(header: str) -> str:
    """Return what separates the columns: spreadsheets write ; where the comma is decimal."""
    return ";" if header.count(";") > header.count(",") else ","


def read_json(path: Path) -> Any:
    """Read a JSON file that is there.

    Raises:
        DataError: it is not JSON.
    """
    try:
        return json.loads(path.read_bytes())
    except ValueError as error:
        raise DataError(f"{path} is not JSON: {error}", fix="fetch that file again") from error


def read_dataset(name: str, split: str, audio: str, root: Path) -> list[Row]:
    """Read a Hugging Face data set; sounds inside it are written below the root, once.

    Args:
        name: a folder written by `save_to_disk`, or an id on the Hub.
        split: the part to read.
        audio: column with the recordings: paths, or sounds.
        root: the sounds go to `root/recordings`, and the column becomes their path.

    Raises:
        DataError: there is no such data set, part or column.
        MissingExtraError: the package `datasets` is missing.
    """
    datasets = need("datasets", extra="train", to="read a Hugging Face data set")
    on_disk = Path(name).is_dir()
    try:
        table = (
            datasets.load_from_disk(name) if on_disk else datasets.load_dataset(name, split=split)
        )
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        raise DataError(
            f'the data set "{name}" cannot be loaded: {" ".join(str(error).split())}',
            fix="give a folder written by save_to_disk, or an id on the Hub",
        ) from error
    if isinstance(table, datasets.DatasetDict):
        if split not in table:
            raise DataError(
                f'the data set "{name}" has no part "{split}"',
                fix=f"set dataset_split to one of {', '.join(table)}",
            )
        table = table[split]
    if audio not in table.column_names:
        raise DataError(
            f'the data set "{name}" has no column "{audio}"',
            fix=f"set columns.audio to one of {', '.join(table.column_names)}",
        )
    if isinstance(table.features[audio], datasets.Audio):
        table = table.cast_column(audio, datasets.Audio(decode=False))
    return [{**row, audio: _unpack(row[audio], f"{name}-{split}", root)} for row in table]


def _unpack(sound: Any, folder: str, root: Path) -> Any:
    """Write a sound that travels inside its row to a file named by its content; return its path."""
    if not isinstance(sound, Mapping):
        return sound
    if sound.get("bytes") is None:
        return sound.get("path")
    suffix = Path(sound.get("path") or "").suffix
    content = hashlib.sha256(sound["bytes"]).hexdigest()[:32]
    path = Path(_UNPACKED, folder.strip("/").replace("/", "--"), f"{content}{suffix}")
    target = root / path
    if not target.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f"{target.name}.partial")
        partial.write_bytes(sound["bytes"])
        partial.replace(target)
    return path.as_posix()
