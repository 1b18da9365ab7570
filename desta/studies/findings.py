"""Findings of a study: figures with standard errors over items and over seeds, and contrasts.

A contrast is paired: the scores of two variants for the same item, each the mean over the seeds,
are subtracted, and the sign-flip test of `desta compare` is made over the items.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from desta.config import to_plain
from desta.environment import environment
from desta.evaluation.compare import differences as compare_pairs
from desta.evaluation.metrics import TOTAL, mean
from desta.evaluation.pairing import Pair
from desta.studies.cost import Cost, peak_gib
from desta.studies.measures import LIKELIHOOD, MEASURES, Measure, ScoresOfItems, commands
from desta.studies.pairs import Budget
from desta.studies.plan import Plan, differences

FINDINGS = "findings.json"
TEST = (
    "Two-sided sign-flip test over items, as in `desta compare`, on the difference of each item's "
    "mean over the seeds; of scores of 0 and 1 from one seed it is McNemar's test. It assumes that "
    "items are independent of each other (several questions about one clip are not quite) and "
    "that, were two variants alike, each difference might as well have been the other way round. "
    "It takes the seeds that were run as they are: how far seeds vary is told by the standard "
    "error over seeds, which rests on few, and by the number of seeds with a difference of the "
    "same sign: what not all seeds share is no finding, however small p. No p-value is corrected "
    "for the number of contrasts."
)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A measure of a variant."""

    variant: str
    measure: str
    value: float
    """Mean over seeds and items."""
    item_error: float
    """Standard error over items of their means over the seeds."""
    seed_error: float | None
    """Standard error over seeds of their means over the items; None of one seed."""
    num_items: int
    num_seeds: int


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """A variant against the first one, on the items that both have a score of."""

    variant: str
    measure: str
    difference: float
    """The variant minus the first."""
    item_error: float
    seed_error: float | None
    p_value: float
    method: str
    num_items: int
    num_better: int
    """Items on which the variant scores higher."""
    num_worse: int
    num_agreeing: int | None
    """Seeds whose own difference has the sign of the mean; None where seeds are not paired."""
    num_seeds: int


@dataclass(frozen=True, kw_only=True)
class Findings:
    """All that the report of a study tells."""

    study: str
    title: str
    expected: str
    num_seeds: int
    recipe: Mapping[str, Any]
    variants: Mapping[str, str]
    """Name -> what it is; every other is compared with the first."""
    differs: Mapping[str, Mapping[str, str]]
    """Variant -> keys that it has otherwise than the first."""
    budgets: Mapping[str, Budget]
    steps: Mapping[str, int]
    """Variant -> optimizer steps of a run."""
    pairs_read: Mapping[str, Sequence[int]]
    """Variant -> pairs that its runs read."""
    outcomes: Sequence[Outcome]
    contrasts: Sequence[Contrast]
    test: str
    costs: Mapping[str, Cost]
    peak_gib: float
    commands: Sequence[str]
    environment: Mapping[str, Any]

    @property
    def measures(self) -> list[Measure]:
        """The measures that there are figures of, in order."""
        there = {outcome.measure for outcome in self.outcomes}
        return [measure for measure in (LIKELIHOOD, *MEASURES) if measure.id in there]

    def outcome(self, variant: str, measure: str) -> Outcome | None:
        """Return a figure; None where the variant was not asked."""
        found = (o for o in self.outcomes if (o.variant, o.measure) == (variant, measure))
        return next(found, None)

    def contrast(self, variant: str, measure: str) -> Contrast | None:
        """Return a contrast with the first variant; None where there is none."""
        found = (c for c in self.contrasts if (c.variant, c.measure) == (variant, measure))
        return next(found, None)

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object, every field written."""
        plain: dict[str, Any] = to_plain(self)
        return plain


def find_all(
    plan: Plan,
    scores: Mapping[tuple[str, str], Sequence[ScoresOfItems]],
    budgets: Mapping[str, Budget],
    pairs_read: Mapping[str, Sequence[int]],
    costs: Mapping[str, Cost],
) -> Findings:
    """Sum up a study.

    Args:
        plan: the study.
        scores: (measure, variant) -> the scores of every seed.
        budgets: variant -> what it is trained on.
        pairs_read: variant -> pairs that its runs read.
        costs: step -> its cost.
    """
    first, *others = plan.variants
    measures = [measure.id for measure in (LIKELIHOOD, *MEASURES)]
    return Findings(
        study=plan.family.name,
        title=plan.family.title,
        expected=plan.family.expected,
        num_seeds=plan.num_seeds,
        recipe=to_plain(plan.base.study),
        variants={variant.name: variant.about for variant in plan.variants},
        differs={variant.name: differences(variant, first) for variant in others},
        budgets=budgets,
        steps={variant.name: variant.train.steps for variant in plan.variants if variant.trains},
        pairs_read=pairs_read,
        outcomes=[
            outcome_of(variant.name, measure, found)
            for measure in measures
            for variant in plan.variants
            if (found := scores.get((measure, variant.name)))
        ],
        contrasts=[
            contrast
            for measure in measures
            for variant in others
            if (a := scores.get((measure, first.name)))
            and (b := scores.get((measure, variant.name)))
            if (contrast := contrast_of(variant.name, measure, a, b))
        ],
        test=TEST,
        costs=costs,
        peak_gib=round(peak_gib(), 3),
        commands=[*plan.commands(), *(command for command, _ in commands(plan).values())],
        environment=environment(),
    )


def outcome_of(variant: str, measure: str, scores: Sequence[ScoresOfItems]) -> Outcome:
    """Return the mean over seeds and items; of items, those that every seed has a score of."""
    ids = _common(scores)
    table_SN = _table(scores, ids)
    over_items = mean(table_SN.mean(axis=0).tolist())
    return Outcome(
        variant=variant,
        measure=measure,
        value=float(table_SN.mean()),
        item_error=over_items.standard_error,
        seed_error=_seed_error(table_SN.mean(axis=1)),
        num_items=len(ids),
        num_seeds=len(scores),
    )


def contrast_of(
    variant: str, measure: str, first: Sequence[ScoresOfItems], second: Sequence[ScoresOfItems]
) -> Contrast | None:
    """Return by how much the second variant is higher than the first; None without common items.

    Seeds are paired where both have equally many: a seed means the same order of the pairs.
    """
    ids = _common([*first, *second])
    if not ids:
        return None
    a_SN, b_SN = _table(first, ids), _table(second, ids)
    pairs = [
        Pair(groups={}, values={measure: (float(a), float(b))}, weights={measure: 1.0})
        for a, b in zip(a_SN.mean(axis=0), b_SN.mean(axis=0), strict=True)
    ]
    [row] = [row for row in compare_pairs(pairs, True) if row.dimension == TOTAL]
    paired = len(a_SN) == len(b_SN)
    by_seed_S = b_SN.mean(axis=1) - a_SN.mean(axis=1) if paired else np.empty(0)
    return Contrast(
        variant=variant,
        measure=measure,
        difference=row.difference.value,
        item_error=row.difference.standard_error,
        seed_error=_seed_error(by_seed_S),
        p_value=float(f"{row.p_value:.6g}"),
        method=row.method,
        num_items=row.num_pairs,
        num_better=row.num_better,
        num_worse=row.num_worse,
        num_agreeing=int((by_seed_S * row.difference.value > 0).sum()) if paired else None,
        num_seeds=len(b_SN),
    )


def _common(scores: Sequence[ScoresOfItems]) -> list[str]:
    others = [set(each) for each in scores[1:]]
    return [id for id in scores[0] if all(id in other for other in others)]


def _table(scores: Sequence[ScoresOfItems], ids: Sequence[str]) -> NDArray[np.float64]:
    """Return the scores of items, (seeds, items)."""
    return np.array([[each[id] for id in ids] for each in scores], np.float64)


def _seed_error(means_S: NDArray[np.float64]) -> float | None:
    if len(means_S) < 2:
        return None
    return float(means_S.std(ddof=1) / np.sqrt(len(means_S)))
