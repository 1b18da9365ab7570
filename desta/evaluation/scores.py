"""From answers to scores, without the model.

`scores.json` holds

    benchmark, version, weights (SHA-256), system_prompt,
    scores: [{system, task, group, num_examples, num_skipped,
              accuracy: {value, standard_error}, balanced_accuracy: {value, standard_error},
              classes: [...],                rows of the confusion matrix
              confusion: [[...]],            columns: the classes, then "none"
              named: {example id: class or null}}],
    skipped: [{reason, count, example}]

A cell none of whose clips could be heard ends at `num_skipped`. Each task and group also has a row
of the system "chance" with nothing but a balanced accuracy: 1 / number of classes that occur as
targets, which is what answers reach that do not depend on the clip.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from desta.config import suggest
from desta.errors import DataError
from desta.evaluation.attributes import ATTRIBUTES
from desta.evaluation.base import MODEL, Benchmark, Result
from desta.evaluation.metrics import Estimate, accuracy, balanced_accuracy, confusion_matrix
from desta.records import read_jsonl
from desta.shards import write_atomic

PLAN = "plan.json"
RESULTS = "results.jsonl"
SCORES = "scores.json"
CHANCE = "chance"
BENCHMARKS: dict[str, Benchmark] = {b.name: b for b in (ATTRIBUTES,)}


def score(results: Path) -> dict[str, Any]:
    """Score the answers of a `results.jsonl`, write `scores.json` beside it and return it.

    Raises:
        DataError: results or plan are missing, empty or broken.
    """
    plan = read_plan(results.parent / PLAN)
    benchmark = BENCHMARKS[plan["benchmark"]]
    rows = _read_results(results)
    by_cell: dict[tuple[str, str, str], list[Result]] = defaultdict(list)
    for row in rows:
        by_cell[row.task, row.group, row.system].append(row)
    cells = []
    for (task, group, system), members in by_cell.items():
        if system == MODEL:
            cells.append(_chance(task, group, members))
        cells.append(_score_cell(benchmark, task, group, system, members))
    scores = {
        "benchmark": benchmark.name,
        "version": benchmark.version,
        "weights": plan["weights"],
        "system_prompt": plan["config"]["system_prompt"],
        "scores": cells,
        "skipped": _count_skipped(rows),
    }
    write_json(results.parent / SCORES, scores)
    return scores


def read_plan(path: Path) -> dict[str, Any]:
    """Read a `plan.json`.

    Raises:
        DataError: it is missing or broken, or names a benchmark that does not exist.
    """
    fix = "give the results.jsonl of an evaluation, in the folder where it was written"
    try:
        plan: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        name = plan["benchmark"]
    except FileNotFoundError:
        raise DataError(f"{path} is missing", fix=fix) from None
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is not the plan of an evaluation", fix=fix) from error
    if name not in BENCHMARKS:
        raise DataError(f'{path}: unknown benchmark "{name}"', fix=suggest(name, list(BENCHMARKS)))
    return plan


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file whole, or not at all."""
    write_atomic(path, (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode())


def _read_results(path: Path) -> list[Result]:
    try:
        results = [Result.from_json(record) for record in read_jsonl(path)]
    except (KeyError, TypeError) as error:
        raise DataError(
            f"{path} is not in the format of results: {error}", fix="evaluate again"
        ) from error
    if not results:
        raise DataError(f"{path} holds no answers", fix="run the evaluation first")
    return results


def _score_cell(
    benchmark: Benchmark, task: str, group: str, system: str, members: Sequence[Result]
) -> dict[str, Any]:
    named = {r.id: benchmark.read(r.answer, r.choices) for r in members if r.answer is not None}
    cell = {"system": system, "task": task, "group": group, "num_examples": len(members)}
    cell["num_skipped"] = len(members) - len(named)
    if not named:
        return cell
    classes = members[0].choices
    targets = [r.target for r in members if r.id in named]
    confusion = confusion_matrix(targets, list(named.values()), classes)
    return {
        **cell,
        "accuracy": accuracy(confusion).to_json(),
        "balanced_accuracy": balanced_accuracy(confusion).to_json(),
        "classes": list(classes),
        "confusion": confusion.tolist(),
        "named": named,
    }


def _chance(task: str, group: str, members: Sequence[Result]) -> dict[str, Any]:
    guess = Estimate(value=1 / len({r.target for r in members}), standard_error=0.0)
    return {
        "system": CHANCE,
        "task": task,
        "group": group,
        "balanced_accuracy": guess.to_json(),
    }


def _count_skipped(results: Iterable[Result]) -> list[dict[str, Any]]:
    """Count by reason; the path of the clip is no part of a reason."""
    table: dict[str, dict[str, Any]] = {}
    for r in results:
        if r.skipped is None:
            continue
        reason = r.skipped
        for path in r.audio:
            reason = reason.replace(path, "CLIP")
        row = table.setdefault(reason, {"reason": reason, "count": 0, "example": r.id})
        row["count"] += 1
    return list(table.values())
