"""How threads wait is set before PyTorch is loaded, and never against the user's own word."""

import os
import subprocess
import sys

import pytest

from desta.threads import SPIN_COUNT

SHOW = (
    "import os, sys, desta; print(os.environ.get('GOMP_SPINCOUNT')); print('torch' in sys.modules)"
)
READ = """
import ctypes, os
import desta
os.environ["OMP_DISPLAY_ENV"] = "verbose"  # libgomp prints what it has read, when it is loaded
import torch
"""


def run(code: str, **variables: str) -> subprocess.CompletedProcess[str]:
    own = {k: v for k, v in os.environ.items() if k not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    return subprocess.run(
        [sys.executable, "-c", code],
        env=own | variables,
        capture_output=True,
        text=True,
        check=True,
    )


@pytest.mark.parametrize(
    ("variables", "wanted"),
    [
        ({}, str(SPIN_COUNT)),
        ({"GOMP_SPINCOUNT": "77"}, "77"),
        ({"OMP_WAIT_POLICY": "active"}, "None"),
    ],
)
def test_the_users_own_variable_wins(variables: dict[str, str], wanted: str) -> None:
    assert run(SHOW, **variables).stdout.split() == [wanted, "False"]


@pytest.mark.skipif(sys.platform != "linux", reason="PyTorch has another runtime there")
def test_the_runtime_reads_it(tmp_path: object) -> None:
    assert f"GOMP_SPINCOUNT = '{SPIN_COUNT}'" in run(READ).stderr
