"""Pairing of two systems: the items that both answered, and why others are left out.

Items are the same if their ids are, and question, choices and right answer as well. Where ids only
count the rows of a file, the content tells items apart (`Benchmark.key`). A right answer that only
one of the two files holds is that of both.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from desta.errors import DataError
from desta.evaluation.base import Item, Result, Score
from desta.evaluation.benchmarks.table import find_benchmark

ONLY_FIRST = "only A answers it"
ONLY_SECOND = "only B answers it"
NEITHER = "neither A nor B answers it"
NOT_ASKED = "it is not among the questions of --data"

Key = tuple[object, ...]
T = TypeVar("T", Result, Item)


@dataclass(frozen=True, kw_only=True)
class Contender:
    """Answers of one system to a benchmark."""

    name: str
    benchmark: str
    version: str
    results: Sequence[Result]


@dataclass(frozen=True, kw_only=True)
class Pair:
    """The scores of two systems for the same item."""

    groups: Mapping[str, str]
    values: Mapping[str, tuple[float, float] | None]
    """By metric; None where one of the two has no score."""
    weights: Mapping[str, float]
    """By metric."""


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
    left: dict[str, list[str]] = {}
    pairs = []
    for key in dict.fromkeys([*(asked or ()), *sides[0], *sides[1]]):
        one, other = sides[0].get(key), sides[1].get(key)
        item = asked.get(key) if asked is not None else None
        forms = [each for each in (one and one.item, other and other.item, item) if each]
        if asked is not None and item is None:
            left.setdefault(NOT_ASKED, []).append(forms[0].id)
        elif one is None or other is None:
            reason = ONLY_FIRST if one else ONLY_SECOND if other else NEITHER
            left.setdefault(reason, []).append(forms[0].id)
        elif difference := _difference(forms):
            reason, told = difference
            left.setdefault(reason, []).append(f"{forms[0].id} ({told})")
        else:
            target = next((form.target for form in forms if form.target), "")
            pairs.append(_pair(*(_with_target(first.benchmark, r, target) for r in (one, other))))
    return pairs, tuple(
        LeftOut(reason=reason, count=len(found), examples=tuple(found))
        for reason, found in left.items()
    )


def _by_key(contender: Contender) -> dict[Key, Result]:
    counts = Counter(result.id for result in contender.results)
    if twice := [id for id, count in counts.items() if count > 1]:
        raise DataError(
            f"{contender.name} answers {len(twice)} items more than once, for example {twice[0]!r}",
            fix="name one system, and keep one answer of it to every item",
        )
    return _keyed(contender.benchmark, [r for r in contender.results if r.skipped is None])


def _keyed(benchmark: str, asked: Iterable[T]) -> dict[Key, T]:
    """Return items by what tells them apart; of equal ones also by their number among those."""
    key_of = find_benchmark(benchmark).key
    if key_of is None:
        return {(one.id,): one for one in asked}
    seen: Counter[Key] = Counter()
    found = {}
    for one in asked:
        key: Key = key_of(one.item if isinstance(one, Result) else one)
        found[*key, seen[key]] = one
        seen[key] += 1
    return found


def _difference(asked: Sequence[Item]) -> tuple[str, str] | None:
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
    if result.item.target or not target:
        return result
    known = replace(result, item=replace(result.item, target=target))
    found = find_benchmark(benchmark).rescore(known).score.values
    values = {
        name: value if value is not None else found.get(name)
        for name, value in result.score.values.items()
    }
    return replace(known, score=replace(result.score, values=values))


def _pair(one: Result, other: Result) -> Pair:
    a, b = one.score, other.score
    metrics = dict.fromkeys([*a.values, *b.values])
    return Pair(
        groups={**other.item.groups, **one.item.groups},
        values={metric: _both(a, b, metric) for metric in metrics},
        weights={r: (a.weight_of(r) + b.weight_of(r)) / 2 for r in metrics},
    )


def _both(one: Score, other: Score, metric: str) -> tuple[float, float] | None:
    values = one.values.get(metric), other.values.get(metric)
    return None if values[0] is None or values[1] is None else (values[0], values[1])


def _words(text: str) -> str:
    return " ".join(text.split())


def _short(text: str, most: int = 60) -> str:
    return text if len(text) <= most else f"{text[:most]}..."
