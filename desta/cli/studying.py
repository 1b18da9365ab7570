"""The verb that runs a study."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from desta.cli.app import app
from desta.cli.options import AsJson, Overrides, new_file, new_folder
from desta.cli.tables import print_rows
from desta.config import dump_recipe, to_plain
from desta.errors import ConfigError

if TYPE_CHECKING:
    from desta.studies.plan import Plan

_RECIPES = Path("recipes", "study")


def complete_study() -> list[str]:
    """Return the names of the studies, for the shell to complete."""
    from desta.studies.table import FAMILIES

    return sorted(FAMILIES)


@app.command()
def study(
    name: Annotated[
        str,
        typer.Argument(
            autocompletion=complete_study,
            help="targets, prompts, transcription, trainable, loss, backbone, window, "
            "target_layers, query_tokens or questions_per_clip.",
        ),
    ],
    recipe: Annotated[
        Path | None,
        typer.Option(
            help="YAML base recipe; by default NAME.yaml or base.yaml of the project's recipes."
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(help="Runs of every variant, with seeds from 0.")] = 3,
    out: Annotated[
        Path | None,
        typer.Option(callback=new_folder, help="Folder for all steps; studies/NAME by default."),
    ] = None,
    page: Annotated[
        Path | None,
        typer.Option(
            callback=new_file,
            help="Markdown page, with a drawing and an HTML page beside it; OUT/report.md by "
            "default.",
        ),
    ] = None,
    overrides: Overrides = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Print variants, budgets, commands and estimated time, and stop."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Train and compare variants of a recipe that differ in one thing; goes on where it stopped."""
    from desta.studies.plan import Plan
    from desta.studies.recipe import Base
    from desta.studies.table import find_family

    find_family(name)
    base = Base.load(recipe or _base_of(name), overrides or ())
    folder = out or Path("studies", name)
    plan = Plan.make(name, base, num_seeds=seeds, out=folder)
    if dry_run:
        _print_plan(plan, as_json)
        plan.check_files()
        return
    plan.check_files()
    folder.mkdir(parents=True, exist_ok=True)  # fails before anything is loaded
    plan.check_packages()
    from desta.reports.study import write_study_report
    from desta.studies.run import run_study

    findings = run_study(plan)
    written = write_study_report(findings, page or folder / "report.md")
    if as_json:
        typer.echo(json.dumps(findings.to_json(), ensure_ascii=False))
        return
    for path in written:
        typer.echo(path)


def _base_of(name: str) -> Path:
    """Return the recipe of a study in the folder of recipes: its own, or that of most."""
    found = [path for stem in (name, "base") if (path := _RECIPES / f"{stem}.yaml").is_file()]
    if not found:
        raise ConfigError(
            f"there is no base recipe in {_RECIPES} here", fix="give --recipe, a YAML file"
        )
    return found[0]


def _print_plan(plan: "Plan", as_json: bool) -> None:
    from desta.studies.forecast import forecast, pairs_of
    from desta.studies.measures import commands
    from desta.studies.plan import differences

    first = plan.variants[0]
    variants: list[dict[str, Any]] = [
        {"variant": v.name, "about": v.about, "differs": differences(v, first)}
        for v in plan.variants
    ]
    stages = {"first stage": plan.base.first, "training": plan.base.train}
    budget = {
        "pairs": plan.base.study.pairs,
        "seeds": plan.num_seeds,
        **{
            f"{stage}, {what}": count
            for stage, config in stages.items()
            if config is not None
            for what, count in (("steps", config.steps), ("pairs read", pairs_of(config)))
        },
    }
    expected = forecast(plan)
    lines = [*plan.commands(), *(command for command, _ in commands(plan).values())]
    if as_json:
        told = {"variants": variants, "budget": budget, "seconds_of_a_seed": to_plain(expected)}
        typer.echo(json.dumps({**told, "commands": lines}, ensure_ascii=False))
        return
    typer.echo(dump_recipe(plan.base.study))
    typer.echo(f"{plan.family.title}\n{plan.family.expected}\n")
    print_rows([{**row, "differs": _told(row["differs"])} for row in variants], as_json=False)
    typer.echo("\nbudget of every variant: " + ", ".join(f"{k} {v:,}" for k, v in budget.items()))
    typer.echo(_time(expected) + "\n")
    for line in lines:
        typer.echo(line)


def _told(values: dict[str, str]) -> str:
    return "; ".join(f"{key}: {value}" for key, value in values.items()) or "-"


def _time(expected: Any) -> str:
    """Return the sentence about the time of one seed of one variant."""
    parts = {name: getattr(expected, name) for name in ("write", "first", "train", "answer")}
    told = ", ".join(
        f"{name} {'unknown' if seconds is None else f'{seconds / 60:.0f} min'}"
        for name, seconds in parts.items()
    )
    measured = ", ".join(f"{name} {speed:g}/s" for name, speed in expected.measured.items())
    source = f"measured here: {measured}" if measured else "at the speed that the recipe states"
    return (
        f"one seed of one variant: about {expected.seconds / 60:.0f} min ({told}; {source}); "
        "responses are written once, and first stages shared, where recipes are the same"
    )
