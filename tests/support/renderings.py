"""A renderer of tones, and a run of it that is killed."""

import os
import signal
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from desta.lines import LineFile
from desta.sources.rendered.folder import Job, Renderer, render


def hum(facts: Mapping[str, Any]) -> tuple[NDArray[np.float32], dict[str, Any]]:
    """Render a tone; a frequency of 0 is silence, a negative one a fault."""
    if facts["hertz"] < 0:
        raise ValueError("there is no such tone")
    times = np.arange(1600, dtype=np.float32) / 16_000
    tone = 0.5 * np.sin(2 * np.pi * facts["hertz"] * times)
    return tone.astype(np.float32), {"dropped": facts.get("odd", "")}


def make_hum() -> Renderer:
    return hum


def jobs_of(*hertz: int) -> list[Job]:
    return [Job(id=f"hum/{number}", facts={"hertz": h}) for number, h in enumerate(hertz)]


def render_until_a_row_is_due(jobs: Sequence[Job], out: Path, number: int) -> None:
    """Render, and be killed once the clip of the row of that number, from 1, is written."""
    append, num_rows = LineFile.append, 0

    def append_or_die(self: LineFile, lines: Iterable[str]) -> None:
        nonlocal num_rows
        num_rows += 1
        if num_rows == number:
            os.kill(os.getpid(), signal.SIGKILL)
        append(self, lines)

    LineFile.append = append_or_die  # type: ignore[method-assign]
    render(jobs, out, make_hum)
