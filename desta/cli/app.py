"""The program: its groups of verbs, and what happens before every one of them."""

import logging
import sys
from typing import Annotated

import typer

from desta.version import __version__

app = typer.Typer(
    name="desta",
    help="Build, train, run and evaluate audio-language models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
sources_app = typer.Typer(help="Corpora that are known by name; lists them.")
benchmarks_app = typer.Typer(help="Benchmarks of `desta eval`; lists them.")
models_app = typer.Typer(help="Encoders, backbones and trained models.", no_args_is_help=True)
app.add_typer(sources_app, name="sources")
app.add_typer(benchmarks_app, name="benchmarks")
app.add_typer(models_app, name="models")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _setup(
    version: Annotated[  # eager: it is answered before a verb is missed
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_print_version, help="Print the version."
        ),
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say more.")] = False,
) -> None:
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.INFO,
        format="%(message)s",
        stream=sys.stderr,
    )
    for noisy in ("httpx", "httpx2", "urllib3", "filelock", "fsspec", "datasets"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    logging.getLogger("huggingface_hub").propagate = False  # it prints by itself, too
