"""Commands run in this process, or in a new one."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from click.testing import Result
from typer.testing import CliRunner

from desta.cli.app import app


def desta(*arguments: object) -> Result:
    """Run a command in this process; a user error is in `exception`."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def run_desta(
    *arguments: object, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command in a new process, like a shell; return its output."""
    return subprocess.run(
        [sys.executable, "-m", "desta.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=env,
        check=False,
    )
