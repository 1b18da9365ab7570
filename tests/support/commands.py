"""Commands given in this process, and in one of their own."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from click.testing import Result
from typer.testing import CliRunner

from desta.cli.app import app


def desta(*arguments: object) -> Result:
    """Give a command here; an error of the user lies in `exception`."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def run_desta(
    *arguments: object, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Give a command as a shell does: what it prints is all that comes back."""
    return subprocess.run(
        [sys.executable, "-m", "desta.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=env,
        check=False,
    )
