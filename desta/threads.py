"""How threads of OpenMP wait for each other, set before PyTorch loads its runtime.

Every operation of PyTorch on several cores ends at a barrier. Threads wait there awake for a while
(turns of an empty loop), then asleep. By libgomp's default they stay awake for milliseconds: on a
core that the last thread may need, when another program runs beside.
"""

import os

SPIN_COUNT = 2_000
"""Turns that a waiting thread stays awake; `scripts/neighbour.py` measures what it does."""

_VARIABLES = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")


def limit_spinning() -> None:
    """Set `GOMP_SPINCOUNT`, unless the environment says how threads wait.

    libgomp reads it once, when it is loaded; later it changes child processes only.
    """
    if not any(name in os.environ for name in _VARIABLES):
        os.environ["GOMP_SPINCOUNT"] = str(SPIN_COUNT)
