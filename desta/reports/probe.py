"""Report of a probe: backbones in their order, what it rests on, and responses to read."""

from collections.abc import Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

from desta.evaluation.benchmarks.probe.score import ACCURACY, FORM
from desta.evaluation.benchmarks.probe.vocabulary import KINDS
from desta.evaluation.conclusion import LEVEL
from desta.evaluation.metrics import Estimate
from desta.evaluation.probing.responses import ROWS
from desta.evaluation.probing.run import PROBE
from desta.files import UNWRITABLE, write_atomic
from desta.records import read_jsonl
from desta.reports.figures import draw_scores
from desta.reports.html import flatten, page, paragraph, section, svg_figure, table
from desta.schema import Json, read_json

_PER_REASON = 2
"""Dropped responses that are shown for each reason and backbone."""

Row = Mapping[str, Any]
Grid = tuple[list[str], list[list[str]]]
"""Header and rows of a table."""


def rank_table(found: Row) -> Grid:
    """Return the table of backbones: accuracy in all and by kind, responses, speed.

    Args:
        found: content of `probe.json`.
    """
    kinds = _kinds(found)
    header = ["rank", "model", "all", *kinds, "responses kept", "right value", "tokens/s"]
    rows = []
    for row in found["models"]:
        responses, speed = row["responses"], row["speed"]
        rows.append(
            [
                str(row["rank"]),
                row["model"],
                _percent(row["accuracy"]),
                *(_percent(_estimate(row, ACCURACY, "kind", kind)) for kind in kinds),
                _percent(responses["kept"]),
                _percent(responses["right"]),
                _number(speed and speed["tokens_per_second"]),
            ]
        )
    return header, rows


def rank_sentences(found: Row) -> list[str]:
    """Return a sentence for each step of the rank: how large it is, and whether it is sure."""
    return [_sentence(step) for step in found["steps"]]


def write_probe_report(folder: Path, out: Path) -> None:
    """Write the HTML page of a probe.

    Args:
        folder: of the probe.
        out: the page.

    Raises:
        DataError: a file of the probe is missing or broken.
        MissingExtraError: matplotlib is not installed.
    """
    found = read_json(folder / PROBE, dict[str, Json], fix="probe again")
    out.parent.mkdir(parents=True, exist_ok=True)
    html = page("Probe of backbones", list(_body(found, folder)))
    write_atomic(out, html.encode(errors=UNWRITABLE))


def _body(found: Row, folder: Path) -> Iterator[str]:
    header, rows = rank_table(found)
    kinds = _kinds(found)
    yield "<h1>Probe of backbones</h1>"
    yield paragraph(
        f"{found['questions']}, asked in text and scored by rule. Shares are in percent, ± one "
        "standard error over items. The rank is by all questions; responses and speed are told "
        "beside it."
    )
    yield section("Rank", table(header, rows), *map(paragraph, rank_sentences(found)))
    dots = {
        row["model"]: [_as_estimate(_estimate(row, ACCURACY, "kind", kind)) for kind in kinds]
        for row in found["models"]
    }
    if drawing := draw_scores(kinds, dots, "share of right answers"):
        yield svg_figure(drawing, "Right answers by kind of question, bars of one standard error.")
    yield section("Questions by form, attribute and domain", *_tables(found))
    yield section("Own responses", *_responses(found, folder))
    yield section("Speed", _speed(found))
    yield section(
        "Environment", table(["key", "value"], [*map(list, flatten(found["environment"]))])
    )


def _tables(found: Row) -> Iterator[str]:
    if chance := found["chance"]:
        yield paragraph(
            f"By chance {100 * chance['value']:.1f} % of the {chance['num_items']:,} questions "
            "with options are right."
        )
    names = [row["model"] for row in found["models"]]
    for metric, dimension in ((ACCURACY, "form"), (FORM, "form"), (ACCURACY, "attribute")):
        rows = []
        for group in _groups(found, dimension):
            cells = [_estimate(row, metric, dimension, group) for row in found["models"]]
            if any(cells):
                rows.append([group, *map(_percent, cells)])
        what = "the prescribed form is kept" if metric == FORM else "right answers"
        if rows:
            yield table([dimension, *names], rows, f"{what}, by {dimension}")
    lost = [
        [row["model"], note["reason"], str(note["count"]), note["example"]]
        for row in found["models"]
        for note in row["unanswered"]
    ]
    if lost:
        yield table(["model", "no answer because", "count", "example"], lost)


def _responses(found: Row, folder: Path) -> Iterator[str]:
    yield paragraph(
        "Prompts about described clips, as in construction: two of three ask for an attribute, a "
        "fifth of the clips is asked for what is not stated. A response is counted under the first "
        "filter that would drop it."
    )
    reasons = [
        [row["model"], note["reason"], str(note["count"]), note["example"]]
        for row in found["models"]
        for note in row["responses"]["dropped"]
    ]
    if reasons:
        yield table(["model", "dropped because", "count", "example"], reasons)
    for row in found["models"]:
        dropped = [r for r in read_jsonl(folder / row["folder"] / ROWS) if r["dropped"]]
        dropped.sort(key=lambda r: str(r["dropped"]))
        shown = [
            [one["dropped"], one["description"], one["prompt"], one["response"]]
            for _, these in groupby(dropped, key=lambda r: str(r["dropped"]))
            for one in list(these)[:_PER_REASON]
        ]
        if shown:
            header = ["dropped because", "description", "prompt", "response"]
            yield table(header, shown, f"For example, by {row['model']}")


def _speed(found: Row) -> str:
    header = ["model", "responses/s", "tokens/s", "responses", "tokens", "seconds"]
    rows = []
    for row in found["models"]:
        if speed := row["speed"]:
            rates = [_number(speed[f"{name}_per_second"]) for name in ("requests", "tokens")]
            totals = [f"{speed[name]:,.0f}" for name in ("requests", "tokens", "seconds")]
            rows.append([row["model"], *rates, *totals])
    return table(header, rows)


def _sentence(step: Row) -> str:
    delta, error = (100 * step["difference"][name] for name in ("value", "standard_error"))
    p = f"p = {step['p_value']:.2g}" if step["p_value"] >= 1e-4 else "p < 0.0001"
    size = f"{delta:+.1f} ± {error:.1f} points, {p}, {step['num_items']:,} questions, paired"
    if step["p_value"] < LEVEL:
        return f"{step['above']} is ahead of {step['below']}: {size}."
    return f"{step['above']} and {step['below']} are not told apart: {size}."


def _kinds(found: Row) -> list[str]:
    """Return the kinds of questions in the order in which they are explained; others behind."""
    order = {kind: place for place, kind in enumerate(KINDS)}
    return sorted(_groups(found, "kind"), key=lambda kind: (order.get(kind, len(order)), kind))


def _groups(found: Row, dimension: str) -> list[str]:
    cells = (cell for row in found["models"] for cell in row["cells"])
    return list(dict.fromkeys(c["group"] for c in cells if c["dimension"] == dimension))


def _estimate(row: Row, metric: str, dimension: str, group: str) -> Row | None:
    wanted = {"metric": metric, "dimension": dimension, "group": group}
    return next((c["estimate"] for c in row["cells"] if wanted.items() <= c.items()), None)


def _as_estimate(values: Row | None) -> Estimate | None:
    if values is None:
        return None
    return Estimate(value=values["value"], standard_error=values["standard_error"])


def _percent(values: Row | None) -> str:
    if values is None:
        return "-"
    return f"{100 * values['value']:.1f} ± {100 * values['standard_error']:.1f}"


def _number(values: Row | None) -> str:
    if values is None:
        return "-"
    error = values["standard_error"]
    return f"{values['value']:.1f}" + (f" ± {error:.1f}" if error is not None else "")
