"""Scores of items -> averages by group, and counts of what was noted."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from desta.evaluation.base import Result
from desta.evaluation.metrics import TOTAL, Cell, ratio
from desta.reasons import Reasons


def tabulate(results: Sequence[Result]) -> tuple[Cell, ...]:
    """Average every metric over all items and over each group of each dimension."""
    members: dict[tuple[str, str], list[Result]] = defaultdict(list)
    for result in results:
        for dimension, group in {TOTAL: TOTAL, **result.item.groups}.items():
            members[dimension, group].append(result)
    metrics = list(dict.fromkeys(metric for r in results for metric in r.score.values))
    return tuple(
        _cell(metric, dimension, group, these)
        for metric in metrics
        for (dimension, group), these in members.items()
    )


def join_notes(*notes: str | None) -> str | None:
    """Return one note of all that there are; None where there is none."""
    return "; ".join(note for note in notes if note) or None


def count_notes(results: Iterable[Result]) -> tuple[Mapping[str, Any], ...]:
    """Count the scores' notes, each with the id of its first item."""
    noted = ((r.score.note, r.id) for r in results if r.score.note)
    return tuple(Reasons.of(noted).rows())


def _cell(metric: str, dimension: str, group: str, members: Sequence[Result]) -> Cell:
    scored = [
        (value, result.score.weight_of(metric))
        for result in members
        if (value := result.score.values.get(metric)) is not None
    ]
    wholes = [weight for _, weight in scored]
    return Cell(
        metric=metric,
        dimension=dimension,
        group=group,
        estimate=ratio([v * w for v, w in scored], wholes) if sum(wholes) else None,
        num_scored=len(scored),
        num_unscored=len(members) - len(scored),
    )
