"""A gateway before one text server."""

from collections.abc import Iterator

import pytest

from desta.inference.engine import Engine
from support.gateway import gateway
from support.serving import Served
from support.text_server import TextServer


@pytest.fixture
def server(engine: Engine) -> TextServer:
    return TextServer(engine, adapters=("poet",))


@pytest.fixture
def served(engine: Engine, server: TextServer) -> Iterator[Served]:
    with gateway(engine, server) as found:
        yield found
