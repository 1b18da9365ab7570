"""The command line: one verb a function; heavy imports happen inside, errors are told once."""

# ruff: noqa: I001
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

# They register their verbs, in the order in which `--help` lists them.
from desta.cli import (  # noqa: F401
    data,
    measuring,
    publishing,
    training,
    asking,
    evaluation,
    scoring,
    benchmarks,
)
from desta.cli.app import app
from desta.errors import DestaError

_FULL = (errno.ENOSPC, errno.EDQUOT)  # the disk, or what one may use of it


def main() -> None:
    """Run the command line; what a user can mend is one sentence, a fix and exit code 2."""
    for stream in (sys.stdout, sys.stderr):  # a name that the terminal cannot show is escaped
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
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
    """Say what is wrong, also to `torchrun`: what it shows of a process is the last on screen.

    It shows the call stack of an error file, where there is one in it, in place of the message.
    """
    typer.echo(message, err=True)
    if file := os.environ.get("TORCHELASTIC_ERROR_FILE"):
        said = {"message": message, "extraInfo": {"timestamp": str(int(time.time()))}}
        with contextlib.suppress(OSError):
            Path(file).write_text(json.dumps({"message": said}), encoding="utf-8")
    sys.exit(2)
