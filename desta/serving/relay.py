"""Answers of a text server as events of ours: whole, or delta by delta."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

from desta.errors import DestaError, UnavailableError
from desta.serving.errors import ServingError
from desta.serving.metrics import Metrics
from desta.serving.protocol import Delta, Usage
from desta.serving.replicas import broken, error_fields, library

_DONE = "[DONE]"
_AGAIN = "ask again"


class Relay(AsyncIterator[Delta | Usage]):
    """Events of one response; closing it ends the response, and the server gives the answer up."""

    def __init__(
        self,
        response: Any,
        *,
        stream: bool,
        num_audio_tokens: int,
        deadline: float,
        metrics: Metrics,
    ) -> None:
        """Relay a response.

        Args:
            response: of the text server, with its body unread.
            stream: whether it is a stream.
            num_audio_tokens: those of the prompt.
            deadline: of `time.monotonic`.
            metrics: counts tokens.
        """
        self._response = response
        self._events = self._streamed() if stream else self._whole()
        self._num_audio_tokens = num_audio_tokens
        self._deadline = deadline
        self._metrics = metrics
        self._begun = time.perf_counter()

    async def __anext__(self) -> Delta | Usage:
        try:
            async with asyncio.timeout(self._deadline - time.monotonic()):
                event = await anext(self._events)
        except TimeoutError:
            await self.aclose()
            raise late() from None
        except library().HTTPError as error:
            await self.aclose()
            raise broken(error) from None
        except BaseException:
            await self.aclose()
            raise
        if isinstance(event, Usage):
            self._count(event)
        return event

    async def aclose(self) -> None:
        """Close the connection unless the response was read to its end."""
        await self._response.aclose()

    async def _whole(self) -> AsyncIterator[Delta | Usage]:
        body = await self._response.aread()
        try:
            answer = json.loads(body)
            for choice in answer["choices"]:
                yield _delta(choice, choice["message"])
            yield self._usage(answer.get("usage"))
        except (LookupError, TypeError, ValueError, AttributeError):
            raise _unreadable() from None

    async def _streamed(self) -> AsyncIterator[Delta | Usage]:
        usage, is_first, is_done = None, True, False
        async for line in self._response.aiter_lines():
            data = line.removeprefix("data:").strip()
            if data == line.strip() or not data:  # comments, and lines that end an event
                continue
            if data == _DONE:
                is_done = True  # the rest is read, so that the connection can serve again
                continue
            chunk = _read(data)
            usage = chunk.get("usage") or usage
            for delta in _deltas(chunk):
                if is_first and delta.message:
                    is_first = False
                    self._metrics.observe("first_token", time.perf_counter() - self._begun)
                yield delta
        if not is_done:
            raise UnavailableError("the text server ends in the middle of an answer", fix=_AGAIN)
        yield self._usage(usage)

    def _usage(self, usage: Mapping[str, Any] | None) -> Usage:
        usage = usage or {}
        details = usage.get("prompt_tokens_details") or {}
        return Usage(
            prompt_tokens=int(usage.get("prompt_tokens") or 0),
            completion_tokens=int(usage.get("completion_tokens") or 0),
            audio_tokens=self._num_audio_tokens,
            cached_tokens=int(details.get("cached_tokens") or 0),
        )

    def _count(self, usage: Usage) -> None:
        for kind, number in (
            ("prompt", usage.prompt_tokens),
            ("prompt_cached", usage.cached_tokens),
            ("completion", usage.completion_tokens),
        ):
            self._metrics.tokens.labels(kind).inc(number)


def late() -> ServingError:
    """Return the error of an answer that is not there in time."""
    return ServingError(
        "the answer was not finished in the time for one request",
        fix="ask for fewer tokens, or send it again later",
        status=504,
        code="timeout",
    )


def _read(data: str) -> dict[str, Any]:
    try:
        chunk = json.loads(data)
    except ValueError:
        raise _unreadable() from None
    if not isinstance(chunk, dict):
        raise _unreadable()
    if "choices" not in chunk:  # an error inside a stream
        message = error_fields(data).get("message") or "the text server fails"
        raise ServingError(str(message).rstrip(". "), fix=_AGAIN, status=502)
    return chunk


def _deltas(chunk: Mapping[str, Any]) -> Iterator[Delta]:
    try:
        for choice in chunk["choices"]:
            yield _delta(choice, choice["delta"])
    except (LookupError, TypeError, AttributeError):
        raise _unreadable() from None


def _delta(choice: Mapping[str, Any], message: Mapping[str, Any]) -> Delta:
    """Return the event of a choice; what says nothing (the role, an empty text) is left out."""
    is_delta = "delta" in choice
    kept = {
        name: value
        for name, value in message.items()
        if name != "role" and not (is_delta and value in (None, "", []))
    }
    return Delta(
        index=choice["index"],
        message=kept,
        logprobs=(choice.get("logprobs") or {}).get("content") or (),
        finish_reason=choice.get("finish_reason"),
    )


def _unreadable() -> DestaError:
    return ServingError(
        "the text server answers in another form than OpenAI's",
        fix="tell whoever runs the server to see what answers there",
        status=502,
    )
