"""Text generation by any endpoint with OpenAI's chat completions API.

The HTTP client is httpx2 and no vendor's library: retries must respect the rate limits, and all
requests must pause when one is told to (docs/decisions/0017).
"""

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from desta.config import suggest
from desta.errors import ConfigError, UnavailableError
from desta.generators.base import HELLO, Completion, OnOutcome, Outcome, Refusal, as_text
from desta.generators.config import OpenAIEngine
from desta.generators.openai.http import open_client, served_models
from desta.generators.openai.protocol import (
    ChatCompletion,
    UnknownModelError,
    Unreadable,
    Unserved,
    no_answer_error,
)
from desta.generators.openai.sender import RequestSender, Usage
from desta.model.backbone.chat import encode_conversation
from desta.model.backbone.sampling import Sampling
from desta.records import Message

if TYPE_CHECKING:
    from httpx2 import AsyncClient

_CHECK_RETRIES = 2
"""Retries of a check, so that an endpoint that is down is soon reported."""
_SEEDS = 2**31  # some endpoints store seeds in 32 bits


class OpenAIGenerator:
    """A model behind an endpoint; created by `connect`.

    Endpoints accept no token ids: their own template formats the messages, and text that looks like
    a control token becomes one unless the endpoint prevents it (docs/guides/engines.md).
    """

    order: Literal["length", "prefix"] = "prefix"

    def __init__(
        self,
        engine: OpenAIEngine,
        *,
        model: str,
        tokenizer: Any = None,
        content: Callable[[Message], Any] = as_text,
    ) -> None:
        """Create a generator; `connect` also sends a first request.

        Args:
            engine: the endpoint, its limits and its prices.
            model: name of the model at the endpoint.
            tokenizer: counts tokens; None counts words.
            content: message -> content that is sent, for audio models.
        """
        self.id = model
        self.revision = model
        self._engine = engine
        self._tokenizer = tokenizer
        self._content = content
        self._fingerprint: str | None = None
        self._sender = RequestSender(engine, model=model)
        self._question = HELLO

    @property
    def usage(self) -> Usage:
        """Requests, tokens and cost so far."""
        return self._sender.usage

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Return the length of a conversation in tokens; in words without a tokenizer."""
        if self._tokenizer is not None:
            return len(encode_conversation(self._tokenizer, messages))
        return sum(len(as_text(message).split()) for message in messages)

    def complete(
        self,
        conversations: Sequence[Sequence[Message]],
        sampling: Sampling,
        *,
        seeds: Sequence[int],
        on_outcome: OnOutcome | None = None,
    ) -> list[Outcome]:
        """Generate a response to each conversation; not every endpoint respects the seeds.

        Raises:
            ConfigError: the endpoint refuses the key, the model, the account or the settings.
            UnavailableError: it keeps failing, or its fingerprint has changed.
        """
        requests = [
            (self._body(messages, sampling, seed), self.count_tokens(messages))
            for messages, seed in zip(conversations, seeds, strict=True)
        ]
        return asyncio.run(self._send_all(requests, on_outcome or (lambda place, outcome: None)))

    def find_revision(self, question: Message = HELLO) -> None:
        """Request one token, and set the revision from the response.

        Raises:
            ConfigError: the endpoint does not answer, or refuses key, model, account or question.
            DataError: its response is not in the protocol.
        """
        self._question = question
        body = self._body([question], Sampling(max_new_tokens=1), 0)
        answer = asyncio.run(self._send_first(body, with_audio=bool(question.audios)))
        self._fingerprint = answer.fingerprint
        self.revision = f"model {answer.model or self.id}"
        if self._engine.pin_fingerprint and answer.fingerprint:
            self.revision += f", fingerprint {answer.fingerprint}"
        if self._engine.extra_body:
            self.revision += f", with {json.dumps(self._engine.extra_body, sort_keys=True)}"

    def _body(self, messages: Sequence[Message], sampling: Sampling, seed: int) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self.id,
            "messages": self._messages(messages),
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            self._engine.token_limit: sampling.max_new_tokens,
            "seed": seed % _SEEDS,
            **self._engine.extra_body,
        }
        if sampling.stop:
            body["stop"] = list(sampling.stop)
        return body

    def _messages(self, messages: Sequence[Message]) -> list[dict[str, Any]]:
        return [{"role": m.role, "content": self._content(m)} for m in messages]

    @property
    def _address(self) -> str:
        return f"check engine.base_url = {self._engine.base_url}, which often ends in /v1"

    async def _send_first(self, body: dict[str, Any], *, with_audio: bool) -> ChatCompletion:
        async with open_client(self._engine) as client:
            answer = await self._sender.send(client, body, 1, await_server=False)
            if isinstance(answer, Unserved) and isinstance(answer.error, UnknownModelError):
                served = await served_models(client)
                fix = f"{suggest(self.id, served)}; set engine.model" if served else self._address
                raise ConfigError(answer.error.message, fix=fix)
        if isinstance(answer, Unserved):
            raise answer.error
        if isinstance(answer, Unreadable):
            raise ConfigError(
                f"{self._engine.base_url} {answer.message}",
                fix="correct what it names, or read the log of the endpoint"
                if answer.in_protocol
                else self._address,
            )
        if isinstance(answer, Refusal):
            fix = "change what it names in the recipe"
            raise ConfigError(
                f"{self._engine.base_url} refuses a request: {answer.message}",
                fix=f"name a model that accepts audio, or {fix}" if with_audio else fix,
            )
        return answer

    async def _send_all(
        self, requests: Sequence[tuple[dict[str, Any], int]], on_outcome: OnOutcome
    ) -> list[Outcome]:
        """Send all requests; refusals are reported last, after a check of the settings."""
        gate = asyncio.Semaphore(self._engine.concurrency)
        completions: dict[int, Completion] = {}
        refusals: dict[int, Refusal] = {}
        num_checked = 0  # of the refusals

        async def send(
            client: "AsyncClient", place: int, body: dict[str, Any], length: int
        ) -> None:
            nonlocal num_checked
            tokens = length + body[self._engine.token_limit]
            async with gate:  # held during waits, so that a failing server gets no more requests
                answer = await self._sender.send(client, body, tokens)
                if is_checked := isinstance(answer, Unreadable | Unserved):  # perhaps all fail
                    await self._check_settings(client, body, retries=_CHECK_RETRIES)
                    answer = await self._sender.send(
                        client, body, tokens, retries=0
                    )  # may work now
                if isinstance(answer, Refusal):
                    refusals[place] = answer
                    nothing_yet = len(refusals) == 1 and not completions
                    if nothing_yet and not is_checked:
                        await self._check_settings(client, body)
                        is_checked = True
                    num_checked += is_checked
                    return
            self._check_fingerprint(answer)
            completions[place] = answer.completion
            on_outcome(place, answer.completion)

        try:
            async with open_client(self._engine) as client:
                async with asyncio.TaskGroup() as group:
                    for place, (body, length) in enumerate(requests):
                        group.create_task(send(client, place, body, length))
                if len(refusals) > num_checked:
                    await self._check_settings(client, requests[next(iter(refusals))][0])
        except ExceptionGroup as group:  # the first failure has cancelled the others
            raise group.exceptions[0] from None
        for place, refusal in refusals.items():
            on_outcome(place, refusal)
            self._warn(refusal)
        outcomes: dict[int, Outcome] = {**completions, **refusals}
        return [outcomes[place] for place in range(len(requests))]

    async def _check_settings(
        self, client: "AsyncClient", body: dict[str, Any], *, retries: int | None = None
    ) -> None:
        """Send the first question with the settings of a request; raise if it fails as well."""
        question = {**body, "messages": self._messages([self._question])}
        tokens = body[self._engine.token_limit]
        answer = await self._sender.send(client, question, tokens, retries=retries)
        if isinstance(answer, Unserved):
            raise answer.error
        if isinstance(answer, Unreadable):
            message = f"{self._engine.base_url} {answer.message}"
            raise no_answer_error(message, self._sender.num_tries(retries))
        if isinstance(answer, Refusal):
            raise ConfigError(
                f"{self._engine.base_url} refuses every request: {answer.message}",
                fix="change what it names in the recipe; what was answered is kept",
            )

    def _warn(self, refusal: Refusal) -> None:
        """Log the first refusal of its kind."""
        does = "" if isinstance(refusal, Unreadable | Unserved) else "refuses a request: "
        self._sender.warn(refusal.reason, f"{does}{refusal.message}; that request is left out")

    def _check_fingerprint(self, answer: ChatCompletion) -> None:
        pinned = self._engine.pin_fingerprint and answer.fingerprint  # some responses lack it
        if pinned and answer.fingerprint != self._fingerprint:
            raise UnavailableError(
                f"{self._engine.base_url} changed since this command began: fingerprint "
                f"{answer.fingerprint} instead of {self._fingerprint}",
                fix="give the same command again if it was restarted; set engine.pin_fingerprint: "
                "false if its fingerprint differs from request to request",
            )


def connect(
    engine: OpenAIEngine,
    *,
    model: str,
    tokenizer: Any = None,
    content: Callable[[Message], Any] = as_text,
    question: Message = HELLO,
) -> OpenAIGenerator:
    """Create a generator for an endpoint, after a successful first request.

    Args:
        engine: the endpoint, its limits and its prices.
        model: name of the model at the endpoint.
        tokenizer: counts tokens; None counts words.
        content: message -> content that is sent, for audio models.
        question: message of the first request, of the kind that will follow.

    Raises:
        MissingExtraError: the client is not installed.
        ConfigError: the endpoint does not answer, or refuses key, model, account or question.
        DataError: its response is not in the protocol.
    """
    generator = OpenAIGenerator(engine, model=model, tokenizer=tokenizer, content=content)
    generator.find_revision(question)
    return generator
