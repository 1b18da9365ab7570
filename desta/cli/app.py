"""The program, its groups of verbs, and what happens before every one of them."""

import logging
import sys
from typing import Annotated

import typer

from desta.cli.usage import App, CommandGroup, Program
from desta.version import __version__

app = App(
    name="desta",
    cls=Program,
    help="Build, train, run and evaluate audio-language models.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
sources_app = App(cls=CommandGroup, help="List, show and fetch the corpora known by name.")
render_app = App(cls=CommandGroup, help="Render clips of speech and music.", no_args_is_help=True)
benchmarks_app = App(cls=CommandGroup, help="List and show the benchmarks of `desta eval`.")
models_app = App(
    cls=CommandGroup, help="List, fetch, verify and plan models.", no_args_is_help=True
)
app.add_typer(sources_app, name="sources")
app.add_typer(render_app, name="render")
app.add_typer(benchmarks_app, name="benchmarks")
app.add_typer(models_app, name="models")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _setup(
    version: Annotated[  # eager: it needs no verb
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_print_version, help="Print the version."
        ),
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Verbose logging.")] = False,
) -> None:
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.INFO,
        format="%(message)s",
        stream=sys.stderr,
    )
    for noisy in ("httpx", "httpx2", "urllib3", "filelock", "fsspec", "datasets"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    logging.getLogger("huggingface_hub").propagate = False  # it prints by itself, too
