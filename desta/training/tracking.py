"""Metrics of a run: `metrics.jsonl` and TensorBoard."""

import json
from pathlib import Path
from typing import Any

from desta.errors import need
from desta.files import write_atomic

METRICS = "metrics.jsonl"


class Tracker:
    """Log of metrics in `metrics.jsonl`, with numbers mirrored to TensorBoard."""

    def __init__(self, run: Path, *, from_step: int) -> None:
        """Open the files of a run; lines after `from_step`, left by a killed call, are removed."""
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


def _step(line: str) -> float:
    try:
        return json.loads(line)["step"]
    except (json.JSONDecodeError, KeyError):
        return float("inf")  # an incomplete last line
