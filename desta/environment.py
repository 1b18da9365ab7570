"""Environment of a run, stored beside its results."""

import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from desta.version import __version__

_PACKAGES = ("torch", "transformers", "accelerate", "datasets", "numpy")


def environment() -> dict[str, Any]:
    """Return command, commit, versions and machine, on which results depend besides the recipe."""
    return {
        "command": " ".join(["desta", *sys.argv[1:]]),
        "desta": __version__,
        "commit": _git("rev-parse", "HEAD"),
        "modified": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "cpus": os.cpu_count(),
        "machine": platform.machine(),
    }


def _git(*arguments: str) -> str | None:
    """Return the output of a git command in this package's checkout; None outside one."""
    try:
        answer = subprocess.run(
            ["git", "-C", str(Path(__file__).parent), *arguments],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return answer.stdout.strip()


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
