"""The report of an evaluation: Markdown to be quoted, and an HTML page to be looked through.

Both are made from files alone, or from a published results file:

    plan.json, environment.json, scores.json, results.jsonl   of an evaluation
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from desta.errors import DataError
from desta.evaluation.base import Result
from desta.evaluation.items import TOTAL
from desta.evaluation.journal import RESULTS
from desta.evaluation.metrics import Estimate
from desta.evaluation.page import Sounds, browser, collect_sounds, script, style
from desta.evaluation.plots import draw_scores
from desta.evaluation.scores import PLAN, SCORES, read_results
from desta.paths import check_output
from desta.shards import UNWRITABLE, write_atomic
from desta.training.page import contents, figure, page, paragraph, section, table

Json = Mapping[str, Any]
Table = tuple[str, list[str], list[list[str]]]
"""Caption, names of columns, rows."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What is known of an evaluation."""

    name: str
    scores: Json
    """As `scores.json` holds them."""
    results: Sequence[Result]
    plan: Json = field(default_factory=dict)
    environment: Json = field(default_factory=dict)


def read_evaluation(folder: Path) -> Evaluation:
    """Read the folder of an evaluation.

    Raises:
        DataError: a file is missing or broken.
    """
    return Evaluation(
        name=folder.resolve().name,
        scores=_read_json(folder / SCORES),
        results=read_results(folder / RESULTS),
        plan=_read_json(folder / PLAN),
        environment=_read_json(folder / "environment.json"),
    )


def write_report(evaluation: Evaluation, out: Path) -> tuple[Path, Path]:
    """Write `out` as an HTML page, and Markdown beside it.

    Returns:
        The two files.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    markdown = out.with_suffix(".md")
    for path in (out, markdown):
        check_output(path)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(markdown, "\n".join(_markdown(evaluation)).encode(errors=UNWRITABLE))
    sounds = collect_sounds([path for r in evaluation.results for path in r.audio], out)
    html = page(
        f"{_title(evaluation)}: {evaluation.name}",
        list(_body(evaluation, sounds)),
        style=style(),
        script=script(),
        local_media=sounds.num_linked > 0,
    )
    write_atomic(out, html.encode(errors=UNWRITABLE))
    return out, markdown


def figures_table(scores: Json) -> Table:
    """Return the official figures, a column for each system."""
    systems = scores["systems"]
    names = list(dict.fromkeys(name for system in systems for name in system["figures"]))
    digits = 4 if scores.get("shares", True) else 2
    rows = [[name, *(_score(s["figures"].get(name), digits) for s in systems)] for name in names]
    return "Official figures, each ± one standard error.", _header("figure", systems), rows


def group_tables(scores: Json) -> Iterator[tuple[Table, list[str], dict[str, list[Json | None]]]]:
    """Yield the table of every reading and dimension, its groups, and each system's estimates."""
    systems = scores["systems"]
    cells = {
        (s["system"], c["reading"], c["dimension"], c["group"]): c
        for s in systems
        for c in s["cells"]
    }
    for reading, dimension in dict.fromkeys(key[1:3] for key in cells):
        if dimension == TOTAL:
            continue
        groups = list(dict.fromkeys(k[3] for k in cells if k[1:3] == (reading, dimension)))
        found = {
            s["system"]: [cells.get((s["system"], reading, dimension, group)) for group in groups]
            for s in systems
        }
        estimates = {name: [c and c["estimate"] for c in row] for name, row in found.items()}
        if not any(e for row in estimates.values() for e in row):
            continue
        counts = [
            max(c["num_scored"] for row in found.values() if (c := row[i]))
            for i in range(len(groups))
        ]
        rows = [
            [group, f"{counts[i]:,}", *(_score(row[i]) for row in estimates.values())]
            for i, group in enumerate(groups)
        ]
        header = [dimension, "scored", *(s["system"] for s in systems)]
        yield (f"{reading}, by {dimension}", header, rows), groups, estimates


def notes_table(scores: Json) -> Table | None:
    """Return everything that was not scored, or not as asked, with its count."""
    rows = [
        [s["system"], note["reason"], f"{note['count']:,}", str(note["example"])]
        for s in scores["systems"]
        for note in s["notes"]
    ]
    rows += [
        [row["system"], f"not answered: {row['reason']}", f"{row['count']:,}", str(row["example"])]
        for row in scores["skipped"]
    ]
    return ("Exceptions, counted.", ["system", "what", "count", "example"], rows) if rows else None


def read_table(results: Sequence[Result]) -> Table | None:
    """Return how many answers could be read; None where a benchmark reads nothing from them."""
    if not any(r.extracted is not None for r in results):
        return None
    rows = []
    for system in dict.fromkeys(r.system for r in results):
        these = [r for r in results if r.system == system and r.output is not None]
        read = sum(r.extracted is not None for r in these)
        if these:
            rows.append(
                [system, f"{len(these):,}", f"{read:,}", f"{100 * read / len(these):.1f} %"]
            )
    return (
        "Answers that name something that can be scored.",
        ["system", "answers", "read", "parse rate"],
        rows,
    )


def judge_table(scores: Json) -> Table | None:
    """Return who judged, by which prompts, and how many replies could be read."""
    judge = scores.get("judge")
    if not judge:
        return None
    rows = [
        ["judge", str(judge["id"])],
        ["revision", str(judge["revision"])],
        ["replies", f"{judge['num_replies']:,}"],
        ["parse rate, official form", _rate(judge["num_in_form"], judge["num_replies"])],
        ["parse rate, leniently", _rate(judge["num_read"], judge["num_replies"])],
        *(
            [f"prompt {kind}", f"{p['source']}, SHA-256 {p['sha256']}"]
            for kind, p in judge["prompts"].items()
        ),
        *(
            [f"unread: {row['reason']}", f"{row['count']:,}, for example {row['example']}"]
            for row in judge["unread"]
        ),
    ]
    return "The judge.", ["judge", ""], rows


def _markdown(evaluation: Evaluation) -> Iterator[str]:
    scores = evaluation.scores
    yield f"# {_title(evaluation)}: {_plain(evaluation.name)}\n"
    yield f"Questions: {_plain(str(scores['version']))}.\n"
    for caption, header, rows in _tables(evaluation):
        yield f"{_plain(caption)}\n"
        yield "| " + " | ".join(map(_plain, header)) + " |"
        yield "|" + "---|" * len(header)
        yield from ("| " + " | ".join(map(_plain, row)) + " |" for row in rows)
        yield ""


def _tables(evaluation: Evaluation) -> Iterator[Table]:
    yield figures_table(evaluation.scores)
    for made, _, _ in group_tables(evaluation.scores):
        yield made
    yield from _exceptions(evaluation)
    yield "How it was made.", ["what", ""], _provenance(evaluation)


def _body(evaluation: Evaluation, sounds: Sounds) -> Iterator[str]:
    scores = evaluation.scores
    sections = {
        "Figures": _figures(scores),
        "By group": _groups(scores),
        "What was read, and what was not": (
            table(header, rows, caption) for caption, header, rows in _exceptions(evaluation)
        ),
        "Items": _items(evaluation, sounds),
        "How these figures were made": [table(["what", ""], _provenance(evaluation))],
    }
    yield f"<header><h1>{escape(_title(evaluation))}</h1>"
    yield paragraph(f"{evaluation.name} · questions: {scores['version']}", "soft")
    yield contents(list(sections))
    yield "</header>"
    for system in scores["systems"]:
        if system["withheld"]:
            yield paragraph(f"{system['system']}: {system['withheld']}", "missing")
    for title, parts in sections.items():
        yield section(title, *parts)


def _figures(scores: Json) -> Iterator[str]:
    yield from _figures_plot(scores)
    caption, header, rows = figures_table(scores)
    yield table(header, rows, caption)


def _groups(scores: Json) -> Iterator[str]:
    for (caption, header, rows), groups, estimates in group_tables(scores):
        drawing = draw_scores(
            groups, {k: [_estimate(e) for e in v] for k, v in estimates.items()}, caption
        )
        if drawing:
            yield figure(drawing, f"{caption}; bars are one standard error.")
        yield f"<details><summary>{escape(caption)}: table</summary>{table(header, rows)}</details>"


def _exceptions(evaluation: Evaluation) -> Iterator[Table]:
    found = (
        read_table(evaluation.results),
        judge_table(evaluation.scores),
        notes_table(evaluation.scores),
    )
    yield from filter(None, found)


def _items(evaluation: Evaluation, sounds: Sounds) -> Iterator[str]:
    yield paragraph(
        f"{sounds.num_embedded:,} clips are in this page, {sounds.num_linked:,} are played "
        f"from their files, {sounds.num_missing:,} are not there. Keys: j and k go to the next "
        "item and the one before, p plays its clip, / searches.",
        "soft",
    )
    yield from browser(evaluation.results, sounds)


def _figures_plot(scores: Json) -> Iterator[str]:
    """Draw the figures that are shares; others have scales of their own."""
    names = list(dict.fromkeys(n for s in scores["systems"] for n in s["figures"]))
    estimates = {
        s["system"]: [_estimate(s["figures"].get(n)) for n in names] for s in scores["systems"]
    }
    if scores.get("shares", True):
        drawing = draw_scores(names, estimates, "score")
        if drawing:
            yield figure(drawing, "Official figures; bars are one standard error.")


def _provenance(evaluation: Evaluation) -> list[list[str]]:
    plan = {k: v for k, v in evaluation.plan.items() if k not in ("benchmark", "version", "order")}
    facts = [
        ("benchmark", evaluation.scores["benchmark"]),
        ("questions", evaluation.scores["version"]),
    ]
    return [
        [name, str(value)]
        for name, value in [*facts, *_flatten(plan), *_flatten(evaluation.environment)]
    ]


def _flatten(values: Json, prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", "unknown" if value is None else str(value)


def _title(evaluation: Evaluation) -> str:
    return f"Evaluation on {evaluation.scores['benchmark']}"


def _header(first: str, systems: Sequence[Json]) -> list[str]:
    return [first, *(s["system"] for s in systems)]


def _score(estimate: Json | None, digits: int = 4) -> str:
    if not estimate:
        return "-"
    value, error = estimate["value"], estimate["standard_error"]
    return f"{value:.{digits}f} ± {error:.{digits}f}" if error else f"{value:.{digits}f}"


def _estimate(found: Json | None) -> Estimate | None:
    return Estimate(**found) if found else None


def _rate(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} % ({part:,})" if whole else "-"


def _plain(text: str) -> str:
    """Return text that cannot end its cell, nor be taken for markup."""
    kept = " ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|")
    return kept.replace("&", "&amp;").replace("<", "&lt;")


def _read_json(path: Path) -> Json:
    try:
        value: Json = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path} is missing", fix="give the folder of an evaluation") from None
    except ValueError as error:
        raise DataError(f"{path} is not JSON", fix="evaluate again") from error
    return value
