"""Is one system better than another on the same items, or was it luck?

Scores of the same item are subtracted, so that what makes an item hard for everybody cancels out.
The p-value is that of a sign-flip test: were both systems alike, each difference might as well have
been the other way round. Of right and wrong answers that is McNemar's test, which is counted
exactly; of other scores all signs are tried up to 16 differences, and drawn beyond that, with a
seed.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from desta.errors import ConfigError, DataError
from desta.evaluation.base import MODEL, Result
from desta.evaluation.benchmarks import find_benchmark
from desta.evaluation.items import TOTAL
from desta.evaluation.journal import RESULTS
from desta.evaluation.metrics import Estimate
from desta.evaluation.published import read_results as read_published_results
from desta.evaluation.scores import PLAN, read_plan, read_results

MEAN_OF_GROUPS = "mean of groups"
"""Group whose difference is the plain mean of those of all groups of the dimension."""
NUM_FLIPS = 10_000
EXACT = "exact"
DRAWN = f"{NUM_FLIPS:,} sign flips, seed 0"
_MOST_TRIED = 16  # 2 ** 16 signs are tried in milliseconds
_SAME = 1e-9  # of sums of floats that are the same but for rounding


@dataclass(frozen=True, kw_only=True)
class Contender:
    """What one system answered to a benchmark."""

    name: str
    benchmark: str
    version: str
    results: Sequence[Result]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """The second system minus the first, on the items of a group that both have a score of."""

    reading: str
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


def compare(first: Contender, second: Contender) -> Comparison:
    """Compare two systems on all items, by group, and by the mean of the groups of a dimension.

    Raises:
        DataError: they did not answer the same questions, or no item has a score of both.
    """
    pairs = _pair(first, second)
    differences = tuple(_differences(pairs, find_benchmark(first.benchmark).shares))
    if not differences:
        raise DataError(
            f"no item has a score of both {first.name} and {second.name}",
            fix="score both first; where a judge decides, let it judge both",
        )
    return Comparison(
        benchmark=first.benchmark,
        version=first.version,
        first=first.name,
        second=second.name,
        num_items=len(pairs),
        differences=differences,
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
    return (1 + int((np.abs(sums) >= least).sum())) / (1 + NUM_FLIPS), DRAWN


def read_contender(
    path: Path, *, system: str | None = None, benchmark: str | None = None
) -> Contender:
    """Read what a system answered.

    Args:
        path: the folder of an evaluation, its `results.jsonl`, or a published results file.
        system: whose answers, where there are several; by default those of the model.
        benchmark: of a published results file, which does not tell.

    Raises:
        ConfigError: there is no such system, or the benchmark is not told.
        DataError: a file is missing or broken.
    """
    folder = path if path.is_dir() else path.parent
    if path.is_dir() or path.name == RESULTS:
        plan = read_plan(folder / PLAN)
        if benchmark not in (None, plan["benchmark"]):
            raise ConfigError(
                f"{path} is an evaluation on {plan['benchmark']}, not on {benchmark}",
                fix="leave the benchmark out",
            )
        name, version = plan["benchmark"], plan["version"]
        results: Sequence[Result] = read_results(folder / RESULTS)
    elif not path.exists():
        raise DataError(f"{path} is not there", fix="give an evaluation or a results file")
    elif benchmark is None:
        raise ConfigError(
            f"{path} does not tell which benchmark it answers", fix="add --benchmark NAME"
        )
    else:
        published = read_published_results(find_benchmark(benchmark), [path])
        name, version, results = benchmark, published.version, published.results
    systems = list(dict.fromkeys(r.system for r in results))
    wanted = system or (MODEL if MODEL in systems else systems[0] if len(systems) == 1 else None)
    if wanted not in systems:
        raise ConfigError(
            f"{path} holds no answers of {wanted}" if wanted else f"{path} holds several systems",
            fix=f"name one of {', '.join(systems)}",
        )
    return Contender(
        name=f"{path} ({wanted})",
        benchmark=name,
        version=version,
        results=[r for r in results if r.system == wanted],
    )


@dataclass(frozen=True, kw_only=True)
class _Pair:
    groups: Mapping[str, str]
    values: Mapping[str, tuple[float, float] | None]
    """By reading; None where one of the two has no score."""
    weights: Mapping[str, float]
    """By reading."""


def _pair(first: Contender, second: Contender) -> list[_Pair]:
    for what in ("benchmark", "version"):
        ours, theirs = getattr(first, what), getattr(second, what)
        if ours != theirs:
            raise DataError(
                f"{first.name} answers {what} {ours!r}, and {second.name} {theirs!r}",
                fix="compare answers to the same questions",
            )
    by_id = [_by_id(first), _by_id(second)]
    missing = sorted(by_id[0].keys() ^ by_id[1].keys())
    if missing:
        raise DataError(
            f"{len(missing)} items are answered by only one of {first.name} and {second.name}, "
            f"for example {missing[0]!r}",
            fix="let both answer all items",
        )
    pairs = []
    for id, one in by_id[0].items():
        other = by_id[1][id]
        if (one.question, one.target, one.choices) != (other.question, other.target, other.choices):
            raise DataError(
                f"item {id!r} is another question to {first.name} than to {second.name}",
                fix="compare answers to the same version of the benchmark",
            )
        readings = dict.fromkeys([*one.values, *other.values])
        values = {reading: _both(one, other, reading) for reading in readings}
        weights = {r: (one.score.weight_of(r) + other.score.weight_of(r)) / 2 for r in readings}
        pairs.append(_Pair(groups=one.groups, values=values, weights=weights))
    return pairs


def _by_id(contender: Contender) -> dict[str, Result]:
    counts = Counter(result.id for result in contender.results)
    if twice := [id for id, count in counts.items() if count > 1]:
        raise DataError(
            f"{contender.name} answers {len(twice)} items more than once, for example {twice[0]!r}",
            fix="name one system, and keep one answer of it to every item",
        )
    return {result.id: result for result in contender.results}


def _both(one: Result, other: Result, reading: str) -> tuple[float, float] | None:
    values = one.values.get(reading), other.values.get(reading)
    return None if values[0] is None or values[1] is None else (values[0], values[1])


def _differences(pairs: Sequence[_Pair], shares: bool) -> Iterator[Difference]:
    """Yield the differences of all groups, and of several groups where all scores are shares."""
    whole = {TOTAL: TOTAL} if shares else {}
    for reading in dict.fromkeys(reading for pair in pairs for reading in pair.values):
        strata: dict[str, dict[str, list[_Pair]]] = defaultdict(lambda: defaultdict(list))
        for pair in pairs:
            for dimension, group in {**whole, **pair.groups}.items():
                strata[dimension][group].append(pair)
        for dimension, groups in strata.items():
            rows = [
                row
                for group, members in groups.items()
                if (row := _difference(reading, dimension, group, [members]))
            ]
            yield from rows
            if len(rows) > 1 and shares:
                scored = [groups[row.group] for row in rows]
                row = _difference(reading, dimension, MEAN_OF_GROUPS, scored)
                assert row is not None
                yield row


def _difference(
    reading: str, dimension: str, group: str, strata: Sequence[Sequence[_Pair]]
) -> Difference | None:
    """Return the mean over strata of their mean differences; None where no pair has scores."""
    weights, firsts, seconds, residuals = [], [], [], []
    for members in strata:
        both = [
            (pair.values[reading], pair.weights[reading])
            for pair in members
            if pair.values.get(reading)
        ]
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
        reading=reading,
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


def _binomial(num_better: int, count: int) -> float:
    """Return the two-sided p-value of so many better ones among `count` that differ."""
    fewer = min(num_better, count - num_better)
    term = total = 1
    for k in range(fewer):
        term = term * (count - k) // (k + 1)
        total += term
    return min(1.0, math.exp(math.log(2 * total) - count * math.log(2)))
