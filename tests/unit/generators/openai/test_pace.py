"""How long requests wait: as told, as limits say, longer each time."""

import time
from email.utils import formatdate
from typing import Any

import pytest

from desta.generators.openai import sender
from desta.generators.openai.protocol import retry_after
from desta.generators.openai.rate_limit import RateLimiter
from support.endpoint import Endpoint, ask, connected
from support.server import Reply

HELD = 0.3  # seconds in a `Retry-After`


def test_retry_after_holds_every_request(endpoint: Endpoint) -> None:
    generator = connected(endpoint, concurrency=2)
    told: list[float] = []

    def limit(body: dict[str, Any], tries: int) -> Reply | None:
        if body["messages"][-1]["content"] == "0" and tries == 1:
            told.append(time.monotonic())
            return 429, {"Retry-After": str(HELD)}, {"error": {"message": "slow down"}}
        return None

    endpoint.fail = limit
    assert ask(generator, [f"{n}" for n in range(12)]) == [f"{n}" for n in range(12)]

    (moment,) = told
    early = [t for t in endpoint.times if moment < t < moment + HELD]
    assert len(early) <= 4  # of twelve: what the other slot sends before the answer is read
    assert max(endpoint.times) >= moment + HELD


def test_a_date_may_say_when_to_come_back() -> None:
    assert 3000 < retry_after(formatdate(time.time() + 3600, usegmt=True)) <= 3600
    assert retry_after(formatdate(0)) == 0


def test_waits_double_and_differ(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "_FIRST_WAIT", 0.05)
    endpoint.fail = lambda body, tries: (500, {}, {}) if tries <= 3 else None
    generator = connected(endpoint, max_retries=4)
    endpoint.times.clear()
    ask(generator, ["a"])
    waits = [b - a for a, b in zip(endpoint.times, endpoint.times[1:], strict=False)]
    assert len(waits) == 3
    assert all(wait >= 0.025 * 2**number for number, wait in enumerate(waits))


def test_requests_keep_to_the_rate(endpoint: Endpoint) -> None:
    generator = connected(endpoint, requests_per_minute=60 / 0.05)
    start = time.monotonic()
    ask(generator, [f"{n}" for n in range(8)])
    ask(generator, ["the next batch"])
    assert time.monotonic() - start >= 9 * 0.05 - 0.01  # the first of all went before
    gaps = [b - a for a, b in zip(endpoint.times, endpoint.times[1:], strict=False)]
    assert sum(gaps) / len(gaps) >= 0.04


def test_tokens_keep_to_the_rate(endpoint: Endpoint) -> None:
    generator = connected(endpoint, tokens_per_minute=60 * 50 / 0.05)  # 50 tokens in 0.05 s
    start = time.monotonic()
    ask(generator, ["ten words " * 5] * 8)  # and 40 that the response may have
    assert time.monotonic() - start >= 7 * 0.05 - 0.01


def test_a_request_larger_than_a_minute_waits_for_the_next() -> None:
    import asyncio

    async def two() -> float:
        pace = RateLimiter(tokens_per_minute=60)
        start = time.monotonic()
        await pace.acquire(0)
        pace._next_by_tokens = time.monotonic() + 0.05
        await pace.acquire(10_000)
        return time.monotonic() - start

    assert asyncio.run(two()) >= 0.05
