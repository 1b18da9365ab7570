"""The files of a corpus: listed in an order that does not change, and read row by row."""

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

from desta.errors import DataError
from desta.sources.base import find_folder


def list_files(root: Path, inside: str, pattern: str, *, source: str, bring: str) -> list[Path]:
    """Return the files of a folder of the corpus that fit a pattern, sorted.

    Args:
        root: folder of the corpus.
        inside: path below it; "." for the root itself.
        pattern: as `Path.glob` takes it. Hidden files (`._x.wav` of macOS archives) never fit.
        source: name of the corpus.
        bring: what to fetch or unpack where they are missing.

    Raises:
        DataError: the folder is missing or no file in it fits.
    """
    folder = find_folder(root, inside, source=source, bring=bring)
    paths = sorted(path for path in folder.glob(pattern) if not path.name.startswith("."))
    if not paths:
        raise DataError(
            f"{source}: {folder} holds no {pattern}",
            fix=f"{bring}, or describe a corpus of your own with `desta describe custom`",
        )
    return paths


def read_rows(
    path: Path, *columns: str, delimiter: str = ",", quoted: bool = True
) -> Iterator[dict[str, str]]:
    """Yield the rows of a table whose first line names the columns, without holding them all.

    Args:
        path: UTF-8 text that is there (`find_file`).
        columns: those that must be there.
        delimiter: between cells.
        quoted: a quotation mark opens a cell; False where it is an ordinary character.

    Raises:
        DataError: not UTF-8, not a table, or a column is missing.
    """
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            table = csv.DictReader(file, delimiter=delimiter, quoting=quoting, restval="")
            if missing := [name for name in columns if name not in (table.fieldnames or ())]:
                raise DataError(
                    f'{path} has no column "{missing[0]}"',
                    fix="unpack that file again; another release of the corpus may differ",
                )
            for row in table:
                yield {name: cell.strip() for name, cell in row.items() if isinstance(cell, str)}
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8", fix="unpack that file again") from error
    except csv.Error as error:
        raise DataError(f"{path} is not a table: {error}", fix="unpack that file again") from error


def stated(attributes: Mapping[str, str | None]) -> dict[str, str]:
    """Return the attributes that have a value, in their order."""
    return {name: value for name, value in attributes.items() if value}
