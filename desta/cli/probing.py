"""The verb that ranks backbones before any audio exists."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from desta.cli.app import app
from desta.cli.options import (
    AsJson,
    DryRun,
    Overrides,
    RecipeDevice,
    new_file,
    new_folder,
    with_engine_on,
)
from desta.cli.tables import print_skipped
from desta.config import dump_recipe, load_recipe
from desta.errors import need

_WIDTH = 150
"""Least columns of the table, also where the screen is narrower: it is one row a backbone."""


@app.command()
def probe(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL...",
            help="Text models: directories, GGUF files or Hub ids; MODEL:int8 is quantized.",
        ),
    ],
    questions: Annotated[
        Path | None,
        typer.Option(
            help="JSON or JSONL file of other questions: rows of question, options and answer."
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(help="Ask this many questions only, drawn by their ids.")
    ] = None,
    descriptions: Annotated[
        int | None, typer.Option(help="Descriptions to respond to; by default 300.")
    ] = None,
    device: RecipeDevice = None,
    out: Annotated[
        Path, typer.Option(callback=new_folder, help="Folder for answers and results.")
    ] = Path("probe"),
    report: Annotated[
        Path | None, typer.Option(callback=new_file, help="Also write an HTML page.")
    ] = None,
    retry: Annotated[bool, typer.Option("--retry", help="Retry items without an answer.")] = False,
    overrides: Overrides = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Rank text models as backbones by what they make of descriptions of sound."""
    from desta.evaluation.probing.recipe import ProbeRecipe

    given = {
        "models": json.dumps(models),
        "questions": questions and json.dumps(str(questions)),
        "limit": limit,
        "descriptions": descriptions,
    }
    changes = [f"{key}={value}" for key, value in given.items() if value is not None]
    recipe = with_engine_on(load_recipe(None, ProbeRecipe, [*changes, *(overrides or ())]), device)
    if dry_run:
        typer.echo(dump_recipe(recipe))
        return
    if report:  # better now than after hours
        need("matplotlib", extra="eval", to="draw a report")
    from desta.evaluation.probing.run import probe as run

    found = run(recipe, out, retry=retry)
    if report:
        from desta.reports.probe import write_probe_report

        write_probe_report(out, report)
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False))
    else:
        _print(found)


def _print(found: Mapping[str, Any]) -> None:
    from desta.reports.probe import rank_sentences, rank_table

    header, rows = rank_table(found)
    console = Console()
    console.print(escape(f"{found['questions']}; shares in percent, ± one standard error"))
    table = Table(box=None, header_style="bold")
    for name in header:
        table.add_column(escape(name), no_wrap=True, justify="left" if name == "model" else "right")
    for row in rows:
        table.add_row(*map(escape, row))
    console.width = max(console.width, _WIDTH)
    console.print(table)
    for sentence in rank_sentences(found):
        console.print(escape(sentence), soft_wrap=True, highlight=False)
    for row in found["models"]:
        print_skipped(row["unanswered"], what=f"{row['model']}: no answer, counted as wrong")
        print_skipped(row["responses"]["dropped"], what=f"{row['model']}: dropped")
