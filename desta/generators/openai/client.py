"""Text generation by any endpoint that speaks OpenAI's chat completions.

The client is httpx2 and no vendor's library: tries have to wait for their turn under the rate
limits, and all requests have to pause where one is told to (docs/decisions/0017).
"""

import asyncio
import json
import logging
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from desta.config import suggest
from desta.errors import ConfigError, UnavailableError
from desta.generators.base import HELLO, Completion, OnOutcome, Outcome, Refusal, as_text
from desta.generators.config import OpenAIEngine
from desta.generators.openai.http import client_library, open_client, served_models
from desta.generators.openai.protocol import (
    Answer,
    UnknownModelError,
    Unreadable,
    Unserved,
    error_of,
    read_answer,
    read_damaged,
    read_refusal,
    read_unreadable,
    read_unserved,
    reason_of,
    retry_after,
    status_of,
    unanswered,
)
from desta.generators.openai.rate_limit import Pace
from desta.model.backbone.chat import encode_conversation
from desta.model.backbone.sampling import Sampling
from desta.records import Message

if TYPE_CHECKING:
    from httpx2 import AsyncClient, Response

log = logging.getLogger(__name__)

_AGAIN = frozenset({408, 409, 425, 429})  # and all of 500 and above
_FIRST_WAIT = 0.5  # seconds; doubled with every further try
_LONGEST_WAIT = 60.0
_LONGEST_HOLD = 600.0  # an endpoint that asks for more has used up a quota of hours or days
_CHECK_RETRIES = 2
"""Of the first question where a request is out of tries: an endpoint that is down is said soon."""
_NO_ANSWER = "no answer from the endpoint"
_SEEDS = 2**31  # some endpoints keep seeds in 32 bits


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What an endpoint was asked for since this process began."""

    requests: int
    """Answered ones."""
    retries: int
    input_tokens: int
    output_tokens: int
    """As the endpoint counts them; words where it does not."""
    cost: float
    """By the prices of the recipe."""


class OpenAIGenerator:
    """A model behind an endpoint; `connect` makes one.

    It cannot be given token ids. Its own template frames the messages, and text that looks like a
    control token becomes one where the endpoint does not prevent it (docs/guides/engines.md).
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
        """Take what is needed to ask.

        Args:
            engine: the endpoint, its limits and its prices.
            model: what it calls the model.
            tokenizer: counts tokens; None counts words.
            content: what is sent of a message, for models that hear.
        """
        self.id = model
        self.revision = model
        self._engine = engine
        self._tokenizer = tokenizer
        self._content = content
        self._fingerprint: str | None = None
        self._pace = Pace(
            requests_per_minute=engine.requests_per_minute,
            tokens_per_minute=engine.tokens_per_minute,
        )
        self._jitter = random.Random()  # random state outside must not move
        self._counts: Counter[str] = Counter()
        self._question = HELLO
        self._told: set[str] = set()

    @property
    def usage(self) -> Usage:
        """What was asked for until now."""
        read, written = self._counts["input"], self._counts["output"]
        prices = self._engine.input_price, self._engine.output_price
        return Usage(
            requests=self._counts["requests"],
            retries=self._counts["retries"],
            input_tokens=read,
            output_tokens=written,
            cost=(read * prices[0] + written * prices[1]) / 1e6,
        )

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Return the length of a conversation, in words where no tokenizer was given."""
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
        """Answer each conversation; a seed is a wish that not every endpoint grants.

        Raises:
            ConfigError: the endpoint refuses the key, the model, the account or the settings.
            UnavailableError: it fails again and again, or is another one by now.
        """
        requests = [
            (self._body(messages, sampling, seed), self.count_tokens(messages))
            for messages, seed in zip(conversations, seeds, strict=True)
        ]
        return asyncio.run(self._ask_all(requests, on_outcome or (lambda place, outcome: None)))

    def find_revision(self, question: Message = HELLO) -> None:
        """Ask for one token, and learn what pins the answers.

        Raises:
            ConfigError: the endpoint does not answer, or refuses key, model, account or question.
            DataError: it does not speak the protocol.
        """
        self._question = question
        body = self._body([question], Sampling(max_new_tokens=1), 0)
        answer = asyncio.run(self._introduce(body, hears=bool(question.audios)))
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

    async def _introduce(self, body: dict[str, Any], *, hears: bool) -> Answer:
        async with open_client(self._engine) as client:
            answer = await self._ask(client, body, 1, await_server=False)
            if isinstance(answer, Unserved) and isinstance(answer.error, UnknownModelError):
                served = await served_models(client)
                fix = f"{suggest(self.id, served)}; set engine.model" if served else self._address
                raise ConfigError(answer.error.message, fix=fix)
        if isinstance(answer, Unserved):
            raise answer.error
        if isinstance(answer, Unreadable):
            raise ConfigError(
                f"{self._engine.base_url} {answer.message}",
                fix="mend what it names, or read what the endpoint logs"
                if answer.in_protocol
                else self._address,
            )
        if isinstance(answer, Refusal):
            fix = "change what it names in the recipe"
            raise ConfigError(
                f"{self._engine.base_url} refuses a request: {answer.message}",
                fix=f"name a model that hears, or {fix}" if hears else fix,
            )
        return answer

    async def _ask_all(
        self, requests: Sequence[tuple[dict[str, Any], int]], on_outcome: OnOutcome
    ) -> list[Outcome]:
        """Ask everything; a refusal is told last, once the first question was answered again."""
        gate = asyncio.Semaphore(self._engine.concurrency)
        completions: dict[int, Completion] = {}
        refusals: dict[int, Refusal] = {}
        num_checked = 0  # of the refusals

        async def ask(client: "AsyncClient", place: int, body: dict[str, Any], length: int) -> None:
            nonlocal num_checked
            tokens = length + body[self._engine.token_limit]
            async with gate:  # kept while a try waits: a server in trouble gets no more of them
                answer = await self._ask(client, body, tokens)
                if is_checked := isinstance(answer, Unreadable | Unserved):  # perhaps it is of all
                    await self._check_settings(client, body, retries=_CHECK_RETRIES)
                    answer = await self._ask(client, body, tokens, retries=0)  # it may have passed
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
                        group.create_task(ask(client, place, body, length))
                if len(refusals) > num_checked:
                    await self._check_settings(client, requests[next(iter(refusals))][0])
        except ExceptionGroup as group:  # the first to fail has cancelled the others
            raise group.exceptions[0] from None
        for place, refusal in refusals.items():
            on_outcome(place, refusal)
            self._tell(refusal)
        outcomes: dict[int, Outcome] = {**completions, **refusals}
        return [outcomes[place] for place in range(len(requests))]

    async def _check_settings(
        self, client: "AsyncClient", body: dict[str, Any], *, retries: int | None = None
    ) -> None:
        """Raise what befalls the first question, with these settings, as well."""
        question = {**body, "messages": self._messages([self._question])}
        tokens = body[self._engine.token_limit]
        answer = await self._ask(client, question, tokens, retries=retries)
        if isinstance(answer, Unserved):
            raise answer.error
        if isinstance(answer, Unreadable):
            message = f"{self._engine.base_url} {answer.message}"
            raise unanswered(message, self._num_tries(retries))
        if isinstance(answer, Refusal):
            raise ConfigError(
                f"{self._engine.base_url} refuses every request: {answer.message}",
                fix="change what it names in the recipe; what was answered is kept",
            )

    def _tell(self, refusal: Refusal) -> None:
        """Warn of the first refusal of its kind."""
        does = "" if isinstance(refusal, Unreadable | Unserved) else "refuses a request: "
        self._warn(refusal.reason, f"{does}{refusal.message}; that request is left out")

    def _warn(self, kind: str, what: str) -> None:
        """Warn of the first of a kind."""
        if kind not in self._told:
            self._told.add(kind)
            log.warning("%s %s", self._engine.base_url, what)

    async def _ask(
        self,
        client: "AsyncClient",
        body: dict[str, Any],
        tokens: int,
        *,
        retries: int | None = None,
        await_server: bool = True,
    ) -> Answer | Refusal:
        """Send a request until it is answered; `await_server`: also where nobody listens."""
        tries = self._num_tries(retries)

        def unserved(kind: str, failure: str) -> Unserved:
            message = f"{self._engine.base_url} {failure}"
            error = unanswered(message, tries if await_server else None)
            return Unserved(reason=f"{_NO_ANSWER}: {kind}", message=failure, error=error)

        for number in range(tries):
            if number:
                self._counts["retries"] += 1
            await self._pace.turn(tokens)
            wait = min(_FIRST_WAIT * 2**number, _LONGEST_WAIT) * self._jitter.uniform(0.5, 1)
            refusal: Refusal
            try:
                response = await client.post("chat/completions", json=body)
            except client_library().TimeoutException:
                seconds = f"{self._engine.timeout:g} s"
                refusal = unserved("time-out", f"gave no answer within {seconds}")
            except client_library().DecodingError as error:
                refusal = read_damaged(str(error))
            except client_library().TransportError as error:
                detail = str(error) or type(error).__name__
                refusal = unserved("connection", f"cannot be reached: {detail}")
                if not await_server:
                    return refusal
            else:
                limit = body[self._engine.token_limit]
                answer = read_answer(response, limit) if response.is_success else None
                if isinstance(answer, Answer):
                    self._count(answer)
                if answer is not None:
                    return answer
                status = status_of(response)
                if status in _AGAIN or status >= 500:
                    refusal = unserved(f"{status}", f"answered {reason_of(response)}")
                    self._check_quota(response)
                    wait = max(wait, self._hold(response))
                elif refused := read_refusal(response):
                    return refused
                elif 200 <= status < 300:
                    refusal = read_unreadable(response)
                else:
                    refusing = error_of(response, self._engine, self.id)
                    if status == 401:
                        raise refusing
                    return read_unserved(response, refusing)
            if number + 1 < tries:
                await asyncio.sleep(wait)
        return refusal

    def _num_tries(self, retries: int | None) -> int:
        most = self._engine.max_retries
        return 1 + (most if retries is None else min(retries, most))

    def _hold(self, response: "Response") -> float:
        """Let all requests wait as long as the endpoint says; return the seconds."""
        seconds = retry_after(response.headers.get("retry-after", ""))
        if seconds > _LONGEST_HOLD:
            raise UnavailableError(
                f"{self._engine.base_url} wants to be left alone for {seconds:.0f} s",
                fix="give the same command again by then; what was answered is kept",
            )
        if seconds:
            log.info("%s asks for a pause of %.0f s", self._engine.base_url, seconds)
            self._pace.hold(seconds)
        return seconds

    def _check_quota(self, response: "Response") -> None:
        if "insufficient_quota" in response.text:
            raise ConfigError(
                f"the account has used up what it may: {reason_of(response)}",
                fix="raise its limit, then give the same command again; what was answered is kept",
            )

    def _count(self, answer: Answer) -> None:
        self._counts["requests"] += 1
        self._counts["input"] += answer.num_read
        self._counts["output"] += answer.completion.num_tokens
        if ending := answer.unknown_ending:
            self._warn(
                f"finish_reason {ending}",
                f'ends a response by an unknown finish_reason, "{ending}": it counts as finished, '
                "unless it has all the tokens that were allowed",
            )

    def _check_fingerprint(self, answer: Answer) -> None:
        pinned = self._engine.pin_fingerprint and answer.fingerprint  # none tells nothing
        if pinned and answer.fingerprint != self._fingerprint:
            raise UnavailableError(
                f"{self._engine.base_url} is not what it was when this began: fingerprint "
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
    """Return a generator for an endpoint that has answered one question already.

    Args:
        engine: the endpoint, its limits and its prices.
        model: what it calls the model.
        tokenizer: counts tokens; None counts words.
        content: what is sent of a message, for models that hear.
        question: that one, of the kind that will be asked.

    Raises:
        MissingExtraError: the client is not installed.
        ConfigError: the endpoint does not answer, or refuses key, model, account or question.
        DataError: it does not speak the protocol.
    """
    generator = OpenAIGenerator(engine, model=model, tokenizer=tokenizer, content=content)
    generator.find_revision(question)
    return generator
