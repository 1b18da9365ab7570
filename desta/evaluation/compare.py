"""Is one system better than another on the same items, or was it luck?

Scores of the same item are subtracted, so that what makes an item hard for everybody cancels out.
The p-value is that of a sign-flip test: were both systems alike, each difference might as well have
been the other way round. Of right and wrong answers that is McNemar's test, which is counted
exactly; of other scores all signs are tried up to 16 differences, and drawn beyond that, with a
seed.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from desta.errors import DataError
from desta.evaluation.base import Item
from desta.evaluation.benchmarks.table import find_benchmark
from desta.evaluation.metrics import TOTAL, Estimate
from desta.evaluation.pairing import (
    NEITHER,
    ONLY_FIRST,
    ONLY_SECOND,
    Contender,
    LeftOut,
    Pair,
    pair,
)

MEAN_OF_GROUPS = "mean of groups"
"""Group whose difference is the plain mean of those of all groups of the dimension."""
NUM_FLIPS = 10_000
EXACT = "exact"
SIGN_FLIPS = f"{NUM_FLIPS:,} sign flips, seed 0"
_MOST_TRIED = 16  # 2 ** 16 signs are tried in milliseconds
_SAME = 1e-9  # of sums of floats that are the same but for rounding


@dataclass(frozen=True, kw_only=True)
class Difference:
    """The second system minus the first, on the items of a group that both have a score of."""

    metric: str
    dimension: str
    group: str
    num_pairs: int
    num_unscored: int
    """Items that one of the two has no score of."""
    num_better: int
    """Items on which the second scores higher."""
    num_worse: int
    first: float
    """Mean of the first system on these items, each counting its weight."""
    second: float
    difference: Estimate
    p_value: float
    """Two-sided; of this group alone: of twenty groups one is below 0.05 by luck."""
    method: str


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """All differences between two systems."""

    benchmark: str
    version: str
    first: str
    second: str
    num_items: int
    """Items that both answered."""
    num_first: int
    """Items that the first answered."""
    num_second: int
    left_out: tuple[LeftOut, ...]
    differences: tuple[Difference, ...]

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object, every field written."""
        return {
            **asdict(self),
            "differences": [
                {
                    **asdict(row),
                    "first": round(row.first, 6),
                    "second": round(row.second, 6),
                    "difference": row.difference.to_json(),
                    "p_value": float(f"{row.p_value:.6g}"),
                }
                for row in self.differences
            ],
        }


def compare(
    first: Contender,
    second: Contender,
    questions: Sequence[Item] = (),
    *,
    allow_missing: bool = False,
) -> Comparison:
    """Compare two systems on the items that both answered, by group, and by the mean of groups.

    Args:
        first: A.
        second: B; what it is better by is told.
        questions: what both should have answered, where that is known.
        allow_missing: compare what was answered, where not all `questions` were.

    Raises:
        DataError: they answered different benchmarks, no item is common or has a score of both, or
            `questions` are not answered.
    """
    if first.benchmark != second.benchmark:
        raise DataError(
            f"{first.name} answers benchmark {first.benchmark!r}, and {second.name} "
            f"{second.benchmark!r}",
            fix="compare answers to the same questions",
        )
    pairs, left_out = pair(first, second, questions)
    if not pairs:
        raise DataError(
            f"{first.name} and {second.name} have no item in common: {_told(left_out)}",
            fix="compare answers to the same questions, all files of a side together",
        )
    unanswered = [row for row in left_out if row.reason in (ONLY_FIRST, ONLY_SECOND, NEITHER)]
    if questions and unanswered and not allow_missing:
        raise DataError(
            f"not all {len(questions):,} questions are answered: {_told(unanswered)}",
            fix=f"--allow-missing compares the {len(pairs):,} that both answered",
        )
    found = tuple(differences(pairs, find_benchmark(first.benchmark).shares))
    if not found:
        raise DataError(
            f"no item has a score of both {first.name} and {second.name}",
            fix="score both first; where a judge decides, let it judge both",
        )
    return Comparison(
        benchmark=first.benchmark,
        version=" and ".join(dict.fromkeys((first.version, second.version))),
        first=first.name,
        second=second.name,
        num_items=len(pairs),
        num_first=_num_answered(first),
        num_second=_num_answered(second),
        left_out=left_out,
        differences=found,
    )


def sign_flip_test(differences_N: NDArray[np.float64]) -> tuple[float, str]:
    """Return the two-sided p-value of differences whose signs are as likely as not, and how.

    Args:
        differences_N: of each pair, times its weight.
    """
    sizes = np.abs(differences_N[differences_N != 0])
    if not len(sizes):
        return 1.0, EXACT
    observed = abs(float(differences_N.sum()))
    if np.allclose(sizes, sizes[0], rtol=_SAME, atol=0):
        return _binomial(int((differences_N > 0).sum()), len(sizes)), EXACT
    least = observed - _SAME * float(sizes.sum())
    if len(sizes) <= _MOST_TRIED:
        sums = np.zeros(1)
        for size in sizes:
            sums = np.concatenate([sums - size, sums + size])
        return float((np.abs(sums) >= least).mean()), EXACT
    signs = np.random.default_rng(0).integers(0, 2, (NUM_FLIPS, len(sizes)), dtype=np.int8)
    sums = (2.0 * signs - 1.0) @ sizes
    return (1 + int((np.abs(sums) >= least).sum())) / (1 + NUM_FLIPS), SIGN_FLIPS


def differences(
    pairs: Sequence[Pair], shares: bool, metrics: Iterable[str] = ()
) -> Iterator[Difference]:
    """Yield the differences of all groups, and of several groups where all scores are shares.

    Args:
        pairs: scores of the same items.
        shares: whether the scores of all items have one scale.
        metrics: which of them; empty: all.
    """
    whole = {TOTAL: TOTAL} if shares else {}
    for metric in metrics or dict.fromkeys(name for one in pairs for name in one.values):
        strata: dict[str, dict[str, list[Pair]]] = defaultdict(lambda: defaultdict(list))
        for one in pairs:
            for dimension, group in {**whole, **one.groups}.items():
                strata[dimension][group].append(one)
        for dimension, groups in strata.items():
            rows = [
                row
                for group, members in groups.items()
                if (row := _difference(metric, dimension, group, [members]))
            ]
            yield from rows
            if len(rows) > 1 and shares:
                scored = [groups[row.group] for row in rows]
                row = _difference(metric, dimension, MEAN_OF_GROUPS, scored)
                assert row is not None
                yield row


def _difference(
    metric: str, dimension: str, group: str, strata: Sequence[Sequence[Pair]]
) -> Difference | None:
    """Return the mean over strata of their mean differences; None where no pair has scores."""
    weights, firsts, seconds, residuals = [], [], [], []
    for members in strata:
        both = [(p.values[metric], p.weights[metric]) for p in members if p.values.get(metric)]
        values = np.array([value for value, _ in both], np.float64).reshape(-1, 2)
        shares = np.array([weight for _, weight in both], np.float64)
        if not shares.sum():
            return None
        shares /= shares.sum() * len(strata)
        deltas = values[:, 1] - values[:, 0]
        center = float((shares * deltas).sum() / shares.sum())
        weights.append(shares)
        firsts.append(values[:, 0])
        seconds.append(values[:, 1])
        residuals.append(shares * (deltas - center))
    shares, first, second = (np.concatenate(part) for part in (weights, firsts, seconds))
    deltas = second - first
    p_value, method = sign_flip_test(shares * deltas)
    return Difference(
        metric=metric,
        dimension=dimension,
        group=group,
        num_pairs=len(deltas),
        num_unscored=sum(len(members) for members in strata) - len(deltas),
        num_better=int((deltas > 0).sum()),
        num_worse=int((deltas < 0).sum()),
        first=float((shares * first).sum()),
        second=float((shares * second).sum()),
        difference=Estimate(
            value=float((shares * deltas).sum()),
            standard_error=float(np.sqrt((np.concatenate(residuals) ** 2).sum())),
        ),
        p_value=p_value,
        method=method,
    )


def _num_answered(contender: Contender) -> int:
    return sum(result.skipped is None for result in contender.results)


def _told(left_out: Sequence[LeftOut]) -> str:
    return "; ".join(
        f"{row.count:,} because {row.reason}, for example {row.examples[0]}" for row in left_out
    )


def _binomial(num_better: int, count: int) -> float:
    """Return the two-sided p-value of so many better ones among `count` that differ."""
    fewer = min(num_better, count - num_better)
    term = total = 1
    for k in range(fewer):
        term = term * (count - k) // (k + 1)
        total += term
    return min(1.0, math.exp(math.log(2 * total) - count * math.log(2)))
