"""The endpoint of these tests is a real one: an HTTP server that speaks the protocol, and fails."""

from collections.abc import Iterator

import pytest

from desta.generators.openai import sender
from support.endpoint import Endpoint
from support.server import serving


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    """An endpoint that listens; `url` says where."""
    endpoint = Endpoint()
    with serving(endpoint.reply) as endpoint.url:
        yield endpoint


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "_FIRST_WAIT", 0.01)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
