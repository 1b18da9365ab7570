"""The column IFEval of VoiceBench: instructions whose following can be checked.

Its figure is the mean of four rates, of prompts and of instructions, read strictly and loosely. As
in the official code, responses to the same prompt count as the last of them, and arguments that are
empty or zero are left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from desta.errors import DataError
from desta.evaluation.base import Item
from desta.evaluation.benchmarks.voicebench.parse import without_turn
from desta.evaluation.ifeval.following import Following, follow, read_instructions
from desta.evaluation.metrics import Figure


@dataclass(frozen=True, kw_only=True)
class IfevalColumn:
    """The figure of the column."""

    estimate: Figure
    """From 0 to 100; a response that is missing follows nothing."""
    drawn: tuple[str, ...]
    """Ids of the items some argument of which is left out and was drawn at random, by item."""


def ifeval_column(items: Sequence[Item], responses: Sequence[str | None]) -> IfevalColumn:
    """Return the column.

    Args:
        items: of the subset ifeval.
        responses: one for each; None, where there is none, follows no instruction.

    Raises:
        DataError: there are no items, or a row lacks its instructions.
    """
    if not items:
        raise DataError("no response to IFEval", fix="answer the subset first")
    by_prompt = {
        item.record["prompt"]: without_turn(response or "")
        for item, response in zip(items, responses, strict=True)
    }
    followed = [_follow(item, by_prompt[item.record["prompt"]]) for item in items]
    parts, wholes = [], []
    for flags in ([f.strict for f in followed], [f.loose for f in followed]):
        parts += [[float(all(row)) for row in flags], [float(sum(row)) for row in flags]]
        wholes += [[1.0] * len(flags), [float(len(row)) for row in flags]]
    return IfevalColumn(
        estimate=_mean_of_ratios(np.asarray(parts), np.asarray(wholes)),
        drawn=tuple(item.id for item, f in zip(items, followed, strict=True) if f.drawn),
    )


def _follow(item: Item, response: str) -> Following:
    given = item.record.get("kwargs")
    record = {
        **item.record,
        "kwargs": [
            {name: value for name, value in (arguments or {}).items() if value}
            for arguments in (given if isinstance(given, list) else ())
        ],
    }
    instructions = read_instructions(record)
    return follow(instructions, response, "official", seed=item.id)


def _mean_of_ratios(parts_RN: NDArray[np.float64], wholes_RN: NDArray[np.float64]) -> Figure:
    """Return 100 times the mean of R ratios of sums over the same N items."""
    totals_R1 = wholes_RN.sum(axis=1, keepdims=True)
    ratios_R1 = parts_RN.sum(axis=1, keepdims=True) / totals_R1
    residuals_N = ((parts_RN - ratios_R1 * wholes_RN) / totals_R1).mean(axis=0)
    num_items = parts_RN.shape[1]
    return Figure(
        value=100 * float(ratios_R1.mean()),
        standard_error=100 * float(np.sqrt((residuals_N**2).sum())),
        metric="official",
        num_scored=num_items,
        num_items=num_items,
    )
