"""From results to scores, without the model.

`scores.json` holds

    benchmark, version, weights,
    shares: whether figures are shares, 1 being all; else they are in units of their own
    systems: [{system, num_items, num_skipped, withheld,
               headline: {name: {value, standard_error, metric, num_scored, num_items}},
               cells: [{metric, dimension, group, estimate, num_scored, num_unscored}],
               remarks: [{reason, count, example}],
               left_out: [{metrics, reason, count, example}]}],   items without a score, and why
    skipped: [{system, reason, count, example}]
    official: metrics that are rules of the benchmark's authors; all others are ours
    verdict: {sentence, metric, against: [...]}      whether the model beats those that do not hear

what else the benchmark tells (`Benchmark.details`), and of `judge.json` who judged. Figures and
cells of a system that could not be asked everything are withheld, unless that is allowed; those
that rest on a judge, while there are answers that came after it has judged. The system "chance" is
what answers reach that do not depend on the clip: of an item with K choices, 1 / K.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from desta.config import suggest
from desta.errors import DataError
from desta.evaluation.base import Benchmark, Result
from desta.evaluation.benchmarks.table import BENCHMARKS, find_judging
from desta.evaluation.conclusion import judge_systems
from desta.evaluation.formats import REMADE, MessageRow, PlanFile, Refused, ResultRow
from desta.evaluation.journal import RESULTS
from desta.evaluation.metrics import Estimate, Report
from desta.files import write_json
from desta.reasons import Count, Reasons
from desta.records import numbered_jsonl
from desta.renamed import system_id
from desta.schema import find_json_fault, read_json

PLAN = "plan.json"
SCORES = "scores.json"
JUDGE_FILE = "judge.json"
CHANCE = "chance"
NOT_YET = "it was not asked yet: the same `desta eval` goes on"
NOT_MEANT = "this metric is not meant for it"
WITHHELD = "not all items have an answer: allow missing ones to score the rest"
UNJUDGED = (
    "it came after the judge: what rests on one is withheld until `desta score ... --judge` is "
    "called again"
)
_MOST_ITEMS = 10**7


def check_scored(folder: Path) -> None:
    """Refuse the folder of a benchmark, such as `text`, that compares whole models.

    Raises:
        DataError: it holds scores, and no plan of answers that could be scored one by one.
    """
    if (folder / SCORES).is_file() and not (folder / PLAN).is_file():
        raise DataError(
            f"{folder} holds no {PLAN}: on benchmarks such as text no answer has a score alone",
            fix=f"read {folder / SCORES}, which holds all that was found",
        )


def score_folder(
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
        results = read_results(out / RESULTS, benchmark)
    judged = _judged(out / JUDGE_FILE)
    unjudged = _unjudged(benchmark, results, judged["judge"]) if judged else {}
    scores = {
        "benchmark": benchmark.name,
        "version": plan["version"],
        "weights": plan["weights"],
        **judged,
        **sum_up(
            benchmark,
            results,
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
    *,
    allow_missing: bool,
    planned: Mapping[str, int] | None = None,
    unjudged: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, Any]:
    """Return `shares`, `systems`, `skipped` and the details of results that are scored.

    Args:
        benchmark: what was answered.
        results: of all systems.
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
    reports = [
        _report(
            benchmark,
            system,
            members,
            wanted[system],
            unjudged.get(system, ()),
            allow_missing=allow_missing,
        )
        for system, members in by_system.items()
    ]
    told = {row["system"] for row in reports if not row["withheld"]}
    known = {s: [r for r in bare if r.system == s] for s in by_system if s in told and s != CHANCE}
    return {
        "shares": benchmark.shares,
        "official": list(benchmark.official),
        "verdict": judge_systems(benchmark, known),
        "systems": reports,
        "skipped": [*_count_skipped(results), *_count_unasked(by_system, wanted)],
        **(benchmark.details(bare) if benchmark.details else {}),
    }


def read_plan(path: Path) -> dict[str, Any]:
    """Read a `plan.json`.

    Raises:
        DataError: it is missing or broken, or names a benchmark that does not exist.
    """
    what = "the plan of an evaluation"
    fix = f"give the folder of an evaluation; {REMADE}"
    plan: dict[str, Any] = read_json(path, PlanFile, fix=fix, what=what)
    for part in (plan, plan.get("config", {})):
        if isinstance(systems := part.get("systems"), list):
            part["systems"] = [system_id(name) for name in systems]
    if (name := plan["benchmark"]) not in BENCHMARKS:
        raise DataError(f'{path}: unknown benchmark "{name}"', fix=suggest(name, list(BENCHMARKS)))
    num_items, order = plan["num_items"], plan.get("order")
    if not (0 < num_items <= _MOST_ITEMS and plan["batch_size"] > 0 and plan["systems"]):
        raise DataError(f"{path} is not {what}: it asks nothing", fix=REMADE)
    if order is not None and len(order) != num_items:
        raise DataError(
            f"{path}: num_items is {num_items}, and order names {len(order)}", fix=REMADE
        )
    return plan


def read_results(path: Path, benchmark: Benchmark | None = None) -> list[Result]:
    """Read a `results.jsonl`.

    Args:
        path: the file.
        benchmark: what was answered; None: what only its scorer needs is not looked for.

    Raises:
        DataError: it is missing, empty or broken, was written by another version, or holds an
            answer twice.
    """
    results = []
    for number, record in numbered_jsonl(path):
        fault = find_json_fault(record, ResultRow)
        if extra := record.keys() - ResultRow.__annotations__.keys():
            fault = fault or f'the key "{min(extra)}" is not known'
        result = None if fault else Result.from_json(record)
        if result is not None:
            fault = _fault(result, benchmark)
        if result is None or fault:
            raise DataError(f"{path}:{number} is not in the format of results: {fault}", fix=REMADE)
        results.append(result)
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


def _fault(result: Result, benchmark: Benchmark | None) -> str | None:
    """Return what cannot be true of a result, whatever it answers, or what its scorer misses."""
    if fault := find_json_fault(result.prompt, tuple[MessageRow, ...], "prompt"):
        return fault
    if (result.output is None) != bool(result.skipped):
        return "output and skipped contradict each other: one of them is null"
    for name, value in {"weight": result.score.weight, **result.score.values}.items():
        if value is not None and not 0 <= value <= _MOST_ITEMS:
            return f"{name} is {value}, which is no score"
    if benchmark is None:
        return None
    for name in benchmark.dimensions:
        if name not in result.item.groups:
            return f"groups.{name} is missing"
    return benchmark.find_fault(result) if benchmark.find_fault else None


def _judged(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    again = "delete it and let it be judged again"
    judge = read_json(path, Refused, fix=again)
    if refused := judge.get("refused"):
        judge["refused"] = {system_id(system): ids for system, ids in refused.items()}
    return {"judge": judge}


def _unjudged(
    benchmark: Benchmark, results: Sequence[Result], judge: Mapping[str, Any]
) -> dict[str, list[str]]:
    """Return the items, by system, whose answers a judge would be asked about and was not."""
    refused = {(system, id) for system, ids in judge.get("refused", {}).items() for id in ids}
    kind = find_judging(benchmark).kind
    found: dict[str, list[str]] = {}
    for r in results:
        if r.output is not None and not r.replies and (r.system, r.id) not in refused and kind(r):
            found.setdefault(r.system, []).append(r.id)
    return found


def _unread(benchmark: Benchmark, result: Result) -> Result:
    """Return a result as it is scored without a judge."""
    return benchmark.rescore(replace(result, replies=()))


def _report(
    benchmark: Benchmark,
    system: str,
    results: Sequence[Result],
    num_items: int,
    unjudged: Sequence[str],
    *,
    allow_missing: bool,
) -> dict[str, Any]:
    answered = [r for r in results if r.skipped is None]
    unanswered = [
        replace(r, score=replace(r.score, values={}, note=None))
        for r in results
        if r.skipped is not None
    ]
    withheld = len(answered) < num_items and not (allow_missing and answered)
    row: dict[str, Any] = {
        "system": system,
        "num_items": num_items,
        "num_skipped": num_items - len(answered),
        "withheld": WITHHELD if withheld else None,
    }
    if withheld:
        return {**row, "headline": {}, "cells": [], "remarks": [], "left_out": []}
    report = benchmark.aggregate([*answered, *unanswered])
    if system == CHANCE:
        report = _without_errors(report)
    found = report.to_json()
    if unjudged:
        answered = [_unread(benchmark, r) for r in answered]
        known = benchmark.aggregate([*answered, *unanswered]).to_json()
        note = {"reason": UNJUDGED, "count": len(unjudged), "example": unjudged[0]}
        found = {**known, "remarks": [note, *found["remarks"]]}
    left_out = [] if system == CHANCE else _count_left_out([*answered, *unanswered])
    return {**row, **found, "left_out": left_out}


def _count_left_out(results: Sequence[Result]) -> list[dict[str, Any]]:
    """Count the items that some metrics have no score of, each with its reason."""
    metrics = dict.fromkeys(name for r in results for name in r.score.values)
    reasons = Reasons[tuple[str, str]]()
    for r in results:
        for metric in metrics if r.skipped is not None else r.score.values:
            if r.score.values.get(metric) is None:
                reasons.add((metric, r.skipped or r.score.note or NOT_MEANT), r.id)
    joined: dict[tuple[str, Count], list[str]] = {}
    for (metric, reason), found in reasons.items():
        joined.setdefault((reason, found), []).append(metric)
    return [
        {"metrics": names, "reason": reason, "count": found.count, "example": found.example}
        for (reason, found), names in joined.items()
    ]


def _chance(results: Sequence[Result]) -> list[Result]:
    """Return what each item with choices is worth by chance, in the metrics that there are."""
    closed: dict[str, Result] = {}
    metrics: dict[str, dict[str, float | None]] = {}
    for r in results:
        if choices := r.item.choices:
            closed.setdefault(r.id, r)
            values = r.score.values
            known = {name: 1 / len(choices) for name, v in values.items() if v is not None}
            metrics.setdefault(r.id, dict.fromkeys(values)).update(known)
    return [
        replace(
            r,
            system=CHANCE,
            prompt=(),
            output="",
            skipped=None,
            score=replace(r.score, extracted=None, values=metrics[r.id], note=None),
        )
        for r in closed.values()
        if any(value is not None for value in metrics[r.id].values())
    ]


def _without_errors(report: Report) -> Report:
    """Chance is exact: it was not measured."""

    def exact(estimate: Estimate | None) -> Estimate | None:
        return estimate and replace(estimate, standard_error=0.0)

    return replace(
        report,
        headline={name: replace(f, standard_error=0.0) for name, f in report.headline.items()},
        cells=tuple(replace(cell, estimate=exact(cell.estimate)) for cell in report.cells),
    )


def _count_skipped(results: Iterable[Result]) -> list[dict[str, Any]]:
    skipped = (((r.system, r.skipped), r.id) for r in results if r.skipped is not None)
    return Reasons.of(skipped).rows("system", "reason")


def _count_unasked(
    by_system: Mapping[str, Sequence[Result]], wanted: Mapping[str, int]
) -> list[dict[str, Any]]:
    known = dict.fromkeys(r.id for these in by_system.values() for r in these)
    reasons = Reasons[tuple[str, str]]()
    for system, these in by_system.items():
        if count := wanted[system] - len(these):
            asked = {r.id for r in these}
            example = next((id for id in known if id not in asked), "-")
            reasons.add((system, NOT_YET), example, count)
    return reasons.rows("system", "reason")
