"""Verbs that measure a model, and the demo that uses them all."""

import json
from pathlib import Path
from typing import Annotated

import typer

from desta.cli.app import app
from desta.cli.options import AsJson, DryRun, Overrides
from desta.cli.tables import print_scores
from desta.config import dump_recipe, load_recipe, suggest
from desta.errors import ConfigError


@app.command("eval")
def evaluate(
    benchmark: Annotated[str, typer.Argument(help="Name of a benchmark: attributes or text.")],
    recipe: Annotated[Path, typer.Option(help="YAML recipe.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder for results; inside the model's by default.")
    ] = None,
    overrides: Overrides = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Ask a model the questions of a benchmark and score its answers."""
    from desta.evaluation.attributes import EvalConfig
    from desta.evaluation.text import TextConfig

    kinds: dict[str, type[EvalConfig] | type[TextConfig]] = {
        "attributes": EvalConfig,
        "text": TextConfig,
    }
    if benchmark not in kinds:
        raise ConfigError(f'unknown benchmark "{benchmark}"', fix=suggest(benchmark, list(kinds)))
    config = load_recipe(recipe, kinds[benchmark], overrides or ())
    if dry_run:
        typer.echo(dump_recipe(config))
        return
    from desta.evaluation.runner import evaluate as run
    from desta.evaluation.text import evaluate_text
    from desta.inference.engine import Engine

    engine = Engine.load(config.model)
    folder = out or config.model / "eval" / benchmark
    if isinstance(config, TextConfig):
        found = evaluate_text(config, engine, folder)
        typer.echo(
            json.dumps(found, ensure_ascii=False)
            if as_json
            else f"{folder}: {found['equal']} of {found['total']} answers equal the bare backbone's"
        )
        return
    print_scores(run(config, engine, folder), as_json)


@app.command()
def score(
    results: Annotated[Path, typer.Argument(help="results.jsonl of an evaluation.")],
    as_json: AsJson = False,
) -> None:
    """Score stored answers again, without the model."""
    from desta.evaluation.scores import score as run

    print_scores(run(results), as_json)


@app.command()
def demo(
    corpora: Annotated[
        Path | None, typer.Option(help="Unpacked corpora, where packages cannot be fetched.")
    ] = None,
) -> None:
    """Run the whole loop on real recordings with small real models; everything goes to demo/."""
    from desta.demo import run_demo

    run_demo(corpora)
