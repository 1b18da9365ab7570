"""The tiny model behind a server."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from desta.inference.engine import Engine
from desta.model.checkpoint import Loaded
from support.serving import Served, serve_tiny


@pytest.fixture(scope="session")
def engine(tiny: Loaded) -> Engine:
    return Engine(tiny)


@pytest.fixture(scope="module")
def served(engine: Engine) -> Iterator[Served]:
    with serve_tiny(engine) as server:
        yield server


@pytest.fixture(scope="session")
def clips(published_tiny: Path) -> dict[str, bytes]:
    """Recordings by name."""
    return {name: (published_tiny / f"{name}.wav").read_bytes() for name in "abc"}
