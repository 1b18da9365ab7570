"""Commands that evaluate a model, and the demo that uses them all."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from desta.cli.app import app
from desta.cli.options import (
    AllowMissing,
    AsJson,
    DryRun,
    Overrides,
    RecipeDevice,
    complete_benchmark,
    new_folder,
)
from desta.cli.tables import print_scores
from desta.config import dump_recipe
from desta.errors import ConfigError

if TYPE_CHECKING:
    from desta.evaluation.journal import Shard


@app.command("eval")
def evaluate(
    benchmark: Annotated[
        str,
        typer.Argument(
            autocompletion=complete_benchmark,
            help="Name of a benchmark; `desta benchmarks` lists them.",
        ),
    ],
    recipe: Annotated[Path | None, typer.Option(help="YAML recipe.")] = None,
    data: Annotated[
        str | None, typer.Option(help="Folder or file of the benchmark, or its id on the Hub.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Directory or Hub id of a model.")] = None,
    backbone: Annotated[
        str | None,
        typer.Option(help="Text model for the baselines, instead of the model's own backbone."),
    ] = None,
    system: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="System to evaluate: model, oracle, ...; repeatable."),
    ] = None,
    device: RecipeDevice = None,
    limit: Annotated[
        int | None, typer.Option(help="Evaluate this many items only, drawn by their ids.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            callback=new_folder,
            help="Folder for results; by default MODEL/eval/BENCHMARK, or ./eval/BENCHMARK where "
            "MODEL is no folder.",
        ),
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option(metavar="K/N", help="Answer part K (from 0) of N; then `desta merge`."),
    ] = None,
    allow_missing: AllowMissing = False,
    retry: Annotated[
        bool,
        typer.Option("--retry", help="Retry items without an answer."),
    ] = False,
    overrides: Overrides = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Evaluate a model and its baselines on a benchmark."""
    from desta.evaluation.benchmarks.table import find_benchmark
    from desta.evaluation.recipe import BenchmarkFiles, load_eval_recipe, resolve_recipe

    asked = find_benchmark(benchmark)
    overriding = []
    for option, key, value in (
        ("--data", "data.path", data),
        ("--model", "model", model),
        ("--backbone", "backbone", backbone),
        ("--system", "systems", system or None),
        ("--device", "device", device),
        ("--limit", "limit", limit),
    ):
        if value is None:
            continue
        if not asked.takes(key):
            raise ConfigError(
                f"{option} cannot be used with the benchmark {benchmark}",
                fix=f"leave it out; `desta benchmarks show {benchmark}` says what its data are",
            )
        overriding.append(f"{key}={json.dumps(value)}")
    overriding += overrides or ()
    named = any(change.startswith(("data.", "data=")) for change in overriding)
    if recipe is None and asked.data is BenchmarkFiles and not named:
        raise ConfigError(
            f"the data of {benchmark} are not given",
            fix=f"give --data, or a --recipe; `desta benchmarks show {benchmark}` says what it is",
        )
    config = resolve_recipe(load_eval_recipe(recipe, asked.data, overriding), asked)
    part = _shard(shard)
    if dry_run:
        typer.echo(dump_recipe(config))
        return
    from desta.api import evaluate as run

    folder = out or _inside(config.model, benchmark)
    scores = run(benchmark, config, folder, shard=part, allow_missing=allow_missing, retry=retry)
    if scores is None:
        typer.echo(f"{folder}: part {shard} is done; `desta merge {folder}` when all are")
        return
    if asked.check is not None and not as_json:
        typer.echo(f"{folder}: {asked.check.sentence(scores)}")
    else:
        print_scores(dict(scores), as_json)


@app.command("merge")
def merge(
    folders: Annotated[list[Path], typer.Argument(help="Folders of the parts of `--shard`.")],
    allow_missing: AllowMissing = False,
    as_json: AsJson = False,
) -> None:
    """Join the parts of an evaluation into the results of one run, in the first folder."""
    from desta.evaluation.merge import merge as run
    from desta.evaluation.scores import score_folder as rate

    run(folders)
    print_scores(rate(folders[0], allow_missing=allow_missing), as_json)


def _shard(text: str | None) -> "Shard | None":
    from desta.evaluation.journal import Shard

    if text is None:
        return None
    number, slash, count = text.partition("/")
    if not (slash and number.isdigit() and count.isdigit() and int(number) < int(count)):
        raise ConfigError(
            f"--shard {text} is no part of a whole", fix="give K/N with K from 0 to N - 1"
        )
    return Shard(number=int(number), count=int(count))


def _inside(model: str | Path | None, benchmark: str) -> Path:
    """Return where results go: into the model's folder, where there is one."""
    here = Path(model) if model is not None and Path(model).is_dir() else Path()
    return here / "eval" / benchmark


@app.command()
def demo(
    corpora: Annotated[
        Path | None, typer.Option(help="Unpacked corpora, where packages cannot be fetched.")
    ] = None,
) -> None:
    """Run the whole loop on real recordings with small real models; everything goes to demo/."""
    from desta.demo import run_demo

    run_demo(corpora)
