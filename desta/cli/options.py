"""Arguments and options that several verbs share."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from desta.errors import ConfigError
from desta.paths import check_folder, check_output

log = logging.getLogger(__name__)


def _share(value: float) -> float:
    if not 0 <= value <= 1:  # nor is it NaN, which would tolerate all
        raise ConfigError(f"{value:g} is no share of recordings", fix="give a number from 0 to 1")
    return value


def new_file(value: Path | None) -> Path | None:
    """Check an option that names a file to write, before anything is read."""
    if value is not None:
        check_output(value)
    return value


def new_folder(value: Path | None) -> Path | None:
    """Check an option that names a folder to write into, before anything is read."""
    if value is not None:
        check_folder(value)
    return value


Recipe = Annotated[Path, typer.Argument(help="YAML recipe.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a recipe value; repeatable."),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Check the recipe, print it resolved, and stop.")
]
AllowMissing = Annotated[
    bool,
    typer.Option("--allow-missing", help="Score what was answered, where not everything was."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
Model = Annotated[str, typer.Option(help="Directory or Hub id of a trained model.")]
System = Annotated[
    str | None, typer.Option(help="System prompt; the one of the training data by default.")
]
Language = Annotated[
    str | None, typer.Option(help="What is spoken, for transcribing; Whisper finds out if unset.")
]
ReadAgain = Annotated[
    bool | None,
    typer.Option(
        "--read-again/--no-read-again",
        help="Transcribe once more, in pieces, where words seem to be missing; unless set, only "
        "in windows of true length.",
    ),
]
Quantize = Annotated[
    str | None,
    typer.Option(
        "--quantize", help="Load the backbone in int8 (or nf4 on a GPU); the connector stays."
    ),
]


def _renamed(value: str | None) -> str | None:
    if value is not None:
        log.warning("--quantise is now called --quantize")
    return value


Quantise = Annotated[str | None, typer.Option("--quantise", hidden=True, callback=_renamed)]
_COMPUTE = "Where to compute: auto (cuda, else mps, else cpu), cpu, cuda, cuda:1, ..."
Device = Annotated[str, typer.Option(help=_COMPUTE)]
RecipeDevice = Annotated[
    str | None, typer.Option("--device", help=f"{_COMPUTE}; as the recipe says by default.")
]
MaxBrokenShare = Annotated[
    float,
    typer.Option(callback=_share, help="Share of unreadable recordings that is tolerated."),
]
MaxSeconds = Annotated[
    float, typer.Option(help="Longest audio of a request, all its clips together, in seconds.")
]
MaxTokens = Annotated[int, typer.Option(help="Longest answer, in tokens.")]
Temperature = Annotated[float, typer.Option(help="0 is greedy.")]

R = TypeVar("R")


def with_engine_on(recipe: R, device: str | None) -> R:
    """Return a recipe whose engine computes on a device; None: as it says.

    Raises:
        ConfigError: its engine is not in this process.
    """
    if device is None:
        return recipe
    engine: Any = recipe.engine  # type: ignore[attr-defined]
    if engine.kind != "local":
        raise ConfigError(f"--device says nothing to the engine {engine.kind}", fix="leave it out")
    return replace(recipe, engine=replace(engine, device=device))  # type: ignore[type-var]


DEMO_RUN = "demo/run"
"""Where the demo leaves its model."""
