"""Scores of the benchmark `attributes` as a table of Markdown."""

from collections import defaultdict
from typing import Any

from desta.evaluation.baselines import title_of


def score_table(cells: list[dict[str, Any]]) -> list[str]:
    """Return the table of balanced accuracies, with a column per system."""
    by_line: dict[tuple[str, str], dict[str, dict[str, Any]]] = defaultdict(dict)
    for cell in cells:
        by_line[cell["task"], cell["group"]][cell["system"]] = cell
    systems = list(dict.fromkeys(cell["system"] for cell in cells))
    systems.sort(key=lambda system: (system != "model", system == "chance"))
    lines = [
        f"| balanced accuracy ± standard error | {' | '.join(map(title_of, systems))} | n |",
        "|---" * (len(systems) + 2) + "|",
    ]
    for (task, group), found in by_line.items():
        shown = [_estimate(found.get(s, {}).get("balanced_accuracy")) for s in systems]
        num_examples = found[systems[0]]["num_examples"]
        lines.append(f"| {task}, {group} | {' | '.join(shown)} | {num_examples} |")
    return lines


def _estimate(estimate: dict[str, float] | None) -> str:
    if estimate is None:
        return "-"
    return f"{estimate['value']:.1%} ± {estimate['standard_error']:.1%}"
