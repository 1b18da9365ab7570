"""Commands run in this process, or in one of their own."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from click.testing import Result
from typer.testing import CliRunner

from desta import cli
from desta.cli.app import app
from support.forks import Fork


def desta(*arguments: object) -> Result:
    """Run a command in this process; a user error is in `exception`."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def run_desta(
    *arguments: object, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own, like a shell; return its output."""
    process = start_desta(*arguments, cwd=cwd, env=env)
    stdout, stderr = process.communicate()
    return subprocess.CompletedProcess(list(arguments), process.wait(), stdout, stderr)


def start_desta(
    *arguments: object, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> Fork:
    """Start a command in a process of its own, and do not wait for it."""
    return Fork(run_main, *map(str, arguments), cwd=cwd, env=env)


def run_main(*arguments: str) -> None:
    """Run a command in this process as its entry point does, which ends the process."""
    sys.argv = ["desta", *arguments]
    cli.main()


def run_afresh(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command in a new interpreter, which imports all that the command needs."""
    return subprocess.run(
        [sys.executable, "-m", "desta.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        check=False,
    )
