"""Costs of steps: seconds, memory, and energy where the machine counts it."""

import json
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from desta.files import write_json

_COUNTERS = Path("/sys/class/powercap")
_KIB = 2**10 if sys.platform == "darwin" else 1  # macOS counts bytes


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Cost of a step, of the call that finished it."""

    seconds: float
    peak_gib: float
    """Largest resident memory of the process up to its end."""
    joules: float | None
    """Energy of the processor packages; None where the machine does not tell."""
    units: int
    """Pairs that were written or trained on, or items that were answered."""

    @property
    def per_second(self) -> float:
        """Units of a second."""
        return self.units / self.seconds if self.seconds else 0.0


class Costs:
    """Costs of the steps of a study, kept in a file."""

    def __init__(self, path: Path) -> None:
        """Read the file, if it is there."""
        self._path = path
        rows = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        self.steps = {name: Cost(**row) for name, row in rows.items()}
        """Step -> cost."""

    @contextmanager
    def measure(self, step: str) -> Iterator[Callable[[int], None]]:
        """Measure the block as a step; nothing is noted if it fails.

        Yields:
            A function to call with the units that were done.
        """
        units = 0

        def count(number: int) -> None:
            nonlocal units
            units = number

        started, before = time.perf_counter(), read_joules()
        yield count
        after = read_joules()
        known = before is not None and after is not None and after >= before  # counters turn over
        self.steps[step] = Cost(
            seconds=round(time.perf_counter() - started, 3),
            peak_gib=round(peak_gib(), 3),
            joules=after - before if known else None,  # type: ignore[operator]
            units=units,
        )
        write_json(self._path, {name: asdict(cost) for name, cost in self.steps.items()})

    def per_second(self, kind: str) -> float | None:
        """Return the units a second of the steps of a kind, `kind/...`; None if none was done."""
        done = [cost for step, cost in self.steps.items() if step.startswith(f"{kind}/")]
        seconds = sum(cost.seconds for cost in done)
        return sum(cost.units for cost in done) / seconds if seconds else None


def peak_gib() -> float:
    """Return the largest resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _KIB / 2**20


def read_joules() -> float | None:
    """Return what the energy counters of the processor packages show; None if none is readable."""
    try:
        shown = [float(p.read_text()) for p in _COUNTERS.glob("intel-rapl:?/energy_uj")]
    except OSError:  # for the administrator alone
        return None
    return sum(shown) / 1e6 if shown else None
