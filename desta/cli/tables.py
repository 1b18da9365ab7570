"""Output of commands: tables for people, JSON for machines."""

import json
from collections.abc import Mapping
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

_NAME_WIDTH = 30
_FIGURE_WIDTH = 17


def print_rows(rows: list[dict[str, Any]], as_json: bool) -> None:
    """Print rows that share their keys."""
    if as_json:
        typer.echo(json.dumps(rows, ensure_ascii=False))
        return
    table = Table(box=None, header_style="bold")
    for number, name in enumerate(rows[0]):
        table.add_column(name, no_wrap=not number, overflow="fold")
    for row in rows:
        table.add_row(*(escape(str(value)) for value in row.values()))
    Console().print(table)


def print_skipped(rows: list[dict[str, Any]], *, what: str = "left out because") -> None:
    """Print what was left out: reason, count, example; `what` heads the reasons."""
    if not rows:
        return
    table = Table("count", what, box=None, header_style="dim")
    table.add_column("example", overflow="fold")  # never cut: it is there to be looked up
    for row in sorted(rows, key=lambda r: -r["count"]):
        table.add_row(str(row["count"]), escape(row["reason"]), escape(str(row["example"])))
    Console().print(table)


def print_scores(scores: dict[str, Any], as_json: bool) -> None:
    """Print the figures of an evaluation, a column for each system."""
    if as_json:
        typer.echo(json.dumps(scores, ensure_ascii=False))
        return
    from desta.evaluation.baselines import title_of
    from desta.evaluation.benchmarks.table import find_benchmark
    from desta.reports.evaluation import counts_of, exceptions, rule_of

    benchmark = find_benchmark(scores["benchmark"])
    systems, shares = scores["systems"], scores["shares"]
    console = Console()
    if scores["verdict"]:
        console.print(escape(scores["verdict"]["sentence"]), soft_wrap=True, highlight=False)
    title = f"{scores['benchmark']}, {scores['version']}"
    table = Table(box=None, header_style="bold")
    table.add_column(escape(title), min_width=_NAME_WIDTH)
    for row in systems:
        table.add_column(title_of(row["system"]), no_wrap=True, justify="right")
    table.add_column("scored / all", justify="right")
    table.add_column("rule")
    for name in dict.fromkeys(name for s in systems for name in s["headline"]):
        figures = {s["system"]: s["headline"].get(name) for s in systems}
        values = (_figure(figure, shares) for figure in figures.values())
        table.add_row(
            escape(benchmark.title(name)),
            *values,
            escape(counts_of(figures)),
            rule_of(scores, figures.values()),
        )
    for more in benchmark.detail_rows(scores) if benchmark.detail_rows else ():
        cells = {s["system"]: more.cells.get(s["system"]) for s in systems}
        figures = {name: cell for name, cell in cells.items() if isinstance(cell, Mapping)}
        values = (c if isinstance(c, str) else _figure(c, shares) for c in cells.values())
        table.add_row(escape(more.name), *values, escape(counts_of(figures)), more.rule)
    table.add_row("items", *(str(s["num_items"]) for s in systems))
    console.width = max(console.width, _NAME_WIDTH + _FIGURE_WIDTH * (2 + len(systems)))
    console.print(table)
    for row in systems:
        if row["withheld"]:
            lost = f"{row['num_skipped']} of {row['num_items']} items have no answer"
            rest = " (--allow-missing scores the rest)"
            hint = rest if row["num_skipped"] < row["num_items"] else ""
            console.print(escape(f"{title_of(row['system'])}: no score, {lost}{hint}"))
    _print_exceptions(exceptions(scores))


def _print_exceptions(rows: list[dict[str, Any]]) -> None:
    if not rows:
        return
    table = Table("count", "noted", box=None, header_style="dim")
    table.add_column("left out of", overflow="fold")
    table.add_column("example", overflow="fold")
    for row in sorted(rows, key=lambda r: -r["count"]):
        told = f"{row['system']}: {row['reason']}", row["left_out_of"], str(row["example"])
        table.add_row(f"{row['count']:,}", *map(escape, told))
    Console().print(table)


def _figure(estimate: Mapping[str, Any] | None, shares: bool) -> str:
    if not estimate or "value" not in estimate:
        return "-"
    value, error = estimate["value"], estimate["standard_error"]
    if not shares:  # they count to 5 or to 100
        return f"{value:.2f} ± {error:.2f}"
    return f"{100 * value:.2f} ± {100 * error:.2f}%"
