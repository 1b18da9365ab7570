"""Files as others publish them, of questions and of results: JSON or JSON Lines, gzipped or not."""

import ast
import contextlib
import gzip
import json
import reprlib
import zlib
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from desta.errors import DataError
from desta.evaluation.base import Item, Result, Score
from desta.paths import check_local

NOT_ANSWERED = "the results file does not answer it"
_KINDS = {
    bool: "true or false",
    int: "a number",
    float: "a number",
    list: "a list",
    dict: "an object",
}


def read_json_values(path: Path) -> Any:
    """Read a results file as others publish it: JSON or JSONL, gzipped or not.

    Returns:
        The JSON value; of several lines of JSON, the list of their values.

    Raises:
        DataError: the file is missing, cut, or not JSON.
    """
    check_local(path)
    if not path.is_file():
        raise DataError(f"{path} is not a file", fix="give the path of a results file")
    try:
        data = path.read_bytes()
        text = (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode("utf-8-sig")
    except (EOFError, OSError, zlib.error, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not whole: {error}", fix="fetch that file again") from error
    if not text.strip():
        raise DataError(f"{path} is empty", fix="fetch that file again")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        lines = [(n, _parse(line)) for n, line in enumerate(text.split("\n"), 1) if line.strip()]
        values = [value for _, value in lines]
        where, wrong = next(
            ((f"line {n} of {path}", v) for n, v in lines if isinstance(v, Exception)), ("", None)
        )
        if wrong is None:
            return values
        if not any(isinstance(value, dict) for value in values):  # one value over several lines
            where, wrong = str(path), error
        raise DataError(f"{where} is not JSON: {wrong}", fix="mend or fetch it again") from error


def read_json_rows(path: Path) -> list[dict[str, Any]]:
    """Read the rows of a results file: a JSON list, or JSONL, of which one line may be all.

    Raises:
        DataError: the file is missing, cut, or not rows of JSON objects.
    """
    value = read_json_values(path)
    return rows([value] if isinstance(value, dict) else value, str(path))


def rows(value: Any, where: str) -> list[dict[str, Any]]:
    """Return the rows of a results file.

    Raises:
        DataError: it is not a list of JSON objects, or an empty one.
    """
    if not isinstance(value, list) or not value or not all(isinstance(row, dict) for row in value):
        raise DataError(
            f"{where} is not a list of JSON objects",
            fix="give a results file in the benchmark's published form",
        )
    return value


def field_of(record: Any, key: str, kind: type, where: str) -> Any:
    """Return a value of a published record.

    Raises:
        DataError: the record is no JSON object, or the value is missing or of another type.
    """
    value = record.get(key) if isinstance(record, dict) else None
    if not isinstance(value, kind):
        raise DataError(
            f"{where} has no {key!r} that is {kind.__name__}",
            fix="give the benchmark's own file; another version of it may differ",
        )
    return value


def text_of(record: Mapping[str, Any], *keys: str) -> str | None:
    """Return the first text under some keys of a published record; None where there is none."""
    return next((value for key in keys if isinstance(value := record.get(key), str)), None)


def texts_of(record: Mapping[str, Any], key: str, where: str) -> tuple[str, ...]:
    """Return a list of texts of a published record, also where it is written as one text.

    Tables have no lists: `["a", "b"]` stands in a cell, as JSON or as Python writes it.

    Raises:
        DataError: it is missing, empty, or no list of texts.
    """
    value = record.get(key)
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            with contextlib.suppress(ValueError, SyntaxError, RecursionError, MemoryError):
                value = ast.literal_eval(value)
    fix = 'write it as ["one", "two"]; another version of the file may differ'
    if not isinstance(value, list):
        raise DataError(
            f"{where} has no {key!r} that is list, or JSON of one, but "
            f"{reprlib.repr(record.get(key))}",
            fix=fix,
        )
    if not value or not all(isinstance(each, str) for each in value):
        raise DataError(f"{where} has {key} that are no texts: {reprlib.repr(value)}", fix=fix)
    return tuple(value)


def check_unique(ids: Iterable[str], where: str) -> None:
    """Raise DataError, which names the rows, if an id occurs twice."""
    known = list(ids)
    for id, count in Counter(known).items():
        if count > 1:
            places = [number for number, other in enumerate(known, start=1) if other == id]
            raise DataError(
                f"{where}: id {id!r} occurs {count} times, first in rows {places[0]} and "
                f"{places[1]}",
                fix="keep one row of every id; two runs may have been written into one file",
            )


def why_no_text(record: Mapping[str, Any], *keys: str) -> str | None:
    """Return what a published record has in place of a text under some keys; None: nothing.

    >>> why_no_text({"pred": ["dog"]}, "pred")
    'its answer, `pred`, is a list, not a text'
    """
    for key in keys:
        value = record.get(key)
        kind = _KINDS.get(type(value))
        if kind and value == value:  # NaN is what tables have where nothing is
            return f"its answer, `{key}`, is {kind}, not a text"
    return None


def answered(
    item: Item,
    output: str | None,
    score: Callable[[Item, str, Sequence[str]], Score],
    *,
    replies: Sequence[str] = (),
    instead: str | None = None,
) -> Result:
    """Return the result of a published file for one item.

    Args:
        item: the question.
        output: the answer; None where the file does not have it.
        score: (item, output, replies) -> score.
        replies: of a judge.
        instead: why there is no output, where the file has something else in its place.
    """
    if output is None:
        skipped = instead or NOT_ANSWERED
        return Result(item=item, output=None, skipped=skipped, replies=tuple(replies))
    return Result(
        item=item, score=score(item, output, replies), output=output, replies=tuple(replies)
    )


def read_each(
    paths: Sequence[Path],
    read: Callable[[Path], list[Result]],
    names: Callable[[Result, int], Iterable[tuple[Hashable, bool]]] = lambda result, row: (),
) -> list[Result]:
    """Read results files one after another, in which every item is answered once.

    Args:
        paths: the files.
        read: reads one of them.
        names: (result, row) -> other names of the item, which its id may not tell, each with
            whether it is sure: two results of unsure names, or of an unsure and a sure one, are
            of the same item; two of sure names are not.

    Raises:
        DataError: an item is answered in two files, whose places are named.
    """
    found: list[Result] = []
    places: dict[Hashable, tuple[int, int, bool]] = {}
    for file, path in enumerate(paths):
        for row, result in enumerate(read(path)):
            found.append(result)
            for name, sure in [((result.id,), False), *names(result, row)]:
                other, other_row, other_sure = places.setdefault(name, (file, row, sure))
                if other != file and not (sure and other_sure):
                    raise DataError(
                        f"id {result.id!r} occurs 2 times, in {paths[other]} (row {other_row + 1}) "
                        f"and in {path} (row {row + 1})",
                        fix="give one file of each part, and one answer to every question",
                    )
    return found


def _parse(line: str) -> Any:
    """Return the value of a line, or what is wrong with it."""
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        return ValueError(f"{error.msg} at column {error.colno}")
    except (ValueError, RecursionError) as error:
        return error
