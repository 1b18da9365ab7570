"""Rate limits of an endpoint."""

import asyncio
from time import monotonic


class RateLimiter:
    """Even spacing of requests, so that no minute, wherever it begins, exceeds the limits."""

    def __init__(
        self, *, requests_per_minute: float | None = None, tokens_per_minute: float | None = None
    ) -> None:
        """Create a limiter; None means no limit."""
        self._seconds_per_request = 60 / requests_per_minute if requests_per_minute else 0.0
        self._seconds_per_token = 60 / tokens_per_minute if tokens_per_minute else 0.0
        self._next_by_requests = 0.0
        self._next_by_tokens = 0.0
        self._held = 0.0

    async def acquire(self, tokens: int) -> None:
        """Wait until a request of that many tokens may be sent."""
        while True:
            start = max(monotonic(), self._next_by_requests, self._next_by_tokens, self._held)
            self._next_by_requests = start + self._seconds_per_request
            self._next_by_tokens = start + self._seconds_per_token * tokens
            await asyncio.sleep(start - monotonic())
            if self._held <= monotonic():
                return

    def pause(self, seconds: float) -> None:
        """Send no request for some seconds, including those that already wait."""
        self._held = max(self._held, monotonic() + seconds)
