"""Sending of requests to an endpoint: retries, rate limits, usage."""

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from desta.errors import ConfigError, UnavailableError
from desta.generators.base import Refusal
from desta.generators.config import OpenAIEngine
from desta.generators.openai.http import client_library
from desta.generators.openai.protocol import (
    ChatCompletion,
    Unserved,
    endpoint_error,
    no_answer_error,
    read_completion,
    read_damaged,
    read_refusal,
    read_unreadable,
    read_unserved,
    reason_of,
    retry_after,
    status_of,
)
from desta.generators.openai.rate_limit import RateLimiter

if TYPE_CHECKING:
    from httpx2 import AsyncClient, Response

log = logging.getLogger(__name__)

_AGAIN = frozenset({408, 409, 425, 429})  # and all of 500 and above
_FIRST_WAIT = 0.5  # seconds; doubled with every further try
_LONGEST_WAIT = 60.0
_LONGEST_HOLD = 600.0  # an endpoint that asks for more has used up a quota of hours or days
_NO_ANSWER = "no answer from the endpoint"


@dataclass(frozen=True, kw_only=True)
class Usage:
    """Usage of an endpoint by this process."""

    requests: int
    """Answered requests."""
    retries: int
    input_tokens: int
    output_tokens: int
    """As counted by the endpoint, else in words."""
    cost: float
    """By the prices of the recipe."""


class RequestSender:
    """Sender of chat requests that retries, respects the rate limits and counts usage."""

    def __init__(self, engine: OpenAIEngine, *, model: str) -> None:
        """Create a sender for a model at an endpoint."""
        self._engine = engine
        self._model = model
        self._limiter = RateLimiter(
            requests_per_minute=engine.requests_per_minute,
            tokens_per_minute=engine.tokens_per_minute,
        )
        self._jitter = random.Random()  # the global random state must not change
        self._counts: Counter[str] = Counter()
        self._warned: set[str] = set()

    @property
    def usage(self) -> Usage:
        """Requests, tokens and cost so far."""
        read, written = self._counts["input"], self._counts["output"]
        prices = self._engine.input_price, self._engine.output_price
        return Usage(
            requests=self._counts["requests"],
            retries=self._counts["retries"],
            input_tokens=read,
            output_tokens=written,
            cost=(read * prices[0] + written * prices[1]) / 1e6,
        )

    async def send(
        self,
        client: "AsyncClient",
        body: dict[str, Any],
        tokens: int,
        *,
        retries: int | None = None,
        await_server: bool = True,
    ) -> ChatCompletion | Refusal:
        """Send a request until it is answered or out of tries.

        Args:
            client: of the endpoint.
            body: the request.
            tokens: most tokens of request and response, for the rate limits.
            retries: most retries; None means those of the engine.
            await_server: also retry if no connection can be made.

        Raises:
            ConfigError: the key is refused or the quota is used up.
            UnavailableError: the endpoint asks for a very long pause.
        """
        tries = self.num_tries(retries)

        def unserved(kind: str, failure: str) -> Unserved:
            message = f"{self._engine.base_url} {failure}"
            error = no_answer_error(message, tries if await_server else None)
            return Unserved(reason=f"{_NO_ANSWER}: {kind}", message=failure, error=error)

        for number in range(tries):
            if number:
                self._counts["retries"] += 1
            await self._limiter.acquire(tokens)
            wait = min(_FIRST_WAIT * 2**number, _LONGEST_WAIT) * self._jitter.uniform(0.5, 1)
            outcome: ChatCompletion | Refusal
            try:
                response = await client.post("chat/completions", json=body)
            except client_library().TimeoutException:
                seconds = f"{self._engine.timeout:g} s"
                outcome = unserved("time-out", f"gave no answer within {seconds}")
            except client_library().DecodingError as error:
                outcome = read_damaged(str(error))
            except client_library().TransportError as error:
                detail = str(error) or type(error).__name__
                outcome = unserved("connection", f"cannot be reached: {detail}")
                if not await_server:
                    return outcome
            else:
                outcome, pause = self._read(response, body, unserved)
                if pause is None:
                    return outcome
                wait = max(wait, pause)
            if number + 1 < tries:
                await asyncio.sleep(wait)
        return outcome

    def _read(
        self, response: "Response", body: dict[str, Any], unserved: Callable[[str, str], Unserved]
    ) -> tuple[ChatCompletion | Refusal, float | None]:
        """Return the outcome, and the shortest pause before a retry in seconds; None if final."""
        limit = body[self._engine.token_limit]
        answer = read_completion(response, limit) if response.is_success else None
        if isinstance(answer, ChatCompletion):
            self._count(answer)
        if answer is not None:
            return answer, None
        status = status_of(response)
        if status in _AGAIN or status >= 500:
            refusal = unserved(f"{status}", f"answered {reason_of(response)}")
            self._check_quota(response)
            return refusal, self._hold(response)
        if refused := read_refusal(response):
            return refused, None
        if 200 <= status < 300:
            return read_unreadable(response), 0.0
        error = endpoint_error(response, self._engine, self._model)
        if status == 401:
            raise error
        return read_unserved(response, error), None

    def num_tries(self, retries: int | None) -> int:
        """Return how often a request is sent at most."""
        most = self._engine.max_retries
        return 1 + (most if retries is None else min(retries, most))

    def warn(self, kind: str, what: str) -> None:
        """Log a warning unless one of its kind was logged before."""
        if kind not in self._warned:
            self._warned.add(kind)
            log.warning("%s %s", self._engine.base_url, what)

    def _hold(self, response: "Response") -> float:
        """Pause all requests for the seconds of `Retry-After`; return them."""
        seconds = retry_after(response.headers.get("retry-after", ""))
        if seconds > _LONGEST_HOLD:
            raise UnavailableError(
                f"{self._engine.base_url} asks for a pause of {seconds:.0f} s",
                fix="give the same command again after it; what was answered is kept",
            )
        if seconds:
            log.info("%s asks for a pause of %.0f s", self._engine.base_url, seconds)
            self._limiter.pause(seconds)
        return seconds

    def _check_quota(self, response: "Response") -> None:
        if "insufficient_quota" in response.text:
            raise ConfigError(
                f"the quota of the account is used up: {reason_of(response)}",
                fix="raise its limit, then give the same command again; what was answered is kept",
            )

    def _count(self, answer: ChatCompletion) -> None:
        self._counts["requests"] += 1
        self._counts["input"] += answer.num_read
        self._counts["output"] += answer.completion.num_tokens
        if ending := answer.unknown_ending:
            self.warn(
                f"finish_reason {ending}",
                f'ends a response with an unknown finish_reason, "{ending}": it counts as '
                "finished, unless it has all the tokens that were allowed",
            )
