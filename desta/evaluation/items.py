"""The questions of published benchmarks, the scores of answers to them, and their report.

A benchmark is a file with three pure functions: `load_items` reads what its authors publish,
`score_item` scores one answer by their rules, `aggregate` turns scores into the figures that they
print. A score may hold several readings of one answer, for example with a prefix and without.
"""

import ast
import contextlib
import gzip
import json
import re
import reprlib
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

from desta.errors import ConfigError, DataError
from desta.evaluation.metrics import Estimate, Figure, ratio
from desta.paths import check_local
from desta.records import LOCATOR, NO_TRANSCRIPTION, AudioRef, Message

TOTAL = "total"
"""Dimension of the cells that hold all items."""


@dataclass(frozen=True, kw_only=True)
class Item:
    """One question of a published benchmark."""

    id: str
    """Unique in the benchmark."""
    messages: tuple[Message, ...]
    """The conversation to be answered, as the benchmark forms it."""
    question: str
    """The words of the last message without the clip, to be shown."""
    target: str
    """The right answer; empty where its authors keep it to themselves, or where there is none."""
    choices: tuple[str, ...] = ()
    """The closed set that the target is one of; empty for open questions."""
    groups: Mapping[str, str] = field(default_factory=dict)
    """Dimension -> group, for example `{"task": "sound", "difficulty": "easy"}`."""
    record: Mapping[str, Any] = field(default_factory=dict)
    """What else the scorer looks at, by its published names."""
    transcription: str = NO_TRANSCRIPTION
    """What is said in the clips, where the benchmark knows it; for baselines, the model is told
    only what `messages` hold."""
    described: tuple[Message, ...] = ()
    """The conversation in which what the benchmark knows of the clips stands in their place, for
    the baseline that reads it; empty where nothing is known."""

    @property
    def clips(self) -> tuple[AudioRef, ...]:
        """All clips of the conversation, in order."""
        return tuple(ref for message in self.messages for ref in message.audios)


@dataclass(frozen=True, kw_only=True)
class Score:
    """How right one answer is."""

    id: str
    groups: Mapping[str, str]
    extracted: str | None
    """What the answer was taken to say; None where nothing could be told."""
    values: Mapping[str, float | None]
    """Reading -> score; None where the answer cannot be scored that way, which is counted."""
    note: str | None = None
    """Why a value is missing or drawn: the same words for everything it befalls."""
    weight: float = 1.0
    """What the item counts in a mean: the replies of a judge that it rests on."""
    weights: Mapping[str, float] = field(default_factory=dict)
    """Reading -> what the item counts in its mean, where that is not `weight`."""

    def weight_of(self, reading: str) -> float:
        """Return what the item counts in the mean of a reading."""
        return self.weights.get(reading, self.weight)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One reading, averaged over the items of a group."""

    reading: str
    dimension: str
    group: str
    estimate: Estimate | None
    """None where no item of the group could be scored."""
    num_scored: int
    num_unscored: int

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object, every field written."""
        estimate = self.estimate.to_json() if self.estimate else None
        return {**self.__dict__, "estimate": estimate}


@dataclass(frozen=True, kw_only=True)
class Report:
    """All figures of a benchmark."""

    benchmark: str
    version: str
    """Of the questions, as far as the file tells."""
    figures: Mapping[str, Estimate]
    """By the names that the authors give them, in their units; one that is no `Figure` is named
    after its reading, and rests on all items."""
    cells: tuple[Cell, ...]
    notes: tuple[Mapping[str, Any], ...]
    """`{reason, count, example}` of what was not scored, or not as asked."""

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object, every field written."""
        return {
            "benchmark": self.benchmark,
            "version": self.version,
            "figures": {
                name: (
                    e if isinstance(e, Figure) else figure(e, [find(self.cells, name)])
                ).to_json()
                for name, e in self.figures.items()
            },
            "cells": [cell.to_json() for cell in self.cells],
            "notes": [dict(note) for note in self.notes],
        }


def ask(system: str, prompt: str, audios: Sequence[Path | str]) -> tuple[Message, ...]:
    """Return a conversation of a system prompt, where there is one, and a question about clips.

    Args:
        system: empty for none.
        prompt: holds one locator per clip.
        audios: paths of the clips; what is said in them is withheld.
    """
    heard = tuple(AudioRef(audio=str(audio), text=NO_TRANSCRIPTION) for audio in audios)
    turn = Message(role="user", content=prompt, audios=heard)
    return (Message(role="system", content=system), turn) if system else (turn,)


def plain(text: str) -> str:
    """Return text that asks for no clip, whatever its author wrote in it."""
    return text.replace(LOCATOR, "")


def missing_audio(items: Iterable[Item]) -> list[str]:
    """Return the ids of the items one of whose clips is not where it should be."""
    return [
        item.id
        for item in items
        if not all(Path(ref.audio).is_file() for m in item.messages for ref in m.audios)
    ]


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


def check_same(items: Iterable[Item], ids: Iterable[str], where: str) -> list[str]:
    """Compare a results file with the questions, and return the ids that it does not answer.

    Raises:
        DataError: it answers other questions.
    """
    known = [item.id for item in items]
    answered = list(ids)
    if strangers := set(answered).difference(known):
        raise DataError(
            f"{where} answers {len(strangers)} questions that are not in this version of the "
            f"benchmark, for example {min(strangers)!r}",
            fix="score it with the questions it was made from",
        )
    return sorted(set(known).difference(answered))


def tabulate(scores: Sequence[Score]) -> tuple[Cell, ...]:
    """Average every reading over all items and over each group of each dimension."""
    members: dict[tuple[str, str], list[Score]] = defaultdict(list)
    for score in scores:
        members[TOTAL, TOTAL].append(score)
        for dimension, group in score.groups.items():
            members[dimension, group].append(score)
    readings = list(dict.fromkeys(reading for score in scores for reading in score.values))
    return tuple(
        _cell(reading, dimension, group, these)
        for reading in readings
        for (dimension, group), these in members.items()
    )


def find(cells: Iterable[Cell], reading: str, dimension: str = TOTAL, group: str = TOTAL) -> Cell:
    """Return the one cell of a table; an empty one where it has none."""
    wanted = (reading, dimension, group)
    found = (cell for cell in cells if (cell.reading, cell.dimension, cell.group) == wanted)
    return next(found, _cell(reading, dimension, group, ()))


def figure(estimate: Estimate, cells: Sequence[Cell]) -> Figure:
    """Return an estimate as a figure that rests on the items of cells, all of one reading."""
    num_scored = sum(cell.num_scored for cell in cells)
    return Figure(
        value=estimate.value,
        standard_error=estimate.standard_error,
        reading=cells[0].reading,
        num_scored=num_scored,
        num_items=num_scored + sum(cell.num_unscored for cell in cells),
    )


def join_notes(*notes: str | None) -> str | None:
    """Return one note of all that there are; None where there is none."""
    return "; ".join(note for note in notes if note) or None


def count_notes(scores: Iterable[Score]) -> tuple[Mapping[str, Any], ...]:
    """Count the scores' notes, each with the id of its first."""
    table: dict[str, dict[str, Any]] = {}
    for score in scores:
        if score.note is not None:
            row = {"reason": score.note, "count": 0, "example": score.id}
            table.setdefault(score.note, row)["count"] += 1
    return tuple(table.values())


def read_published(path: Path) -> Any:
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


def read_published_rows(path: Path) -> list[dict[str, Any]]:
    """Read the rows of a results file: a JSON list, or JSONL, of which one line may be all.

    Raises:
        DataError: the file is missing, cut, or not rows of JSON objects.
    """
    value = read_published(path)
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


def fetch(repository: str, revision: str, patterns: Sequence[str]) -> Path:
    """Return the folder of a data set of the Hub, downloaded where it is not there yet.

    Args:
        repository: `owner/name`.
        revision: the full commit: names of branches move.
        patterns: which files, such as `bbh/*.parquet`.

    Raises:
        ConfigError: the revision is no commit.
        DataError: the Hub cannot be reached, or does not have it.
    """
    if not re.fullmatch(r"[0-9a-f]{40}", revision):
        raise ConfigError(
            f'revision "{revision}" of {repository} is not a commit',
            fix="give the 40 digits of a commit, so that the figures can be made again",
        )
    try:
        return Path(
            snapshot_download(
                repository, repo_type="dataset", revision=revision, allow_patterns=list(patterns)
            )
        )
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise DataError(
            f"{repository} at {revision} cannot be fetched: {error}",
            fix="connect to the Hub, or give the folder where it was downloaded",
        ) from error


def fill(template: str, values: Mapping[str, str]) -> str:
    """Put values for placeholders, all at once: a value that holds a placeholder stays as it is.

    >>> fill("[Q] [A]", {"[Q]": "[A]?", "[A]": "yes"})
    '[A]? yes'
    """
    names = "|".join(re.escape(name) for name in values)
    return re.sub(names, lambda match: values[match.group()], template)


def _cell(reading: str, dimension: str, group: str, members: Sequence[Score]) -> Cell:
    scored = [
        (value, score.weight_of(reading))
        for score in members
        if (value := score.values.get(reading)) is not None
    ]
    wholes = [weight for _, weight in scored]
    return Cell(
        reading=reading,
        dimension=dimension,
        group=group,
        estimate=ratio([v * w for v, w in scored], wholes) if sum(wholes) else None,
        num_scored=len(scored),
        num_unscored=len(members) - len(scored),
    )


def _parse(line: str) -> Any:
    """Return the value of a line, or what is wrong with it."""
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        return ValueError(f"{error.msg} at column {error.colno}")
    except (ValueError, RecursionError) as error:
        return error
