"""Waiting of OpenMP threads, configured before PyTorch loads its runtime.

Every operation of PyTorch on several cores ends at a barrier. Threads spin there for a while, then
sleep. libgomp's default spins for milliseconds, on a core that the last thread may need when
another program is running.
"""

import os

SPIN_COUNT = 2_000
"""Iterations that a waiting thread spins; measured by `scripts/neighbour.py`."""

_VARIABLES = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")


def limit_spinning() -> None:
    """Set `GOMP_SPINCOUNT`, unless the environment already configures waiting.

    libgomp reads it once, when it is loaded; afterwards only child processes are affected.
    """
    if not any(name in os.environ for name in _VARIABLES):
        os.environ["GOMP_SPINCOUNT"] = str(SPIN_COUNT)
