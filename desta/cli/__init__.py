"""The command line: a function per verb, heavy imports inside, errors handled here once."""

import contextlib
import errno
import io
import json
import os
import sys
import time
from pathlib import Path
from typing import NoReturn

import typer

from desta.cli import (  # noqa: F401  # they register their verbs
    asking,
    benchmarks,
    chat,
    data,
    evaluation,
    measuring,
    probing,
    publishing,
    rendering,
    scoring,
    serving,
    studying,
    training,
)
from desta.cli.app import app
from desta.cli.usage import UsageError, as_error
from desta.errors import DestaError

_FULL = (errno.ENOSPC, errno.EDQUOT)  # the disk, or what one may use of it


def main() -> None:
    """Run the command line; an error that a user can mend is a sentence, a fix and exit code 2."""
    for stream in (sys.stdout, sys.stderr):  # a name that the terminal cannot show is escaped
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        sys.exit(app(prog_name="desta", standalone_mode=False) or 0)
    except UsageError as error:
        if not error.format_message():  # no verb was given, and the help is printed
            sys.exit(2)
        _end(f"error: {as_error(error)}")
    except typer.Abort:
        typer.echo("aborted", err=True)
        sys.exit(1)
    except DestaError as error:
        if os.environ.get("DESTA_DEBUG"):
            raise
        _end(f"error: {error}")
    except OSError as error:
        full = error.errno in _FULL
        if os.environ.get("DESTA_DEBUG") or not (full or error.filename):
            raise
        fix = "make room and give the command again" if full else "check that path and its rights"
        place = error.filename2 or error.filename or "disk"  # the second: where a file was to go
        _end(f"error: {error.strerror}: {place}\n  fix: {fix}")


def _end(message: str) -> NoReturn:
    """Print an error and exit; write it for `torchrun` too, which prints the last lines on screen.

    It shows the call stack of an error file, where there is one in it, in place of the message.
    """
    typer.echo(message, err=True)
    if file := os.environ.get("TORCHELASTIC_ERROR_FILE"):
        said = {"message": message, "extraInfo": {"timestamp": str(int(time.time()))}}
        with contextlib.suppress(OSError):
            Path(file).write_text(json.dumps({"message": said}), encoding="utf-8")
    sys.exit(2)
