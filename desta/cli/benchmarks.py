"""The verbs that list the benchmarks and show what each needs."""

import json
from typing import Annotated

import typer

from desta.cli.app import benchmarks_app
from desta.cli.options import AsJson, complete_benchmark
from desta.cli.tables import print_rows
from desta.errors import ConfigError


@benchmarks_app.callback(invoke_without_command=True)
def benchmarks(context: typer.Context, as_json: AsJson = False) -> None:
    """List and show the benchmarks of `desta eval`."""
    verb = context.invoked_subcommand
    if verb is None:
        benchmarks_list(as_json)
    elif as_json:
        raise ConfigError("--json belongs after the verb", fix=f"desta benchmarks {verb} --json")


@benchmarks_app.command("list")
def benchmarks_list(as_json: AsJson = False) -> None:
    """List the benchmarks of `desta eval`."""
    from desta.evaluation.benchmarks.table import BENCHMARKS, find_about

    rows = [find_about(name) for name in sorted(BENCHMARKS)]
    if not as_json:
        rows = [{key: row[key] for key in ("name", "title")} for row in rows]
    print_rows(rows, as_json)


@benchmarks_app.command("show")
def benchmarks_show(
    name: Annotated[
        str,
        typer.Argument(
            autocompletion=complete_benchmark, help="Name from `desta benchmarks list`."
        ),
    ],
    as_json: AsJson = False,
) -> None:
    """Show what a benchmark needs, what it reports, and its licence."""
    from desta.evaluation.benchmarks.table import find_about

    facts = find_about(name)
    if as_json:
        typer.echo(json.dumps(facts, ensure_ascii=False))
        return
    for key, value in facts.items():
        typer.echo(f"{key:<10} {value}")
