"""What commands print: tables for people, JSON for machines."""

import json
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table


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
    table = Table("count", what, "example", box=None, header_style="dim")
    for row in sorted(rows, key=lambda r: -r["count"]):
        table.add_row(str(row["count"]), escape(row["reason"]), escape(str(row["example"])))
    Console().print(table)


def print_scores(scores: dict[str, Any], as_json: bool) -> None:
    """Print the cells of an evaluation."""
    if as_json:
        typer.echo(json.dumps(scores, ensure_ascii=False))
        return
    table = Table("what", "clips", "who", "balanced accuracy", "n", box=None, header_style="bold")
    for cell in scores["scores"]:
        estimate = cell.get("balanced_accuracy")
        table.add_row(
            cell["task"],
            cell["group"],
            cell["system"],
            f"{estimate['value']:.1%} ± {estimate['standard_error']:.1%}" if estimate else "-",
            str(cell.get("num_examples", "")),
        )
    Console().print(table)
