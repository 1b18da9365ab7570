"""Custom corpora: a table or a Hugging Face data set, mapped by a recipe."""

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from desta.config import suggest
from desta.errors import ConfigError, DataError
from desta.isolation import error_of
from desta.paths import check_local
from desta.records import DOMAINS, Domain, Segment, Split
from desta.sources.base import Metadata, Skipped, Source
from desta.sources.files import inside
from desta.sources.glossary import JOINED
from desta.sources.languages import language_name
from desta.sources.tables import Row, read_dataset, read_table

_NAMED = 5  # values listed in an error
_SPLITS: Mapping[str, Split] = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Names of the columns; null if there is no such column."""

    audio: str = "audio"
    """Path relative to the root, or the sound itself in a Hugging Face data set."""
    text: str | None = None
    """Transcription."""
    start: str | None = None
    """Start of the row's segment, in seconds from the start of the recording."""
    end: str | None = None
    speaker: str | None = None
    group: str | None = None
    """Speaker, instrument or session: no two splits share one."""
    language: str | None = None
    """ISO 639-1 code or name."""
    domain: str | None = None
    """speech, sound or music."""
    split: str | None = None
    """train, validation (dev, valid, val) or test; overrides the split by `desta describe`."""


@dataclass(frozen=True, kw_only=True)
class RowMap:
    """Mapping from the columns of a row to metadata."""

    columns: Columns = field(default_factory=Columns)
    attributes: Mapping[str, str] = field(default_factory=dict)
    """Attribute -> column, in the order of the seed description."""
    values: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Attribute -> value in the table -> value in the description; a row with any other value is
    left out and counted."""
    constants: Mapping[str, str] = field(default_factory=dict)
    """Attribute -> value for the whole corpus."""
    domain: Domain = "speech"
    """Domain of rows that do not state one."""

    def __post_init__(self) -> None:
        if both := self.attributes.keys() & self.constants.keys():
            raise ConfigError(
                f"{', '.join(sorted(both))}: both an attribute and a constant", fix="drop one"
            )
        for name in self.values:
            if name not in self.attributes:
                raise ConfigError(
                    f'values names "{name}", which is not an attribute',
                    fix=suggest(name, list(self.attributes)),
                )


@dataclass(frozen=True, kw_only=True)
class CustomRecipe(RowMap):
    """Recipe of a custom corpus; either `table` or `dataset` is given.

    Rows about the same recording are segments of one clip, in the order of the rows.
    """

    name: str
    """Prefix of the id of every clip."""
    table: str | None = None
    """CSV, TSV or JSONL file, relative to the root."""
    dataset: str | None = None
    """Hugging Face data set: a folder on disk or an id on the Hub."""
    dataset_split: str = "train"
    """Split of the data set to read."""
    licence: str = "not stated"

    def __post_init__(self) -> None:
        check_name(self.name)
        if (self.table is None) == (self.dataset is None):
            raise ConfigError(
                "a corpus is either a table or a dataset",
                fix='give "table: metadata.csv" or "dataset: owner/name"',
            )
        if self.table and Path(self.table).suffix.lower() not in (".csv", ".tsv", ".jsonl"):
            raise ConfigError(
                f'table = "{self.table}" is not a table that can be read',
                fix="give a .csv, .tsv or .jsonl file",
            )
        super().__post_init__()


def check_name(name: str) -> None:
    """Refuse a corpus name that is not a single word."""
    if not re.fullmatch(r"[\w.-]+", name):
        raise ConfigError(f'name = "{name}" is not one word', fix="use letters, digits, . _ and -")


def custom_source(recipe: CustomRecipe) -> Source:
    """Create the source of a recipe."""

    def read(root: Path) -> Iterator[Metadata | Skipped]:
        yield from _read(recipe, root)

    return Source(
        name=recipe.name,
        title=f"{recipe.name}, a corpus of your own",
        domains=DOMAINS if recipe.columns.domain else (recipe.domain,),
        licence=recipe.licence,
        obtain="yours",
        layout="confirmed",
        cited="the recipe",
        read=read,
    )


class _BadRow(Exception):
    """A row that cannot be used; its text is the reason."""


def _read(recipe: CustomRecipe, root: Path) -> Iterator[Metadata | Skipped]:
    columns = recipe.columns
    if recipe.table is not None:
        rows = read_table(root / recipe.table)
    else:
        rows = read_dataset(str(recipe.dataset), recipe.dataset_split, columns.audio, root)
    _check_columns(recipe, rows)
    _check_values(recipe, rows)
    yield from group_rows(recipe, ((f"row-{n}", row) for n, row in enumerate(rows, start=1)), root)


def group_rows(
    recipe: RowMap, rows: Iterable[tuple[str, Row]], root: Path
) -> Iterator[Metadata | Skipped]:
    """Yield the metadata of every recording, its segments in the order of the rows.

    Args:
        recipe: mapping of the columns.
        rows: rows with the ids under which they are counted if they name no recording.
        root: folder of the corpus.
    """
    recordings: dict[str, list[Row]] = {}
    for id, row in rows:
        try:
            recordings.setdefault(_inside(row.get(recipe.columns.audio), root), []).append(row)
        except _BadRow as error:
            yield Skipped(id=id, reason=str(error), broken=True)
    for audio, group in recordings.items():
        try:
            yield _metadata(recipe, audio, group)
        except _BadRow as error:
            yield Skipped(id=audio, reason=str(error), broken=True)
        except Exception as error:
            yield Skipped(id=audio, reason=error_of(error, audio).reason, broken=True)


def _check_columns(recipe: CustomRecipe, rows: Sequence[Row]) -> None:
    """Refuse a recipe with columns that no row has."""
    known = {column for row in rows for column in row}
    named = [getattr(recipe.columns, f.name) for f in fields(recipe.columns)]
    for column in (*filter(None, named), *recipe.attributes.values()):
        if rows and column not in known:
            raise DataError(
                f'{recipe.table or recipe.dataset} has no column "{column}"',
                fix=suggest(column, sorted(known)),
            )


def _check_values(recipe: CustomRecipe, rows: Sequence[Row]) -> None:
    """Refuse a mapping of values of which none occurs in the table."""
    for name, words in recipe.values.items():
        found = _distinct(rows, recipe.attributes[name])
        if found and not any(_entry(value, words) for value in found):
            raise DataError(
                f"{recipe.table or recipe.dataset} has none of the words in values.{name}: column "
                f'"{recipe.attributes[name]}" holds {", ".join(found[:_NAMED])}',
                fix="write these words on the left side",
            )


def _metadata(recipe: RowMap, audio: str, rows: Sequence[Row]) -> Metadata:
    columns = recipe.columns
    if len(rows) > 1 and columns.start is None:
        raise _BadRow("several rows name one recording, and no column says when each starts")
    domain = _only(rows, columns.domain) or recipe.domain
    if domain not in DOMAINS:
        raise _BadRow(f"its domain is not one of {', '.join(DOMAINS)}")
    split = _only(rows, columns.split)
    if split is not None and split.lower() not in _SPLITS:
        raise _BadRow("its split is not train, validation or test")
    segments = tuple(_segment(columns, row) for row in rows)
    if domain != "speech":
        segments = tuple(segment for segment in segments if segment.text)
    return Metadata(
        id=audio,
        audio=audio,
        domain=domain,
        segments=segments,
        attributes=_attributes(recipe, rows),
        group=_only(rows, columns.group),
        split=_SPLITS[split.lower()] if split else None,
    )


def _segment(columns: Columns, row: Row) -> Segment:
    start, end = _seconds(row, columns.start, 0.0), _seconds(row, columns.end, math.inf)
    if not 0 <= start < end:
        raise _BadRow("its start is not before its end")
    return Segment(
        start=start, end=end, speaker=_cell(row, columns.speaker), text=_cell(row, columns.text)
    )


def _attributes(recipe: RowMap, rows: Sequence[Row]) -> dict[str, str]:
    """Return the attributes of a recording; different values are joined by a slash."""
    values = {
        name: JOINED.join(_translated(_distinct(rows, column), recipe.values.get(name)))
        for name, column in recipe.attributes.items()
    }
    codes = _distinct(rows, recipe.columns.language)  # en and English are the same language
    languages = list(dict.fromkeys(language_name(code) for code in codes))
    values = {"Language": JOINED.join(languages), **values} if languages else values
    return values | dict(recipe.constants)


def _translated(found: Sequence[str], words: Mapping[str, str] | None) -> Sequence[str]:
    if words is None:
        return found
    entries = [_entry(value, words) for value in found]
    if not all(entries):
        raise _BadRow("a value has no entry in `values`")
    return list(dict.fromkeys(words[entry] for entry in filter(None, entries)))


def _entry(value: str, words: Mapping[str, str]) -> str | None:
    """Return the entry of a value; booleans may be in the form of JSON or Python."""
    spelt = (value, value.capitalize()) if value in ("true", "false") else (value,)
    return next((word for word in spelt if word in words), None)


def _inside(value: Any, root: Path) -> str:
    """Return the path of a recording relative to the root, and refuse one outside of it."""
    text = str(value or "").strip()
    if not text:
        raise _BadRow("no recording is named")
    try:
        check_local(text)
    except DataError as error:
        raise _BadRow(error.reason) from None
    path = inside(root, text)
    if path is None:
        raise _BadRow("the recording lies outside the root")
    return path


def _cell(row: Row, column: str | None) -> str | None:
    value = row.get(column) if column else None
    if isinstance(value, bool):
        return str(value).lower()  # the form of JSON and recipes
    return None if value is None or value != value else " ".join(str(value).split()) or None


def _seconds(row: Row, column: str | None, default: float) -> float:
    text = _cell(row, column)
    try:
        return default if text is None else float(text.replace(",", "."))
    except ValueError:
        raise _BadRow("its start or end is not a number of seconds") from None


def _distinct(rows: Sequence[Row], column: str | None) -> list[str]:
    values = (_cell(row, column) for row in rows)
    return list(dict.fromkeys(value for value in values if value))


def _only(rows: Sequence[Row], column: str | None) -> str | None:
    values = _distinct(rows, column)
    if len(values) > 1:
        raise _BadRow(f'its rows differ in "{column}"')
    return values[0] if values else None
