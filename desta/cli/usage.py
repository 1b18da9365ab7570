"""The order of the verbs in the help, and the errors of a command line that cannot be read."""

import contextlib
import difflib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup

from desta.errors import ConfigError

F = TypeVar("F", bound=Callable[..., Any])

STAGES = {
    "Start": ("demo",),
    "Build": ("sources", "render", "describe", "measure", "decontaminate", "construct", "export"),
    "Train": ("models", "probe", "train"),
    "Ask": ("ask", "chat", "answer", "serve"),
    "Evaluate": ("benchmarks", "eval", "merge", "score", "compare", "study"),
    "Inspect": ("inspect", "report"),
}
"""Stage of the work -> its verbs, in the order in which `desta --help` lists them."""

UsageError: type[typer.BadParameter] = typer.BadParameter.__bases__[0]
"""Typer's error for a command line that cannot be read; it has no public name there."""


@contextlib.contextmanager
def _errors_of(ctx: Any) -> Iterator[None]:
    """Add the command to an error that lacks it, such as that of an option without its value."""
    try:
        yield
    except UsageError as error:
        error.ctx = error.ctx or ctx
        raise


class Verb(TyperCommand):
    """A command whose help shows no type of a flag and no braces around arguments."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters, each under the name that its help shows."""
        return _named(super().get_params(ctx))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Return the words that are left once options and arguments are read."""
        with _errors_of(ctx):
            return super().parse_args(ctx, args)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return the words behind the name of the command in its usage."""
        arguments = [p for p in self.get_params(ctx) if p.param_type_name == "argument"]
        names = (p.metavar if p.required else f"[{p.metavar}]" for p in arguments)
        return ["[OPTIONS]", *names]


class CommandGroup(TyperGroup):
    """Commands of a group; for an unknown one the error names the nearest."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the options, each under the name that its help shows."""
        return _named(super().get_params(ctx))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Return the words that are left once options and arguments are read."""
        with _errors_of(ctx):
            return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return name, command and remaining words.

        Raises:
            ConfigError: there is no such command.
        """
        word, here = args[0], ctx.command_path
        if word in self.commands or word.startswith("-"):
            return super().resolve_command(ctx, args)
        if near := nearest(word, self.commands):
            fix = f"did you mean `{here} {near}`?"
        elif "show" in self.commands:
            fix = f"`{here} show {word}` if that is a name; `{here} list` lists them"
        else:
            fix = f"`{here} --help` lists the commands"
        raise ConfigError(f"there is no command `{here} {word}`", fix=fix)


class Program(CommandGroup):
    """The program itself, whose verbs stand in the order of the stages."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of the verbs."""
        return [verb for verbs in STAGES.values() for verb in verbs]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a verb, put under its stage."""
        command: Any = super().get_command(ctx, cmd_name)
        for stage, verbs in STAGES.items():
            if command is not None and cmd_name in verbs:
                command.rich_help_panel = stage
        return command


class App(typer.Typer):
    """A program or group whose commands are `Verb`s."""

    def command(self, name: str | None = None, **options: Any) -> Callable[[F], F]:
        """Register the function below as a command."""
        return super().command(name, cls=Verb, **options)


def as_error(error: Any) -> ConfigError:
    """Return a usage error of typer as an error of ours."""
    message = " ".join(error.format_message().split()).rstrip(".")
    message = f"{message[:1].lower()}{message[1:]}"
    here = error.ctx.command_path
    if not hasattr(error, "possibilities"):
        usage = " ".join(error.ctx.get_usage().split()).removeprefix("Usage: ")
        return ConfigError(message, fix=f"{usage}; see `{here} --help`")
    options = [
        option
        for parameter in error.ctx.command.params
        if parameter.param_type_name == "option" and not parameter.hidden
        for option in (*parameter.opts, *parameter.secondary_opts)
    ]
    near = nearest(error.option_name, options)
    fix = f"did you mean {near}?" if near else f"`{here} --help` lists the options"
    return ConfigError(f"there is no option {error.option_name}", fix=fix)


def nearest(word: str, names: Iterable[str]) -> str | None:
    """Return the name that a mistyped or abbreviated word stands for; None if none is close."""
    names = list(names)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.75)
    parts = [name for name in names if name.startswith(word) or word.startswith(name)]
    return next(iter(close or parts), None)


def _named(parameters: list[Any]) -> list[Any]:
    for parameter in parameters:
        if parameter.param_type_name == "argument":
            name = parameter.name.upper() + ("..." if parameter.nargs != 1 else "")
            parameter.metavar = parameter.metavar or name
            parameter.display_type_rich = lambda ctx: None  # no <list[str]> beside it
        elif parameter.is_flag:
            parameter.metavar = ""
    return parameters
