"""Files of a corpus: found where it unpacks, read, and kept inside its root."""

import csv
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from desta.errors import DataError

_OWN = "or describe a corpus of your own with `desta describe custom`"


def require(path: Path, *, source: str, unpack: str) -> Path:
    """Return a file or folder that the corpus must have.

    Args:
        path: where it lies once the corpus is unpacked.
        source: name of the corpus.
        unpack: what brings it, the object of "unpack": `doc.tar.gz into the root`.

    Raises:
        DataError: it is not there.
    """
    if not path.exists():
        raise DataError(f"{source}: {path} is missing", fix=f"unpack {unpack}, {_OWN}")
    return path


def require_any(*paths: Path, source: str, unpack: str) -> Path:
    """Return the first of several that is there; the error names the first.

    Raises:
        DataError: none is there.
    """
    found = next((path for path in paths if path.exists()), paths[0])
    return require(found, source=source, unpack=unpack)


def unpacked(root: Path, name: str) -> Path:
    """Return the folder of that name below the root, or the root where it is that folder itself."""
    return root / name if (root / name).is_dir() else root


def read_words(path: Path) -> str | None:
    """Return the text of a file as one line; None where it is missing or empty."""
    if not path.is_file():
        return None
    return " ".join(path.read_text(encoding="utf-8-sig", errors="replace").split()) or None


def read_fields(path: Path, delimiter: str | None = None) -> Iterator[list[str]]:
    """Yield the stripped fields of every line that has any; quotes mean nothing.

    Args:
        path: a list such as those of Kaldi.
        delimiter: any run of white space where it is None.
    """
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        for line in file:
            if line.strip():
                yield [field.strip() for field in line.rstrip("\r\n").split(delimiter)]


def read_pairs(path: Path) -> dict[str, str]:
    """Return first word -> rest of the line, as in the `text` and `wav.scp` of Kaldi."""
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        halves = (line.strip().partition(" ") for line in file if line.strip())
        return {key: " ".join(rest.split()) for key, _, rest in halves}


def read_csv(path: Path, delimiter: str = ",") -> Iterator[dict[str, str]]:
    """Yield the rows of a table whose first line names its columns; what is missing is empty."""
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        for row in csv.DictReader(file, delimiter=delimiter, restval=""):
            yield {name: " ".join(row[name].split()) for name in row if name}


def read_json(path: Path) -> Any:
    """Return what a JSON file holds.

    Raises:
        DataError: it is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:  # no UTF-8, or no JSON
        raise DataError(f"{path} is not JSON: {error}", fix="unpack or write it again") from error


def inside(root: Path, text: str) -> str | None:
    """Return a path that a corpus names, relative to the root; None where it leaves the root."""
    base = Path(os.path.abspath(root))  # noqa: PTH100 (removes "..", follows no links)
    path = Path(os.path.abspath(base / text))  # noqa: PTH100
    return path.relative_to(base).as_posix() if path.is_relative_to(base) else None
