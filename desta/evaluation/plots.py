"""Drawings of scores with their standard errors."""

from collections.abc import Mapping, Sequence

from desta.evaluation.metrics import Estimate
from desta.training.figures import canvas, style, svg

_COLOURS = ("#4c8fc7", "#d9822b", "#4aa564", "#b0578d", "#8b7bc8", "#a08a3c", "#5f9ea0", "#c0504d")
_MOST_ROWS = 40


def draw_scores(
    rows: Sequence[str], scores: Mapping[str, Sequence[Estimate | None]], label: str
) -> str | None:
    """Draw a row for each group and a dot for each system, with bars of one standard error.

    Args:
        rows: names of groups or of figures.
        scores: system -> a score for each row, None where there is none.
        label: of the axis of scores.

    Returns:
        SVG text; None where there are too many rows to be told apart, or no scores.
    """
    if not 0 < len(rows) <= _MOST_ROWS or not any(e for these in scores.values() for e in these):
        return None
    with style(**{"axes.grid.axis": "x"}):
        drawing, axes = canvas(1.0 + 0.12 * len(rows) * (1 + len(scores)))
        step = 0.7 / max(len(scores), 1)
        for number, (system, estimates) in enumerate(scores.items()):
            there = [(row, e) for row, e in enumerate(estimates) if e is not None]
            axes.errorbar(
                [e.value for _, e in there],
                [row + (number - (len(scores) - 1) / 2) * step for row, _ in there],
                xerr=[e.standard_error for _, e in there],
                fmt="o",
                markersize=4,
                linewidth=1.2,
                color=_COLOURS[number % len(_COLOURS)],
                label=system,
            )
        axes.set_yticks(range(len(rows)), list(rows))
        axes.set_ylim(len(rows) - 0.5, -0.5)  # the first row on top
        axes.set(xlabel=label)
        drawing.legend(loc="outside upper center", ncols=min(4, len(scores)))
        return svg(drawing)
