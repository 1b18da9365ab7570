"""From results to scores, without the model.

`scores.json` holds

    benchmark, version, weights,
    shares: whether figures are shares, 1 being all; else they are in units of their own
    systems: [{system, num_items, num_skipped, withheld,
               figures: {name: {value, standard_error}},      the official figures
               cells: [{reading, dimension, group, estimate, num_scored, num_unscored}],
               notes: [{reason, count, example}]}],
    skipped: [{system, reason, count, example}]

what else the benchmark tells (`Benchmark.details`), and of `judge.json` who judged. Figures and
cells of a system that could not be asked everything are withheld, unless that is allowed; those
that rest on a judge, while there are answers that came after it has judged. The system "chance" is
what answers reach that do not depend on the clip: of an item with K choices, 1 / K.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from desta.config import suggest
from desta.errors import DataError
from desta.evaluation.base import Benchmark, Result
from desta.evaluation.benchmarks import BENCHMARKS, rescore
from desta.evaluation.items import Report
from desta.evaluation.journal import RESULTS
from desta.evaluation.judge_questions import find_questions
from desta.evaluation.metrics import Estimate
from desta.records import read_jsonl
from desta.shards import UNWRITABLE, write_atomic

PLAN = "plan.json"
SCORES = "scores.json"
JUDGE = "judge.json"
CHANCE = "chance"
NOT_YET = "it was not asked yet: the same `desta eval` goes on"
WITHHELD = "not all items have an answer: allow missing ones to score the rest"
UNJUDGED = (
    "it came after the judge: what rests on one is withheld until `desta score ... --judge` is "
    "called again"
)
_PLANNED = ("benchmark", "version", "weights", "num_items", "batch_size", "systems")
"""What every plan holds."""


def score(
    out: Path, results: Sequence[Result] | None = None, *, allow_missing: bool = False
) -> dict[str, Any]:
    """Score the results of an evaluation, write `scores.json` beside them and return it.

    Args:
        out: the folder of the evaluation.
        results: what its `results.jsonl` holds; None: read it.
        allow_missing: score systems that could not be asked everything, by what they answered.

    Raises:
        DataError: results or plan are missing, empty or broken.
    """
    plan = read_plan(out / PLAN)
    benchmark = BENCHMARKS[plan["benchmark"]]
    if results is None:
        results = read_results(out / RESULTS)
    judged = _judged(out / JUDGE)
    unjudged = _unjudged(benchmark, results, judged["judge"]) if judged else {}
    scores = {
        "benchmark": benchmark.name,
        "version": plan["version"],
        "weights": plan["weights"],
        **judged,
        **sum_up(
            benchmark,
            results,
            plan["version"],
            allow_missing=allow_missing,
            planned=dict.fromkeys(plan["systems"], plan["num_items"]),
            unjudged=unjudged,
        ),
    }
    write_json(out / SCORES, scores)
    return scores


def sum_up(
    benchmark: Benchmark,
    results: Sequence[Result],
    version: str,
    *,
    allow_missing: bool,
    planned: Mapping[str, int] | None = None,
    unjudged: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, Any]:
    """Return `shares`, `systems`, `skipped` and the details of results that are scored.

    Args:
        benchmark: what was answered.
        results: of all systems.
        version: of the questions.
        allow_missing: score systems that did not answer everything, by what they answered.
        planned: system -> items it is to answer; None: what it answered is all.
        unjudged: system -> items whose answers have come since a judge read the others.
    """
    planned, unjudged = planned or {}, unjudged or {}
    by_system: dict[str, list[Result]] = {system: [] for system in planned}
    for result in results:
        by_system.setdefault(result.system, []).append(result)
    wanted = {system: planned.get(system, len(these)) for system, these in by_system.items()}
    bare = [_unread(benchmark, r) if r.system in unjudged else r for r in results]
    chance = _chance(bare)
    if chance and (allow_missing or len({r.id for r in results}) >= max(wanted.values())):
        by_system[CHANCE] = chance
        wanted[CHANCE] = len(chance)
    return {
        "shares": benchmark.shares,
        "systems": [
            _report(
                benchmark,
                system,
                members,
                version,
                wanted[system],
                unjudged.get(system, ()),
                allow_missing=allow_missing,
            )
            for system, members in by_system.items()
        ],
        "skipped": [*_count_skipped(results), *_count_unasked(by_system, wanted)],
        **(benchmark.details(bare) if benchmark.details else {}),
    }


def read_plan(path: Path) -> dict[str, Any]:
    """Read a `plan.json`.

    Raises:
        DataError: it is missing or broken, or names a benchmark that does not exist.
    """
    fix = "give the folder of an evaluation"
    try:
        plan: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        name = {key: plan[key] for key in _PLANNED}["benchmark"]
    except FileNotFoundError:
        raise DataError(f"{path} is missing", fix=fix) from None
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is not the plan of an evaluation", fix=fix) from error
    if name not in BENCHMARKS:
        raise DataError(f'{path}: unknown benchmark "{name}"', fix=suggest(name, list(BENCHMARKS)))
    return plan


def read_results(path: Path) -> list[Result]:
    """Read a `results.jsonl`.

    Raises:
        DataError: it is missing, empty or broken, was written by another version, or holds an
            answer twice.
    """
    try:
        results = [Result.from_json(record) for record in read_jsonl(path)]
    except (KeyError, TypeError) as error:
        raise DataError(
            f"{path} is not in the format of results: {error}", fix="evaluate again"
        ) from error
    if not results:
        raise DataError(f"{path} holds no results", fix="run the evaluation first")
    answers = Counter((result.system, result.id) for result in results)
    (system, id), count = answers.most_common(1)[0]
    if count > 1:
        raise DataError(
            f"{path} holds {count} answers of {system} to {id!r}",
            fix="keep one; two runs may have been written into one file",
        )
    return results


def _judged(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        return {"judge": dict(json.loads(path.read_text(encoding="utf-8")))}
    except (ValueError, TypeError) as error:
        raise DataError(
            f"{path} is not a JSON object", fix="delete it and let it be judged again"
        ) from error


def _unjudged(
    benchmark: Benchmark, results: Sequence[Result], judge: Mapping[str, Any]
) -> dict[str, list[str]]:
    """Return the items, by system, whose answers a judge would be asked about and was not."""
    refused = {(system, id) for system, ids in judge.get("refused", {}).items() for id in ids}
    kind = find_questions(benchmark.name).kind
    found: dict[str, list[str]] = {}
    for r in results:
        if r.output is not None and not r.replies and (r.system, r.id) not in refused and kind(r):
            found.setdefault(r.system, []).append(r.id)
    return found


def _unread(benchmark: Benchmark, result: Result) -> Result:
    """Return a result as it is scored without a judge."""
    return rescore(benchmark, replace(result, replies=()))


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file whole, or not at all."""
    text = json.dumps(value, indent=1, ensure_ascii=False) + "\n"
    write_atomic(path, text.encode(errors=UNWRITABLE))


def _report(
    benchmark: Benchmark,
    system: str,
    results: Sequence[Result],
    version: str,
    num_items: int,
    unjudged: Sequence[str],
    *,
    allow_missing: bool,
) -> dict[str, Any]:
    answered = [r for r in results if r.skipped is None]
    withheld = len(answered) < num_items and not (allow_missing and answered)
    row: dict[str, Any] = {
        "system": system,
        "num_items": num_items,
        "num_skipped": num_items - len(answered),
        "withheld": WITHHELD if withheld else None,
    }
    if withheld:
        return {**row, "figures": {}, "cells": [], "notes": []}
    report = benchmark.aggregate(answered, version)
    if system == CHANCE:
        report = _without_errors(report)
    found = report.to_json()
    if unjudged:
        known = benchmark.aggregate([_unread(benchmark, r) for r in answered], version).to_json()
        note = {"reason": UNJUDGED, "count": len(unjudged), "example": unjudged[0]}
        found = {**known, "notes": [note, *found["notes"]]}
    return {**row, **{name: found[name] for name in ("figures", "cells", "notes")}}


def _chance(results: Sequence[Result]) -> list[Result]:
    """Return what each item with choices is worth by chance, in the readings that there are."""
    closed: dict[str, Result] = {}
    readings: dict[str, dict[str, float | None]] = {}
    for r in results:
        if r.choices:
            closed.setdefault(r.id, r)
            known = {name: 1 / len(r.choices) for name, v in r.values.items() if v is not None}
            readings.setdefault(r.id, dict.fromkeys(r.values)).update(known)
    return [
        replace(
            r,
            system=CHANCE,
            prompt=(),
            output="",
            skipped=None,
            extracted=None,
            values=readings[r.id],
            note=None,
        )
        for r in closed.values()
        if any(value is not None for value in readings[r.id].values())
    ]


def _without_errors(report: Report) -> Report:
    """Chance is exact: it was not measured."""

    def exact(estimate: Estimate | None) -> Estimate | None:
        return estimate and replace(estimate, standard_error=0.0)

    return replace(
        report,
        figures={name: replace(f, standard_error=0.0) for name, f in report.figures.items()},
        cells=tuple(replace(cell, estimate=exact(cell.estimate)) for cell in report.cells),
    )


def _count_skipped(results: Iterable[Result]) -> list[dict[str, Any]]:
    table: dict[tuple[str, str], dict[str, Any]] = {}
    for r in results:
        if r.skipped is not None:
            row = {"system": r.system, "reason": r.skipped, "count": 0, "example": r.id}
            table.setdefault((r.system, r.skipped), row)["count"] += 1
    return list(table.values())


def _count_unasked(
    by_system: Mapping[str, Sequence[Result]], wanted: Mapping[str, int]
) -> list[dict[str, Any]]:
    known = dict.fromkeys(r.id for these in by_system.values() for r in these)
    rows = []
    for system, these in by_system.items():
        if count := wanted[system] - len(these):
            asked = {r.id for r in these}
            example = next((id for id in known if id not in asked), "-")
            rows.append({"system": system, "reason": NOT_YET, "count": count, "example": example})
    return rows
