"""A fault of the server itself is told without what was asked, and the next request is answered."""

import logging
from typing import Any

import pytest

from desta.inference.engine import Engine
from desta.model.backbone.running_batch import RunningBatch
from desta.model.checkpoint import Loaded
from support.serving import Served, serve_tiny

pytestmark = pytest.mark.serve

SECRET = "the-secret-of-the-client"


def fail_once(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> None:
    """Let the first call of a method fail, with an error that quotes the request."""
    method = getattr(owner, name)
    calls: list[int] = []

    def failing(*arguments: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:
            raise RuntimeError(SECRET)
        return method(*arguments, **options)

    monkeypatch.setattr(owner, name, failing)


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (Engine, "lay_out"),
        (Engine, "begin"),
        (Engine, "clips_of"),
        (RunningBatch, "write"),
        (RunningBatch, "advance"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_fault_ends_one_request_and_not_the_server(
    owner: Any,
    name: str,
    stream: bool,
    tiny: Loaded,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with serve_tiny(Engine(tiny)) as server:
        fail_once(monkeypatch, owner, name)
        failed = server.chat(SECRET, stream=stream)
        assert "the server failed with RuntimeError" in failed.text
        if not failed.headers["content-type"].startswith("text/event-stream"):
            assert failed.status_code == 500
            assert failed.json()["error"]["type"] == "server_error"
        assert SECRET not in failed.text
        assert server.chat(SECRET).status_code == 200
    errors = [r for r in caplog.records if r.name == "desta.serving.errors"]
    assert [r.levelno for r in errors] == [logging.ERROR]
    assert name in errors[0].getMessage()
    assert SECRET not in caplog.text


def test_a_stream_that_fails_midway_ends_with_an_error(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    advance = RunningBatch.advance
    calls: list[int] = []

    def failing(batch: RunningBatch) -> None:
        calls.append(1)
        if len(calls) == 5:
            raise RuntimeError(SECRET)
        advance(batch)

    monkeypatch.setattr(RunningBatch, "advance", failing)
    stream = served.chat("Hello?", max_tokens=20, stream=True)
    assert stream.status_code == 200
    *_, last = [line for line in stream.text.split("\n\n") if line]
    assert last.startswith('data: {"error":')
    assert "[DONE]" not in stream.text
