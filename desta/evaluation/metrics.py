"""Metrics with their standard errors, and the choice that an answer names."""

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

NONE = "none"
"""Column of the confusion matrix: no class was named, or several."""
TOTAL = "total"
"""Dimension of the cells that hold all items."""
NOT_OFFERED = "the right answer is not among the choices"


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A score, in [0, 1] unless said otherwise, and its standard error."""

    value: float
    standard_error: float

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object; six digits, so that the bytes do not depend on the machine."""
        return {"value": round(self.value, 6), "standard_error": round(self.standard_error, 6)}


@dataclass(frozen=True, kw_only=True)
class Figure(Estimate):
    """An estimate that is reported, and what it rests on."""

    metric: str
    """By which answers are scored; of a benchmark's metrics some are its authors' rules."""
    num_scored: int
    num_items: int
    """Those that have no score included."""

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object, every field written."""
        counts = {"num_scored": self.num_scored, "num_items": self.num_items}
        return {**super().to_json(), "metric": self.metric, **counts}


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One metric, averaged over the items of a group."""

    metric: str
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

    headline: Mapping[str, Estimate]
    """By the names that the authors give them, in their units; one that is no `Figure` is named
    after its metric, and rests on all items."""
    cells: tuple[Cell, ...]
    remarks: tuple[Mapping[str, Any], ...]
    """`{reason, count, example}` of what was not scored, or not as asked."""

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object, every field written."""
        return {
            "headline": {
                name: (
                    e if isinstance(e, Figure) else figure(e, [find(self.cells, name)])
                ).to_json()
                for name, e in self.headline.items()
            },
            "cells": [cell.to_json() for cell in self.cells],
            "remarks": [dict(note) for note in self.remarks],
        }


def find(cells: Iterable[Cell], metric: str, dimension: str = TOTAL, group: str = TOTAL) -> Cell:
    """Return the one cell of a table; an empty one where it has none."""
    wanted = (metric, dimension, group)
    found = (cell for cell in cells if (cell.metric, cell.dimension, cell.group) == wanted)
    counts = {"num_scored": 0, "num_unscored": 0}
    empty = Cell(metric=metric, dimension=dimension, group=group, estimate=None, **counts)
    return next(found, empty)


def figure(estimate: Estimate, cells: Sequence[Cell]) -> Figure:
    """Return an estimate as a figure that rests on the items of cells, all of one metric."""
    num_scored = sum(cell.num_scored for cell in cells)
    return Figure(
        value=estimate.value,
        standard_error=estimate.standard_error,
        metric=cells[0].metric,
        num_scored=num_scored,
        num_items=num_scored + sum(cell.num_unscored for cell in cells),
    )


def confusion_matrix(
    targets: Sequence[str], named: Sequence[str | None], classes: Sequence[str]
) -> NDArray[np.int64]:
    """Count which class was named where which was right.

    Args:
        targets: the right class of each answer.
        named: the class that each answer names; None where it names none, or several.
        classes: all of them, without repetition; the order of rows and columns.

    Returns:
        Counts, (K, K + 1): rows are targets, columns the named classes, the last one `NONE`.

    Raises:
        KeyError: a target or a named class is not among `classes`.
    """
    column: dict[str | None, int] = {name: index for index, name in enumerate(classes)}
    column[None] = len(classes)
    counts = np.zeros((len(classes), len(classes) + 1), dtype=np.int64)
    for target, name in zip(targets, named, strict=True):
        counts[column[target], column[name]] += 1
    return counts


def accuracy(confusion_KC: NDArray[np.int64]) -> Estimate:
    """Return the share p of right answers among n, with standard error sqrt(p (1 - p) / n).

    Args:
        confusion_KC: counts as `confusion_matrix` gives them, at least one of them not zero.
    """
    num_answers = int(confusion_KC.sum())
    share = float(confusion_KC.trace()) / num_answers
    return Estimate(value=share, standard_error=float(np.sqrt(share * (1 - share) / num_answers)))


def balanced_accuracy(confusion_KC: NDArray[np.int64]) -> Estimate:
    """Return the mean recall of the K classes that occur as targets.

    With recall r_k measured on n_k answers, the value is sum(r_k) / K and its standard error
    sqrt(sum(r_k (1 - r_k) / n_k)) / K: the classes are independent binomials. A class whose
    answers are all right, or all wrong, adds no error, so few answers a class understate it.

    Args:
        confusion_KC: counts as `confusion_matrix` gives them, at least one of them not zero.
    """
    totals_K = confusion_KC.sum(axis=1)
    occurs_K = totals_K > 0
    totals = totals_K[occurs_K]
    recalls = confusion_KC.diagonal()[occurs_K] / totals
    error = np.sqrt((recalls * (1 - recalls) / totals).sum()) / len(recalls)
    return Estimate(value=float(recalls.mean()), standard_error=float(error))


def ratio(parts: Sequence[float], wholes: Sequence[float]) -> Estimate:
    """Return R = sum(parts) / sum(wholes) over n independent items, as for errors per word.

    The standard error is that of a ratio of two sums, sqrt(sum((part - R whole)^2)) / sum(wholes):
    words of one item, or replies about it, are not taken to be independent.

    Args:
        parts: what is counted in each item.
        wholes: out of how much; their sum is not zero.
    """
    parts_N, wholes_N = np.asarray(parts, np.float64), np.asarray(wholes, np.float64)
    total = float(wholes_N.sum())
    value = float(parts_N.sum()) / total
    error = float(np.sqrt(((parts_N - value * wholes_N) ** 2).sum())) / total
    return Estimate(value=value, standard_error=error)


def mean(values: Sequence[float]) -> Estimate:
    """Return the mean of the scores of n independent items, at least one.

    Of scores that are 0 or 1 the standard error is sqrt(p (1 - p) / n).
    """
    return ratio(values, [1.0] * len(values))


def average(estimates: Sequence[Estimate]) -> Estimate:
    """Return the plain mean of independent estimates, at least one, each counting the same."""
    variance = sum(estimate.standard_error**2 for estimate in estimates)
    return Estimate(
        value=sum(estimate.value for estimate in estimates) / len(estimates),
        standard_error=float(np.sqrt(variance)) / len(estimates),
    )


def named_choices(
    answer: str, choices: Sequence[str], synonyms: Mapping[str, Sequence[str]] | None = None
) -> set[str]:
    """Return the choices whose words the answer holds one after another.

    Case and punctuation do not count. A longer choice hides the shorter ones inside it.

    Args:
        answer: what was said.
        choices: the closed set.
        synonyms: words that count as naming a choice, beside the choice itself.

    >>> named_choices("It is a bass drum.", ["Drum", "Bass drum"])
    {'Bass drum'}
    """
    words = _words(answer)
    spellings = sorted(
        (
            (_words(text), choice)
            for choice in choices
            for text in (choice, *(synonyms or {}).get(choice, ()))
        ),
        key=lambda spelling: -len(spelling[0]),
    )
    named = set()
    for spelling, choice in spellings:
        for start in range(len(words) if spelling else 0):
            if words[start : start + len(spelling)] == spelling:
                named.add(choice)
                words[start : start + len(spelling)] = [""] * len(spelling)  # not to be read again
    return named


def check_offered(target: str, choices: Sequence[str]) -> str | None:
    """Return `NOT_OFFERED` where a right answer is known and is none of the choices.

    Case, punctuation and the order of words do not count.

    >>> check_offered("a dog", ["cat", "cow"])
    'the right answer is not among the choices'
    """
    if not target or not choices:
        return None
    right = set(_words(target)) or target.strip()
    return None if any(right == (set(_words(c)) or c.strip()) for c in choices) else NOT_OFFERED


def _words(text: str) -> list[str]:
    kept = (c if c.isalnum() or unicodedata.category(c)[0] == "M" else " " for c in text.casefold())
    return "".join(kept).split()  # marks are vowels in many scripts
