"""Which items two systems have both answered, and why the others are left out.

Items are the same if their ids are, and question, choices and right answer as well. VoiceBench and
Speech-IFEval have no ids: theirs count the rows of a file, so that the content tells items apart.
A right answer that only one of the two files holds is that of both.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from desta.errors import DataError
from desta.evaluation.base import Result
from desta.evaluation.benchmarks.table import find_benchmark, rescore
from desta.evaluation.items import Item

ONLY_FIRST = "only A answers it"
ONLY_SECOND = "only B answers it"
NEITHER = "neither A nor B answers it"
NOT_ASKED = "it is not among the questions of --data"
_NUMBERED = ("voicebench", "speech_ifeval")

Key = tuple[object, ...]
_T = TypeVar("_T", Result, Item)


@dataclass(frozen=True, kw_only=True)
class Contender:
    """What one system answered to a benchmark."""

    name: str
    benchmark: str
    version: str
    results: Sequence[Result]


@dataclass(frozen=True, kw_only=True)
class Pair:
    """The scores of two systems for the same item."""

    groups: Mapping[str, str]
    values: Mapping[str, tuple[float, float] | None]
    """By reading; None where one of the two has no score."""
    weights: Mapping[str, float]
    """By reading."""


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """Items that are not compared, for one reason."""

    reason: str
    count: int
    examples: tuple[str, ...]
    """All of them, each with what differs."""


def pair(
    first: Contender, second: Contender, questions: Sequence[Item] = ()
) -> tuple[list[Pair], tuple[LeftOut, ...]]:
    """Return the items that both systems answered, in the order of the first, and the others.

    Args:
        first: A.
        second: B, on the same benchmark.
        questions: what both should have answered, with its right answers; empty: what both did.

    Raises:
        DataError: one of the two answers an item twice.
    """
    sides = [_by_key(first), _by_key(second)]
    asked = _keyed(first.benchmark, questions) if questions else None
    left = _LeftOut()
    pairs = []
    for key in dict.fromkeys([*(asked or ()), *sides[0], *sides[1]]):
        one, other = sides[0].get(key), sides[1].get(key)
        item = asked.get(key) if asked is not None else None
        any_of = one or other or item
        assert any_of is not None
        if asked is not None and item is None:
            left.add(NOT_ASKED, any_of.id)
        elif one is None or other is None:
            left.add(ONLY_FIRST if one else ONLY_SECOND if other else NEITHER, any_of.id)
        elif difference := _difference([each for each in (one, other, item) if each]):
            reason, told = difference
            left.add(reason, f"{any_of.id} ({told})")
        else:
            target = next((each.target for each in (one, other, item) if each and each.target), "")
            pairs.append(_pair(*(_with_target(first.benchmark, r, target) for r in (one, other))))
    return pairs, left.rows()


class _LeftOut:
    """Counts items by the reason for which they are left out."""

    def __init__(self) -> None:
        self._examples: dict[str, list[str]] = {}

    def add(self, reason: str, example: str) -> None:
        self._examples.setdefault(reason, []).append(example)

    def rows(self) -> tuple[LeftOut, ...]:
        return tuple(
            LeftOut(reason=reason, count=len(found), examples=tuple(found))
            for reason, found in self._examples.items()
        )


def _by_key(contender: Contender) -> dict[Key, Result]:
    counts = Counter(result.id for result in contender.results)
    if twice := [id for id, count in counts.items() if count > 1]:
        raise DataError(
            f"{contender.name} answers {len(twice)} items more than once, for example {twice[0]!r}",
            fix="name one system, and keep one answer of it to every item",
        )
    return _keyed(contender.benchmark, [r for r in contender.results if r.skipped is None])


def _keyed(benchmark: str, asked: Iterable[_T]) -> dict[Key, _T]:
    """Return items by what tells them apart; of equal ones also by their number among those."""
    if benchmark not in _NUMBERED:
        return {(one.id,): one for one in asked}
    seen: Counter[Key] = Counter()
    found = {}
    for one in asked:
        part = one.id.rpartition("/")[0]
        key: Key = (part, one.record.get("audio_filepath"), _words(one.question))
        found[*key, seen[key]] = one
        seen[key] += 1
    return found


def _difference(asked: Sequence[Any]) -> tuple[str, str] | None:
    """Return what differs between forms of an item, and how; None if it is the same item."""
    for what, values in (
        ("the question differs", [_words(one.question) for one in asked]),
        ("the right answer differs", [one.target.strip() for one in asked if one.target.strip()]),
        ("the choices differ", [" | ".join(sorted(map(_words, one.choices))) for one in asked]),
    ):
        unequal = next((value for value in values if value != values[0]), None)
        if unequal is not None:
            return what, f"{_short(values[0])!r} and {_short(unequal)!r}"
    return None


def _with_target(benchmark: str, result: Result, target: str) -> Result:
    """Return a result scored by a right answer that its own file lacks."""
    if result.target or not target:
        return result
    known = rescore(find_benchmark(benchmark), replace(result, target=target))
    values = {
        name: v if v is not None else known.values.get(name) for name, v in result.values.items()
    }
    return replace(result, target=target, values=values)


def _pair(one: Result, other: Result) -> Pair:
    readings = dict.fromkeys([*one.values, *other.values])
    return Pair(
        groups={**other.groups, **one.groups},
        values={reading: _both(one, other, reading) for reading in readings},
        weights={r: (one.score.weight_of(r) + other.score.weight_of(r)) / 2 for r in readings},
    )


def _both(one: Result, other: Result, reading: str) -> tuple[float, float] | None:
    values = one.values.get(reading), other.values.get(reading)
    return None if values[0] is None or values[1] is None else (values[0], values[1])


def _words(text: str) -> str:
    return " ".join(text.split())


def _short(text: str, most: int = 60) -> str:
    return text if len(text) <= most else f"{text[:most]}..."
