"""Metrics of the server in the format of Prometheus. They hold numbers, nothing that was said."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)


class Metrics:
    """Counters, gauges and histograms of one server; thread-safe."""

    def __init__(self) -> None:
        """Create metrics with a registry of their own."""
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "desta_requests",
            "Requests by route and status.",
            ["route", "status"],
            registry=self._registry,
        )
        self.in_flight = Gauge(
            "desta_requests_in_flight", "Requests that run or wait.", registry=self._registry
        )
        self.waiting = Gauge(
            "desta_requests_waiting",
            "Encoded requests that wait for a row.",
            registry=self._registry,
        )
        self.rows = Gauge(
            "desta_rows_running", "Answers that are being generated.", registry=self._registry
        )
        self.tokens = Counter("desta_tokens", "Tokens by kind.", ["kind"], registry=self._registry)
        self.audio_seconds = Counter(
            "desta_audio_seconds", "Seconds of audio in requests.", registry=self._registry
        )
        self.clips = Counter(
            "desta_clips",
            "Clips by whether their encoding was cached.",
            ["cached"],
            registry=self._registry,
        )
        self._stages = Histogram(
            "desta_stage_seconds",
            "Seconds per stage.",
            ["stage"],
            buckets=_SECONDS,
            registry=self._registry,
        )

    def observe(self, stage: str, seconds: float) -> None:
        """Record the duration of a stage: read, encode, queue, prefill, first_token or request."""
        self._stages.labels(stage).observe(seconds)

    @contextmanager
    def time(self, stage: str) -> Iterator[None]:
        """Record the duration of the block as one of a stage."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.observe(stage, time.perf_counter() - start)

    def text(self) -> bytes:
        """Return all metrics in the text format."""
        return generate_latest(self._registry)
