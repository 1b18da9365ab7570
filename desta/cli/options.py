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
        raise ConfigError(
            f"{value:g} is not a share of recordings", fix="give a number from 0 to 1"
        )
    return value


def _seed(value: int) -> int:
    if not 0 <= value < 2**63:
        raise ConfigError(f"{value} is not a seed", fix="give 0 or more, below 2**63")
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


def complete_benchmark() -> list[str]:
    """Return the names of the benchmarks, for the shell to complete."""
    from desta.evaluation.benchmarks.table import BENCHMARKS

    return sorted(BENCHMARKS)


def complete_published(ctx: typer.Context) -> list[str]:
    """Return the names of the benchmarks with published results files, unless a word is there."""
    from desta.evaluation.published import FORMS

    return [] if ctx.params.get("what") else sorted(FORMS)


def complete_source() -> list[str]:
    """Return the names of the corpora, for the shell to complete."""
    from desta.sources import SOURCES

    return sorted(SOURCES)


def renamed(old: str, new: str) -> Any:
    """Return an option under its old name: hidden, and with a warning that names the new one."""

    def warn(value: Any) -> Any:
        if value is not None:
            log.warning("%s is now called %s", old, new)
        return value

    return typer.Option(old, hidden=True, callback=warn)


def one_of(new: str, value: str | None, old: str, old_value: str | None) -> str | None:
    """Return the value of an option that is given under its name or under the old one.

    Raises:
        ConfigError: it is given under both.
    """
    if value is not None and old_value is not None:
        raise ConfigError(f"{old} and {new} are the same option", fix=f"leave {old} out")
    return value if value is not None else old_value


Recipe = Annotated[Path, typer.Argument(help="YAML recipe.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a value of the recipe; repeatable."),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Check the recipe, print it resolved, and stop.")
]
AllowMissing = Annotated[
    bool,
    typer.Option("--allow-missing", help="Score the items with an answer if some have none."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Model = Annotated[str, typer.Option(help="Directory or Hub id of a trained model.")]
SystemPrompt = Annotated[
    str | None, typer.Option(help="System prompt; by default that of the training data.")
]
Language = Annotated[
    str | None, typer.Option(help="Spoken language, for Whisper; by default it is detected.")
]
ReadAgain = Annotated[
    bool | None,
    typer.Option(
        "--read-again/--no-read-again",
        help="Transcribe a clip again in pieces where words seem to be missing; by default only "
        "with `window: tight`.",
    ),
]
Quantize = Annotated[
    str | None,
    typer.Option("--quantize", metavar="int8|nf4", help="Quantize the backbone; nf4 needs a GPU."),
]
Quantise = Annotated[str | None, renamed("--quantise", "--quantize")]
_DEVICES = "Device: auto (cuda, else mps, else cpu), cpu, cuda, cuda:1, ..."
Device = Annotated[str, typer.Option(help=_DEVICES)]
RecipeDevice = Annotated[
    str | None, typer.Option("--device", help=f"{_DEVICES}; by default that of the recipe.")
]
MaxBrokenShare = Annotated[
    float,
    typer.Option(callback=_share, help="Share of recordings that may be unreadable, 0 to 1."),
]
MaxSeconds = Annotated[
    float, typer.Option(help="Maximum audio of a request, all clips together, in seconds.")
]
MaxTokens = Annotated[int, typer.Option(help="Maximum length of an answer, in tokens.")]
Temperature = Annotated[float, typer.Option(help="Sampling temperature; 0 is greedy.")]
TopP = Annotated[float, typer.Option(help="Share of the probability mass to sample from.")]
Stop = Annotated[
    list[str] | None,
    typer.Option(metavar="TEXT", help="Text that ends an answer; repeatable."),
]
Seed = Annotated[int, typer.Option(callback=_seed, help="Random seed for sampling, 0 or more.")]

R = TypeVar("R")


def with_engine_on(recipe: R, device: str | None) -> R:
    """Return a recipe whose engine computes on a device; None leaves it as it is.

    Raises:
        ConfigError: its engine is not in this process.
    """
    if device is None:
        return recipe
    engine: Any = recipe.engine  # type: ignore[attr-defined]
    if engine.kind != "local":
        raise ConfigError(
            f"--device cannot be used with the engine {engine.kind}", fix="leave it out"
        )
    return replace(recipe, engine=replace(engine, device=device))  # type: ignore[type-var]
