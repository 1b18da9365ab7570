"""Scores of answers about held-out clips: the value that is named, and confusion matrices."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from desta.evaluation.base import DetailRow, Item, Result, Score
from desta.evaluation.metrics import (
    Estimate,
    Report,
    accuracy,
    balanced_accuracy,
    confusion_matrix,
    find,
    named_choices,
)
from desta.evaluation.tabulate import count_notes, tabulate

OTHER_WORDS = {
    "Female": ("woman", "girl"),
    "Male": ("man", "boy"),
    **{"1": ("one",), "2": ("two",), "3": ("three",)},
}
"""Words that count as naming a value, beside the value itself."""
ACCURACY = "accuracy"


def named_choice(answer: str, choices: Sequence[str]) -> str | None:
    """Return the one choice whose words the answer holds; None if it holds none, or several.

    Case and punctuation do not count. A longer choice hides the shorter ones inside it.

    >>> named_choice("It is a bass drum.", ["Drum", "Bass drum"])
    'Bass drum'
    >>> named_choice("French or Danish", ["French", "Danish"]) is None
    True
    """
    named = named_choices(answer, choices, OTHER_WORDS)
    return named.pop() if len(named) == 1 else None


def score(item: Item, output: str, replies: Sequence[str] = ()) -> Score:
    """Score an answer."""
    named = named_choice(output, item.choices)
    return Score(extracted=named, values={ACCURACY: float(named == item.target)})


def aggregate(results: Sequence[Result]) -> Report:
    """Return the accuracy over all items, by task and by group."""
    cells = tabulate(results)
    total = find(cells, ACCURACY).estimate
    return Report(
        headline={ACCURACY: total} if total else {},
        cells=cells,
        remarks=count_notes(results),
    )


def confusions(results: Sequence[Result]) -> dict[str, Any]:
    """Return the rows `scores`, by task and group."""
    by_cell: dict[tuple[str, str], dict[str, list[Result]]] = defaultdict(dict)
    for result in results:
        groups = result.item.groups
        cell = by_cell[groups["task"], groups["group"]]
        cell.setdefault(result.system, []).append(result)
    rows = []
    for (task, group), by_system in sorted(by_cell.items()):
        place = {"task": task, "group": group}
        num_classes = len({r.item.target for r in next(iter(by_system.values()))})
        if num_classes > 1:  # the best constant answer; of one class it would always be right
            chance = Estimate(value=1 / num_classes, standard_error=0.0)
            rows.append({"system": "chance", **place, "balanced_accuracy": chance.to_json()})
        rows += [{"system": s, **place, **_confusion(rs)} for s, rs in by_system.items()]
    return {"scores": rows}


def _confusion(results: Sequence[Result]) -> dict[str, Any]:
    named = {r.id: r.score.extracted for r in results if r.skipped is None}
    row = {"num_examples": len(results), "num_skipped": len(results) - len(named)}
    if not named:
        return row
    classes = tuple(dict.fromkeys(choice for r in results for choice in r.item.choices))
    targets = [r.item.target for r in results if r.id in named]
    confusion = confusion_matrix(targets, list(named.values()), classes)
    return {
        **row,
        "accuracy": accuracy(confusion).to_json(),
        "balanced_accuracy": balanced_accuracy(confusion).to_json(),
        "classes": list(classes),
        "confusion": confusion.tolist(),
        "named": named,
    }


def find_fault(result: Result) -> str | None:
    """Return what is wrong with a stored result, None if nothing is."""
    for name, value in (("target", result.item.target), ("extracted", result.score.extracted)):
        if value not in (*result.item.choices, None):
            return f"{name} is {value!r}, which is none of the choices"
    return None


def detail_rows(scores: Mapping[str, Any]) -> list[DetailRow]:
    """Return the balanced accuracy of every task and group, with what it rests on."""
    rows: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
    for cell in scores["scores"]:
        figure = dict(cell.get("balanced_accuracy", {}))
        if (num_items := cell.get("num_examples")) is not None:
            figure |= {"num_scored": num_items - cell["num_skipped"], "num_items": num_items}
        rows[f"{cell['task']}, {cell['group']}: balanced accuracy"][cell["system"]] = figure
    return [DetailRow(name=name, cells=cells, rule="ours") for name, cells in rows.items()]
