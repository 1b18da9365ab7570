"""Reading of corpus tables: CSV, TSV, JSONL or a Hugging Face data set."""

import csv
import json
import re
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal

from desta.errors import DataError, need
from desta.paths import check_local
from desta.records import read_jsonl
from desta.sources.files import keep

Row = Mapping[str, Any]
"""Column -> value; a missing value is None, empty or absent."""

_SEPARATOR = re.compile(r'"?sep= *([^\r\n"])[;,\t]*"?\s*', re.IGNORECASE)
"""First line of some spreadsheets, which names the separator; not a row of the table."""

csv.field_size_limit(1 << 24)  # biographies of artists may be longer than the default


def read_table(path: Path) -> list[Row]:
    """Read a table whose first line (CSV, TSV) or keys (JSONL) name the columns.

    Args:
        path: .csv, .tsv or .jsonl; a CSV may use semicolons, or begin with `sep=;`.

    Raises:
        DataError: the file is missing, not UTF-8 or not a table.
    """
    check_local(path)
    if not path.is_file():
        raise DataError(
            f"{path} is not a file", fix="check the root, and `table` in the recipe of the corpus"
        )
    if path.suffix.lower() == ".jsonl":
        return list(read_jsonl(path))
    delimiter = "\t" if path.suffix.lower() == ".tsv" else _delimiter(path)
    return list(read_rows(path, delimiter=delimiter, strict=True))


def _delimiter(path: Path) -> str:
    """Return the separator: spreadsheets write ; in locales with a decimal comma."""
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        header = file.readline()
    if named := _SEPARATOR.fullmatch(header):
        return named[1]
    return ";" if header.count(";") > header.count(",") else ","


def read_rows(
    path: Path, *columns: str, delimiter: str = ",", quoted: bool = True, strict: bool = False
) -> Iterator[dict[str, str]]:
    """Yield the rows of a table whose first line names the columns, one at a time.

    Args:
        path: an existing UTF-8 file (`find_file`).
        columns: required columns; empty in rows that end before them.
        delimiter: separator of cells.
        quoted: whether cells may be quoted; if False, quotation marks are ordinary characters.
        strict: whether misplaced quotation marks, duplicate columns and rows with too many cells
            are errors.

    Raises:
        DataError: not UTF-8, not a table, or a column is missing.
    """
    rows = read_cells(path, delimiter=delimiter, quoted=quoted, strict=strict)
    names = next(rows, [])
    if missing := [name for name in columns if name not in names]:
        raise DataError(
            f'{path} has no column "{missing[0]}"',
            fix="unpack that file again; another release of the corpus may differ",
        )
    if strict and (twice := [name for name in names if name and names.count(name) > 1]):
        raise DataError(
            f'{path} has two columns "{twice[0]}"', fix="give every column a name of its own"
        )
    for number, cells in enumerate(rows, start=1):
        if strict and any(cells[len(names) :]):
            raise DataError(
                f"{path}: row {number} has {len(cells)} cells, and the table {len(names)} columns",
                fix=f'put cells that hold "{delimiter}" into quotation marks',
            )
        yield dict(zip_longest(names, cells[: len(names)], fillvalue=""))


def read_cells(
    path: Path, *, delimiter: str = ",", quoted: bool = True, strict: bool = False
) -> Iterator[list[str]]:
    """Yield the stripped cells of every row that has any; arguments as for `read_rows`.

    Raises:
        DataError: not UTF-8, or not a table.
    """
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            if named := _SEPARATOR.fullmatch(file.readline()):
                delimiter = named[1]
            else:
                file.seek(0)
            for cells in csv.reader(
                file, delimiter=delimiter, quoting=quoting, skipinitialspace=True, strict=strict
            ):
                if cells:
                    yield [cell.strip() for cell in cells]
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not UTF-8", fix="unpack that file again, or save it as UTF-8"
        ) from error
    except csv.Error as error:
        raise DataError(
            f"{path} is not a table: {error}", fix="unpack that file again, or correct its quotes"
        ) from error


def read_records(path: Path, *keys: str) -> Iterator[dict[str, str]]:
    """Yield the lines of a JSONL file as rows of a table; values that are not text become empty.

    Raises:
        DataError: a line is not a JSON object, or the first one lacks a key.
    """
    for number, record in enumerate(read_jsonl(path)):
        if number == 0 and (missing := [key for key in keys if key not in record]):
            raise DataError(
                f'{path} has no key "{missing[0]}"',
                fix="unpack that file again; another release of the corpus may differ",
            )
        texts = {key: value for key, value in record.items() if isinstance(value, str)}
        yield dict.fromkeys(keys, "") | texts


def load_json(path: Path) -> Any:
    """Read an existing JSON file.

    Raises:
        DataError: it is not JSON.
    """
    try:
        return json.loads(path.read_bytes())
    except ValueError as error:
        raise DataError(f"{path} is not JSON: {error}", fix="fetch that file again") from error


def read_dataset(name: str, split: str, audio: str, root: Path) -> list[Row]:
    """Read a Hugging Face data set; sounds inside it are stored below the root, once.

    Args:
        name: a folder written by `save_to_disk`, or an id on the Hub.
        split: split to read.
        audio: column with the recordings: paths or sounds.
        root: sounds are stored in `root/recordings`, and the column becomes their path.

    Raises:
        DataError: there is no such data set, split or column.
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
    """Write a sound embedded in a row to a file named by its content; return its path."""
    if not isinstance(sound, Mapping):
        return sound
    if sound.get("bytes") is None:
        return sound.get("path")
    suffix = Path(sound.get("path") or "").suffix
    return keep(root, f"{folder.strip('/').replace('/', '--')}/", suffix, sound["bytes"])
