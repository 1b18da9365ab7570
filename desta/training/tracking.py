"""What a run leaves behind beside its weights: metrics, recipe, environment."""

import json
import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from desta.errors import need
from desta.shards import write_atomic
from desta.version import __version__

METRICS = "metrics.jsonl"
_PACKAGES = ("torch", "transformers", "accelerate", "datasets", "numpy")


class Tracker:
    """Appends metrics to `metrics.jsonl` and mirrors the numbers to TensorBoard."""

    def __init__(self, run: Path, *, from_step: int) -> None:
        """Open the files of a run; lines after `from_step` were lost to a kill and go."""
        path = run / METRICS
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        kept = [line for line in lines if _step(line) <= from_step]
        write_atomic(path, "".join(f"{line}\n" for line in kept).encode())
        self._file = path.open("a", encoding="utf-8")
        board = need("torch.utils.tensorboard", extra="train", to="log to TensorBoard")
        self._board = board.SummaryWriter(str(run / "tensorboard"), purge_step=from_step + 1)

    def log(self, step: int, **values: Any) -> None:
        """Write one line; numbers also go to TensorBoard."""
        self._file.write(json.dumps({"step": step, **values}, ensure_ascii=False) + "\n")
        self._file.flush()
        for name, value in values.items():
            if isinstance(value, int | float):
                self._board.add_scalar(name, value, step)

    def close(self) -> None:
        """Close the files."""
        self._file.close()
        self._board.close()


def environment() -> dict[str, Any]:
    """Return what a number depends on besides the recipe: command, commit, versions, machine."""
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


def _step(line: str) -> float:
    try:
        return json.loads(line)["step"]
    except (json.JSONDecodeError, KeyError):
        return float("inf")  # a torn last line


def _git(*arguments: str) -> str | None:
    """Ask git about the checkout this package lies in; None outside one."""
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
