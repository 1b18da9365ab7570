"""The verb that talks with a model over several turns."""

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from desta.cli.app import app
from desta.cli.asking import Setup, check_readable
from desta.cli.options import (
    DEMO_RUN,
    Device,
    Language,
    MaxSeconds,
    MaxTokens,
    Model,
    Quantise,
    Quantize,
    ReadAgain,
    SystemPrompt,
    Temperature,
    one_of,
)
from desta.errors import DestaError
from desta.isolation import error_of

if TYPE_CHECKING:
    from desta.inference.conversation import Conversation

_HELP = """\
/add PATH   add a clip: the next question is about it, too
/help       list the commands
/quit       end, as Ctrl-D and /exit do
Ctrl-C      stop an answer; the clips stay for the next question"""


@app.command()
def chat(
    clips: Annotated[
        list[str] | None,
        typer.Argument(metavar="AUDIO...", help="Audio files that the first question is about."),
    ] = None,
    model: Model = DEMO_RUN,
    system: SystemPrompt = None,
    language: Language = None,
    quantize: Quantize = None,
    read_again: ReadAgain = None,
    quantise: Quantise = None,
    device: Device = "auto",
    max_seconds: MaxSeconds = 3600.0,
    max_tokens: MaxTokens = 256,
    temperature: Temperature = 0.0,
) -> None:
    """Talk about clips over several turns; `/help` lists the commands."""
    waiting = list(clips or ())
    check_readable(waiting)
    conversation = Setup(
        model=model,
        system=system,
        language=language,
        quantize=one_of("--quantize", quantize, "--quantise", quantise),
        read_again=read_again,
        device=device,
        max_seconds=max_seconds,
        max_tokens=max_tokens,
        temperature=temperature,
    ).conversation()
    while True:
        try:
            line = input("> ").strip()
        except (EOFError, KeyboardInterrupt):
            typer.echo()  # the shell's prompt begins a line of its own
            return
        if line in ("/quit", "/exit"):
            return
        if line.startswith("/"):
            _command(line, waiting)
        elif line:
            waiting = _turn(conversation, line, waiting)


def _command(line: str, waiting: list[str]) -> None:
    """Run a command of the conversation; `/add` adds to the clips that wait for a question."""
    command, _, path = line.partition(" ")
    if command == "/help":
        typer.echo(_HELP)
    elif command != "/add":
        typer.echo(f"error: {command} is no command\n  fix: /help lists them", err=True)
    elif not path:
        typer.echo("error: /add names no clip\n  fix: /add PATH", err=True)
    else:
        clip = path.strip()
        with contextlib.suppress(RuntimeError):  # ~NAME of nobody here: a name like any other
            clip = str(Path(clip).expanduser())
        try:
            check_readable([clip])
        except DestaError as error:
            typer.echo(f"error: {error}", err=True)
        else:
            waiting.append(clip)


def _turn(conversation: "Conversation", question: str, clips: list[str]) -> list[str]:
    """Ask and print the answer as it comes; return the clips that still wait for a question."""
    try:
        for piece in conversation.ask(question, clips):
            typer.echo(piece, nl=False)
        typer.echo()
    except Exception as error:  # one bad turn does not end the conversation
        typer.echo(f"error: {error_of(error, 'the turn')}", err=True)
        if clips:
            typer.echo(f"left out: {', '.join(clips)}", err=True)
    except KeyboardInterrupt:
        typer.echo("\nstopped; that question counts as never asked", err=True)
        return clips
    return []
