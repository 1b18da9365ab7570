"""Verbs that measure a model, and the demo that uses them all."""

import dataclasses
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from desta.cli.app import app
from desta.cli.options import (
    AllowMissing,
    AsJson,
    DryRun,
    Overrides,
    RecipeDevice,
    new_folder,
)
from desta.cli.tables import print_scores
from desta.config import dump_recipe, load_recipe
from desta.errors import ConfigError

if TYPE_CHECKING:
    from desta.evaluation.benchmarks.text import TextConfig


@app.command("eval")
def evaluate(
    benchmark: Annotated[
        str, typer.Argument(help="Name of a benchmark; `desta benchmarks` lists them.")
    ],
    recipe: Annotated[Path | None, typer.Option(help="YAML recipe.")] = None,
    data: Annotated[
        str | None, typer.Option(help="Folder or file of the benchmark, or its id on the Hub.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Directory or Hub id of a model.")] = None,
    backbone: Annotated[
        str | None, typer.Option(help="Backbone that reads in place of the model's own.")
    ] = None,
    system: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Who answers: model, oracle, ...; repeatable."),
    ] = None,
    device: RecipeDevice = None,
    limit: Annotated[int | None, typer.Option(help="Draw this many items, to try it.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            callback=new_folder, help="Folder for results; MODEL/eval/BENCHMARK by default."
        ),
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option(metavar="K/N", help="Answer the part K, from 0, of N; then `desta merge`."),
    ] = None,
    allow_missing: AllowMissing = False,
    retry: Annotated[
        bool,
        typer.Option("--retry", help="Ask again what has no answer, once its clip is mended."),
    ] = False,
    overrides: Overrides = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Ask a model and its baselines the questions of a benchmark, and score their answers."""
    from desta.evaluation.catalogue import find_about

    given = {
        "data": data,
        "model": model,
        "backbone": backbone,
        "systems": system or None,
        "device": device,
        "limit": limit,
    }
    changes = {name: value for name, value in given.items() if value is not None}
    find_about(benchmark)
    if benchmark == "text":
        from desta.evaluation.benchmarks.text import TextConfig

        journal = {"shard": shard, "allow_missing": allow_missing, "retry": retry}
        _check_options(benchmark, TextConfig, [*changes, *(k for k, v in journal.items() if v)])
        text = load_recipe(recipe, TextConfig, _overriding(changes, overrides))
        _evaluate_text(text, out, dry_run=dry_run, as_json=as_json)
        return
    from desta.evaluation.benchmarks.table import find_benchmark
    from desta.evaluation.recipe import SuiteRecipe

    asked = find_benchmark(benchmark)
    _check_options(benchmark, asked.recipe, changes)
    overriding = _overriding(changes, overrides)
    names = {change.partition("=")[0] for change in overriding}
    if recipe is None and asked.recipe is SuiteRecipe and "data" not in names:
        raise ConfigError(
            f"the data of {benchmark} are not given",
            fix=f"give --data, or a --recipe; `desta benchmarks show {benchmark}` says what it is",
        )
    config = load_recipe(recipe, asked.recipe, overriding)
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
    print_scores(dict(scores), as_json)


@app.command("merge")
def merge(
    folders: Annotated[list[Path], typer.Argument(help="Where the parts of `--shard` wrote.")],
    allow_missing: AllowMissing = False,
    as_json: AsJson = False,
) -> None:
    """Join the parts of an evaluation into the results of one run, in the first folder."""
    from desta.evaluation.merge import merge as run
    from desta.evaluation.scores import score as rate

    run(folders)
    print_scores(rate(folders[0], allow_missing=allow_missing), as_json)


def _check_options(benchmark: str, recipe: type[Any], names: Iterable[str]) -> None:
    """Refuse options that the recipe of a benchmark has no key for."""
    keys = {field.name for field in dataclasses.fields(recipe)}
    for name in names:
        if name not in keys:
            option = {"systems": "system"}.get(name, name).replace("_", "-")
            raise ConfigError(
                f"--{option} says nothing to the benchmark {benchmark}",
                fix=f"leave it out; its recipe has {', '.join(sorted(keys))}",
            )


def _overriding(changes: Mapping[str, Any], overrides: list[str] | None) -> list[str]:
    return [*(f"{key}={json.dumps(value)}" for key, value in changes.items()), *(overrides or ())]


def _evaluate_text(config: "TextConfig", out: Path | None, *, dry_run: bool, as_json: bool) -> None:
    if dry_run:
        typer.echo(dump_recipe(config))
        return
    from desta.evaluation.benchmarks.text import evaluate_text
    from desta.inference.engine import Engine, Limits

    folder = out or config.model / "eval" / "text"
    # In bfloat16 a prompt that is read in two pieces rounds differently, and ties fall otherwise.
    limits = Limits(prefix_cache_bytes=0)
    engine = Engine.load(config.model, device=config.device, limits=limits)
    found = evaluate_text(config, engine, folder)
    typer.echo(
        json.dumps(found, ensure_ascii=False)
        if as_json
        else f"{folder}: {found['equal']} of {found['total']} answers equal the bare backbone's"
    )


def _shard(text: str | None) -> Any:
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
