"""How fast requests may follow one another."""

import asyncio
from time import monotonic


class Pace:
    """Spaces requests evenly, so that no minute, wherever it begins, holds more than is allowed."""

    def __init__(
        self, *, requests_per_minute: float | None = None, tokens_per_minute: float | None = None
    ) -> None:
        """Take the limits; None means that there is none."""
        self._seconds_per_request = 60 / requests_per_minute if requests_per_minute else 0.0
        self._seconds_per_token = 60 / tokens_per_minute if tokens_per_minute else 0.0
        self._next_by_requests = 0.0
        self._next_by_tokens = 0.0
        self._held = 0.0

    async def turn(self, tokens: int) -> None:
        """Wait until a request of that many tokens may go."""
        while True:
            start = max(monotonic(), self._next_by_requests, self._next_by_tokens, self._held)
            self._next_by_requests = start + self._seconds_per_request
            self._next_by_tokens = start + self._seconds_per_token * tokens
            await asyncio.sleep(start - monotonic())
            if self._held <= monotonic():
                return

    def hold(self, seconds: float) -> None:
        """Let no request go for a while, also none that waits for its turn already."""
        self._held = max(self._held, monotonic() + seconds)
