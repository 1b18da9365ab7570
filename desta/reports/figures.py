"""Figures as SVG text, in the text colour of the page around them."""

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from desta.errors import need
from desta.evaluation.metrics import Estimate

_INK = "#010203"  # used for nothing else; replaced by the text colour of the page
_TRAIN, _VALIDATION = "#4c8fc7", "#d9822b"
_STYLE = {
    "font.size": 10,
    "font.family": "sans-serif",
    "svg.fonttype": "none",  # keep text as text, in the font of the page
    "svg.hashsalt": "desta",  # the same run gives the same bytes
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.15,
    "legend.frameon": False,
    **{
        key: _INK
        for key in ("text.color", "axes.labelcolor", "axes.edgecolor", "grid.color")
        + ("xtick.color", "ytick.color")
    },
}
Points = Sequence[tuple[int, float]]
"""(step, value)."""
_COLOURS = ("#4c8fc7", "#d9822b", "#4aa564", "#b0578d", "#8b7bc8", "#a08a3c", "#5f9ea0", "#c0504d")
_MOST_ROWS = 40


def draw_loss(train: Points, validation: Points) -> str:
    """Draw the loss over steps: every step, moving average, validation loss."""
    with drawing_style():
        drawing, axes = canvas(3.4)
        if train:
            steps, losses = zip(*train, strict=True)
            width = max(1, len(losses) // 50)
            axes.plot(steps, losses, color=_TRAIN, alpha=0.25, linewidth=0.8)
            axes.plot(
                steps[width - 1 :],
                np.convolve(losses, np.full(width, 1 / width), mode="valid"),
                color=_TRAIN,
                label=f"training, mean of {width} steps" if width > 1 else "training",
            )
        if validation:
            steps, losses = zip(*validation, strict=True)
            axes.plot(steps, losses, "o-", color=_VALIDATION, markersize=4, label="validation")
        axes.set(xlabel="step", ylabel="loss per labelled token, nats")
        axes.legend()
        return svg(drawing)


def draw_layer_weights(shares_QL: NDArray[np.float32], layers: Sequence[str]) -> str:
    """Draw the weights of encoder layers for each query token.

    Args:
        shares_QL: share of each of L target layers for each of Q query tokens; rows sum to 1.
        layers: names of the target layers.
    """
    num_queries, num_layers = shares_QL.shape
    with drawing_style(**{"axes.grid": False}):
        drawing, axes = canvas(0.9 + 0.35 * num_layers)
        cells = axes.pcolormesh(shares_QL.T, cmap="viridis", edgecolors="none", antialiased=False)
        axes.set_yticks(np.arange(num_layers) + 0.5, layers)
        shown = np.arange(0, num_queries, max(1, num_queries // 16))
        axes.set_xticks(shown + 0.5, [str(query) for query in shown])
        axes.set(xlabel="query token", ylabel="encoder layer")
        drawing.colorbar(cells, ax=axes, label="share", pad=0.01)
        return svg(drawing)


def canvas(height: float) -> tuple[Any, Any]:
    """Create a drawing of that height in inches; return it with its axes."""
    figure = need("matplotlib.figure", extra="eval", to="draw a report")
    drawing = figure.Figure(figsize=(8, height), layout="constrained")  # inches
    return drawing, drawing.subplots()


def drawing_style(**changes: Any) -> Any:
    """Return the matplotlib context of all drawings; `changes` are further rcParams."""
    return need("matplotlib", extra="eval", to="draw a report").rc_context({**_STYLE, **changes})


def svg(drawing: Any) -> str:
    """Return a drawing as SVG text."""
    text = io.StringIO()
    drawing.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    body = re.sub(r"<metadata>.*?</metadata>", "", text.getvalue(), flags=re.DOTALL)
    return body[body.index("<svg") :].replace(_INK, "currentColor")


def draw_scores(
    rows: Sequence[str], scores: Mapping[str, Sequence[Estimate | None]], label: str
) -> str | None:
    """Draw a row per group with a dot per system and bars of one standard error.

    Args:
        rows: names of groups or of figures.
        scores: system -> a score per row, None if there is none.
        label: label of the axis of scores.

    Returns:
        SVG text; None if there are too many rows to be readable, or no scores.
    """
    if not 0 < len(rows) <= _MOST_ROWS or not any(e for these in scores.values() for e in these):
        return None
    with drawing_style(**{"axes.grid.axis": "x"}):
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
