"""Models and data small enough for every test run; nothing here needs a network."""

import os
import tempfile

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ["HF_DATASETS_CACHE"] = tempfile.mkdtemp(prefix="desta-tests-")  # not at home

import atexit
import shutil
import signal
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, settings

from desta.model.checkpoint import Loaded, load

atexit.register(shutil.rmtree, os.environ["HF_DATASETS_CACHE"], ignore_errors=True)

# How fast a machine is says nothing of what runs on it.
settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any machine")

PUBLISHED_TINY = Path(__file__).parent / "parity" / "published_tiny"


@pytest.fixture(scope="session", autouse=True)
def _ctrl_c() -> None:
    """Let SIGINT interrupt tests and their processes even where a shell ignores it behind `&`."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)  # tiny tensors: threads cost more than they bring


@pytest.fixture(scope="session")
def published_tiny() -> Path:
    """Directory of the published code's model on random weights (parity/README.md)."""
    return PUBLISHED_TINY


@pytest.fixture(scope="session")
def tiny(published_tiny: Path) -> Loaded:
    """That model, loaded; read-only: tests that train load their own."""
    return load(published_tiny, dtype="float32")


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable() -> Generator[None, Any, Any]:
    """Escape half surrogates in a report, which no worker could send to the process that prints."""
    return _escaped((yield))


def _escaped(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    if isinstance(value, dict):
        return {_escaped(key): _escaped(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(_escaped, value))
    return value
