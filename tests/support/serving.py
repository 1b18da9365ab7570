"""A live server in this process, and clients of it."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx2
import uvicorn

from desta.audio import SAMPLE_RATE
from desta.errors import ConfigError
from desta.inference.engine import Engine
from desta.serving.app import create_app
from desta.serving.embedded import EmbeddedEngine
from desta.serving.guard import Access
from desta.serving.limits import ServingLimits
from desta.serving.metrics import Metrics
from desta.serving.server import Address, Server, configure, listen


class Scribe:
    """Transcriber that writes how long a window is, and in which language it was told to write."""

    window = "tight"
    encoder = None

    def transcribe(self, windows: Sequence[Any], *, language: str | None = None) -> list[str]:
        if language == "xx":
            raise ConfigError('there is no language "xx"', fix="give another")
        end = "" if language is None else f" in {language}"
        return [f"{len(window) / SAMPLE_RATE:.0f} s of words{end}" for window in windows]


@dataclass
class Served:
    """A running server."""

    url: str
    client: httpx2.Client
    engine: Any
    app: Any

    def chat(self, *messages: Any, **options: Any) -> httpx2.Response:
        """Ask; a message may be text, or a list of parts."""
        turns = [m if isinstance(m, dict) else {"role": "user", "content": m} for m in messages]
        body = {"model": "desta", "messages": turns, "max_tokens": 10} | options
        return self.client.post("/v1/chat/completions", json=body)

    def metric(self, name: str) -> float:
        """Return the value of a metric, given with its labels."""
        lines = self.client.get("/metrics").text.splitlines()
        return next((float(line.split()[-1]) for line in lines if line.startswith(f"{name} ")), 0)


@contextmanager
def running(
    app: Any, limits: ServingLimits | None = None, *, kind: type[uvicorn.Server] = uvicorn.Server
) -> Iterator[str]:
    """Run an application at a free port, and yield its URL."""
    listener = listen(Address("127.0.0.1", 0, Access()))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    server = kind(configure(app, limits or ServingLimits()))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        wait_until(lambda: server.started)
        yield url
    finally:
        server.should_exit = True
        thread.join()


@contextmanager
def serve(
    make: Callable[[Metrics], Any], *, limits: ServingLimits | None = None, **options: Any
) -> Iterator[Served]:
    """Serve the engine that `make` creates at a free port."""
    limits, metrics = limits or ServingLimits(), Metrics()
    engine = make(metrics)
    app = create_app(engine, limits=limits, metrics=metrics, **options)
    with (
        running(app, limits, kind=Server) as url,
        httpx2.Client(base_url=url, timeout=60) as client,
    ):
        yield Served(url, client, engine, app)


@contextmanager
def serve_tiny(
    engine: Engine, *, limits: ServingLimits | None = None, **options: Any
) -> Iterator[Served]:
    """Serve a model by this process at a free port."""
    limits = limits or ServingLimits()
    make = partial(EmbeddedEngine, engine, limits, name="desta")
    with serve(make, limits=limits, **options) as served:
        yield served


def wait_until(holds: Any, *, seconds: float = 20) -> None:
    """Wait until a condition holds."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.005)
