"""Arguments and options that several verbs share."""

from pathlib import Path
from typing import Annotated

import typer

from desta.errors import ConfigError


def _share(value: float) -> float:
    if not 0 <= value <= 1:  # nor is it NaN, which would tolerate all
        raise ConfigError(f"{value:g} is no share of recordings", fix="give a number from 0 to 1")
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
Quantise = Annotated[
    str | None,
    typer.Option(
        "--quantise", help="Load the backbone in int8 (or nf4 on a GPU); the connector stays."
    ),
]
Device = Annotated[str, typer.Option(help="Where to compute: cpu, cuda, cuda:1, ...")]
MaxBrokenShare = Annotated[
    float,
    typer.Option(callback=_share, help="Share of unreadable recordings that is tolerated."),
]
MaxSeconds = Annotated[
    float, typer.Option(help="Longest audio of a request, all its clips together, in seconds.")
]
MaxTokens = Annotated[int, typer.Option(help="Longest answer, in tokens.")]
Temperature = Annotated[float, typer.Option(help="0 is greedy.")]

DEMO_RUN = "demo/run"
"""Where `make demo` leaves its model."""
