"""Report of an evaluation: Markdown to quote, and an HTML page to browse.

Both are made from the files of an evaluation, or from a published results file:

    plan.json, environment.json, scores.json, results.jsonl
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from desta.evaluation.base import Result
from desta.evaluation.baselines import title_of
from desta.evaluation.benchmarks.table import BENCHMARKS, find_benchmark
from desta.evaluation.formats import ScoresFile
from desta.evaluation.journal import RESULTS
from desta.evaluation.metrics import TOTAL, Estimate
from desta.evaluation.scores import PLAN, SCORES, read_plan, read_results
from desta.files import UNWRITABLE, write_atomic
from desta.paths import check_output
from desta.renamed import current_scores
from desta.reports import markdown
from desta.reports.browser import Sounds, browser, collect_sounds
from desta.reports.figures import draw_scores
from desta.reports.html import asset, contents, flatten, page, paragraph, section, svg_figure, table
from desta.schema import Json, read_json

Row = Mapping[str, Any]
CaptionedTable = tuple[str, list[str], list[list[str]]]
"""Caption, column names, rows."""


WHOSE = {True: "official", False: "ours"}
"""Origin of a rule, by whether it is that of the benchmark's authors."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Contents of the files of an evaluation."""

    name: str
    scores: Row
    """Contents of `scores.json`."""
    results: Sequence[Result]
    plan: Row = field(default_factory=dict)
    environment: Row = field(default_factory=dict)


def read_evaluation(folder: Path) -> Evaluation:
    """Read an evaluation from its folder.

    Raises:
        DataError: a file is missing or broken.
    """
    plan = read_plan(folder / PLAN)
    return Evaluation(
        name=folder.resolve().name,
        scores=read_json(
            folder / SCORES,
            ScoresFile,
            fix=f"make it again: desta score {folder}",
            change=current_scores,
        ),
        results=read_results(folder / RESULTS, BENCHMARKS[plan["benchmark"]]),
        plan=plan,
        environment=read_json(folder / "environment.json", dict[str, Json], fix="evaluate again"),
    )


def write_evaluation_report(evaluation: Evaluation, out: Path) -> tuple[Path, Path]:
    """Write the HTML page `out`, and a Markdown file beside it.

    Returns:
        The two files.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    beside = out.with_suffix(".md")
    for path in (out, beside):
        check_output(path)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(beside, "\n".join(_markdown(evaluation)).encode(errors=UNWRITABLE))
    sounds = collect_sounds([path for r in evaluation.results for path in r.audio], out)
    html = page(
        f"{_title(evaluation)}: {evaluation.name}",
        list(_body(evaluation, sounds)),
        style=asset("items.css"),
        script=asset("items.js"),
        local_media=sounds.num_linked > 0,
    )
    write_atomic(out, html.encode(errors=UNWRITABLE))
    return out, beside


def figures_table(scores: Row) -> CaptionedTable:
    """Return the table of figures: a column per system, numbers of items, origin of the rule."""
    systems = scores["systems"]
    names = list(dict.fromkeys(name for system in systems for name in system["headline"]))
    title = find_benchmark(scores["benchmark"]).title
    digits = 4 if scores.get("shares", True) else 2
    rows = []
    for name in names:
        figures = {s["system"]: s["headline"].get(name) for s in systems}
        values = (_score(figure, digits) for figure in figures.values())
        rows.append([title(name), *values, counts_of(figures), rule_of(scores, figures.values())])
    header = [*_header("figure", systems), "scored / all", "rule"]
    return "Figures, each ± one standard error.", header, rows


def group_tables(
    scores: Row,
) -> Iterator[tuple[CaptionedTable, list[str], dict[str, list[Row | None]]]]:
    """Yield for every metric and dimension a table, its groups, and the estimates by system."""
    systems = scores["systems"]
    cells = {
        (s["system"], c["metric"], c["dimension"], c["group"]): c
        for s in systems
        for c in s["cells"]
    }
    title = find_benchmark(scores["benchmark"]).title
    for metric, dimension in dict.fromkeys(key[1:3] for key in cells):
        if dimension == TOTAL:
            continue
        groups = list(dict.fromkeys(k[3] for k in cells if k[1:3] == (metric, dimension)))
        found = {
            s["system"]: [cells.get((s["system"], metric, dimension, group)) for group in groups]
            for s in systems
        }
        estimates = {name: [c and c["estimate"] for c in row] for name, row in found.items()}
        if not any(e for row in estimates.values() for e in row):
            continue
        rows = [
            [
                group,
                *(_score(row[i]) for row in estimates.values()),
                counts_of({name: row[i] for name, row in found.items()}),
            ]
            for i, group in enumerate(groups)
        ]
        rule = f" ({WHOSE[metric in scores['official']]})" if "official" in scores else ""
        header = [*_header(dimension, systems), "scored / all"]
        yield (f"{title(metric)}, by {dimension}{rule}", header, rows), groups, estimates


def notes_table(scores: Row) -> CaptionedTable | None:
    """Return the table of exceptions with their counts; None if there are none."""
    rows = [
        [row["system"], row["reason"], f"{row['count']:,}", row["example"], row["left_out_of"]]
        for row in exceptions(scores)
    ]
    header = ["system", "what", "count", "example", "left out of"]
    return ("Exceptions, counted.", header, rows) if rows else None


def exceptions(scores: Row) -> list[dict[str, Any]]:
    """Return items that were not scored, or not as requested, with the metrics that lack them.

    Systems and metrics are given by their titles.
    """
    title = find_benchmark(scores["benchmark"]).title
    rows = []
    for system in scores["systems"]:
        left: dict[tuple[str, int], dict[str, Any]] = {}
        for row in system.get("left_out", ()):
            key = row["reason"], row["count"]
            left[key] = {**row, "metrics": [*left.get(key, row)["metrics"], *row["metrics"]]}
            left[key]["metrics"] = list(dict.fromkeys(left[key]["metrics"]))
        noted = {(note["reason"], note["count"]): note for note in system["remarks"]}
        for key, note in {**noted, **left}.items():
            row = {name: note[name] for name in ("reason", "count", "example")}
            metrics = left.get(key, {}).get("metrics", ())
            rows.append(
                {
                    "system": title_of(system["system"]),
                    **row,
                    "left_out_of": "; ".join(map(title, metrics)),
                }
            )
    answered = {row["reason"] for row in scores["skipped"]}
    rows = [row for row in rows if row["reason"] not in answered]
    return rows + [
        {
            **row,
            "system": title_of(row["system"]),
            "reason": f"not answered: {row['reason']}",
            "left_out_of": "all figures",
        }
        for row in scores["skipped"]
    ]


def parse_rate_table(results: Sequence[Result]) -> CaptionedTable | None:
    """Return the table of parsed answers by system; None if a benchmark parses none."""
    if not any(r.score.extracted is not None for r in results):
        return None
    rows = []
    for system in dict.fromkeys(r.system for r in results):
        these = [r for r in results if r.system == system and r.output is not None]
        read = sum(r.score.extracted is not None for r in these)
        if these:
            rows.append(
                [
                    title_of(system),
                    f"{len(these):,}",
                    f"{read:,}",
                    f"{100 * read / len(these):.1f} %",
                ]
            )
    return (
        "Answers that name something that can be scored.",
        ["system", "answers", "read", "parse rate"],
        rows,
    )


def counts_of(figures: Mapping[str, Row | None]) -> str:
    """Return the number of scored items and of all items of a figure; by system if they differ."""
    counts = {}
    for system, row in figures.items():
        if row and "num_scored" in row:
            scored, unscored = row["num_scored"], row.get("num_unscored", 0)
            counts[system] = f"{scored:,} / {row.get('num_items', scored + unscored):,}"
    if len(set(counts.values())) <= 1:
        return next(iter(counts.values()), "-")
    return ", ".join(f"{title_of(system)} {count}" for system, count in counts.items())


def rule_of(scores: Row, figures: Iterable[Row | None]) -> str:
    """Return the origin of a figure's rule; a dash if unknown."""
    metrics = {figure["metric"] for figure in figures if figure and "metric" in figure}
    if not metrics or "official" not in scores:
        return "-"
    return WHOSE[metrics <= set(scores["official"])]


def judge_table(scores: Row) -> CaptionedTable | None:
    """Return the table of the judge: model, prompts, parsed verdicts; None without a judge."""
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
    yield f"# {_title(evaluation)}: {markdown.plain(evaluation.name)}\n"
    yield f"Questions: {markdown.plain(str(scores['version']))}.\n"
    if verdict := scores.get("verdict"):
        yield f"{markdown.plain(verdict['sentence'])}\n"
    for caption, header, rows in _tables(evaluation):
        yield f"{markdown.plain(caption)}\n"
        yield from markdown.table(header, rows)


def _tables(evaluation: Evaluation) -> Iterator[CaptionedTable]:
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
    if verdict := scores.get("verdict"):
        yield paragraph(verdict["sentence"], "verdict")
    yield contents(list(sections))
    yield "</header>"
    for system in scores["systems"]:
        if system["withheld"]:
            yield paragraph(f"{title_of(system['system'])}: {system['withheld']}", "missing")
    for title, parts in sections.items():
        yield section(title, *parts)


def _figures(scores: Row) -> Iterator[str]:
    yield from _figures_plot(scores)
    caption, header, rows = figures_table(scores)
    yield table(header, rows, caption)


def _groups(scores: Row) -> Iterator[str]:
    for (caption, header, rows), groups, estimates in group_tables(scores):
        drawing = draw_scores(
            groups, {title_of(k): [_estimate(e) for e in v] for k, v in estimates.items()}, caption
        )
        if drawing:
            yield svg_figure(drawing, f"{caption}; bars are one standard error.")
        yield f"<details><summary>{escape(caption)}: table</summary>{table(header, rows)}</details>"


def _exceptions(evaluation: Evaluation) -> Iterator[CaptionedTable]:
    found = (
        parse_rate_table(evaluation.results),
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
    benchmark = find_benchmark(evaluation.scores["benchmark"])
    yield from browser(benchmark, evaluation.results, sounds)


def _figures_plot(scores: Row) -> Iterator[str]:
    """Yield a drawing of the figures that are shares; others have different scales."""
    names = list(dict.fromkeys(n for s in scores["systems"] for n in s["headline"]))
    estimates = {
        title_of(s["system"]): [_estimate(s["headline"].get(n)) for n in names]
        for s in scores["systems"]
    }
    if scores.get("shares", True):
        title = find_benchmark(scores["benchmark"]).title
        drawing = draw_scores([*map(title, names)], estimates, "score")
        if drawing:
            yield svg_figure(drawing, "Figures; bars are one standard error.")


def _provenance(evaluation: Evaluation) -> list[list[str]]:
    plan = {k: v for k, v in evaluation.plan.items() if k not in ("benchmark", "version", "order")}
    facts = [
        ("benchmark", evaluation.scores["benchmark"]),
        ("questions", evaluation.scores["version"]),
    ]
    return [
        [name, str(value)]
        for name, value in [*facts, *flatten(_with_titles(plan)), *flatten(evaluation.environment)]
    ]


def _with_titles(plan: Row) -> dict[str, Any]:
    """Return a plan, or the recipe in it, with systems by their titles."""
    titled = dict(plan)
    if isinstance(config := plan.get("config"), Mapping):
        titled["config"] = _with_titles(config)
    if isinstance(systems := plan.get("systems"), list):
        titled["systems"] = [title_of(system) for system in systems]
    return titled


def _title(evaluation: Evaluation) -> str:
    return f"Evaluation on {evaluation.scores['benchmark']}"


def _header(first: str, systems: Sequence[Row]) -> list[str]:
    return [first, *(title_of(s["system"]) for s in systems)]


def _score(estimate: Row | None, digits: int = 4) -> str:
    if not estimate:
        return "-"
    value, error = estimate["value"], estimate["standard_error"]
    return f"{value:.{digits}f} ± {error:.{digits}f}" if error else f"{value:.{digits}f}"


def _estimate(found: Row | None) -> Estimate | None:
    if not found:
        return None
    return Estimate(value=found["value"], standard_error=found["standard_error"])


def _rate(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} % ({part:,})" if whole else "-"
