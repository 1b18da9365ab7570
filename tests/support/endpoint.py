"""A test endpoint with the chat completions API, which fails on request."""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from desta.generators.base import Outcome
from desta.generators.config import OpenAIEngine
from desta.generators.openai.client import OpenAIGenerator, connect
from desta.model.backbone.sampling import Sampling
from desta.records import Message
from support.server import Reply, Request, chat_completion

SAMPLING = Sampling(temperature=0.05, max_new_tokens=40, stop=("###",))


class Endpoint:
    """Endpoint that answers with the last message in capitals, unless a test sets `fail`."""

    def __init__(self) -> None:
        self.fail: Callable[[dict[str, Any], int], Reply | None] = lambda body, tries: None
        """Body of a request and number of times it was received -> reply instead, or None."""
        self.url = ""
        self.fingerprint: str | None = "build-7"
        self.usage = True
        self.seconds = 0.0
        self.key: str | None = None
        self.bodies: list[dict[str, Any]] = []
        self.times: list[float] = []
        self.most_at_once = 0
        self._at_once = 0
        self._lock = threading.Lock()

    def reply(self, request: Request) -> Reply:
        if request.body is None:
            known = {"data": [{"id": "tiny"}, {"id": "huge"}]}
            return 200 if request.path == "/v1/models" else 404, {}, known
        if request.path != "/v1/chat/completions":
            return 404, {}, b"<html>nothing here</html>"
        return self._timed(request.body, request.key)

    def _timed(self, body: dict[str, Any], key: str | None) -> Reply:
        with self._lock:
            self.times.append(time.monotonic())
            self.bodies.append(body)
            tries = sum(body == other for other in self.bodies)
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            time.sleep(self.seconds)
            return self._answer(body, key, tries)
        finally:
            with self._lock:
                self._at_once -= 1

    def _answer(self, body: dict[str, Any], key: str | None, tries: int) -> Reply:
        if self.key and key != f"Bearer {self.key}":
            return 401, {}, {"error": {"message": "Incorrect API key"}}
        if body["model"] != "tiny":
            return 404, {}, {"error": {"message": f"no {body['model']}", "code": "not_found"}}
        if failure := self.fail(body, tries):
            return failure
        return 200, {}, completion(body, self.fingerprint, self.usage)

    @property
    def questions(self) -> list[dict[str, Any]]:
        """Bodies without that of the generator's first request."""
        return self.bodies[1:]


def completion(
    body: dict[str, Any], fingerprint: str | None = None, usage: bool = True
) -> dict[str, Any]:
    text = body["messages"][-1]["content"].upper()
    counts = {"usage": {"prompt_tokens": 1000, "completion_tokens": 500}} if usage else {}
    return chat_completion(
        f" {text} ",
        "length" if len(text) > 200 else "stop",
        model="tiny-2026",
        system_fingerprint=fingerprint,
        **counts,
    )


def engine(endpoint: Any, **changes: Any) -> OpenAIEngine:
    return OpenAIEngine(base_url=endpoint.url, **{"max_retries": 3, **changes})


def connected(endpoint: Any, **changes: Any) -> OpenAIGenerator:
    return connect(engine(endpoint, **changes), model="tiny")


def ask(generator: OpenAIGenerator, texts: Sequence[str]) -> list[str]:
    answers = ask_all(generator, *texts)
    return [answer.text for answer in answers]


def ask_all(generator: OpenAIGenerator, *texts: str) -> list[Outcome]:
    """Return the outcomes of questions that are sent as one batch."""
    conversations = [[Message(role="user", content=text)] for text in texts]
    return generator.complete(conversations, SAMPLING, seeds=range(len(texts)))


def say(endpoint: Endpoint, reply: Any, to: str = "?") -> None:
    """Set the reply to questions that contain a text."""
    whole: Reply = reply if isinstance(reply, tuple) else (200, {}, reply)
    endpoint.fail = lambda body, tries: (
        whole if to in str(body["messages"][-1]["content"]) else None
    )


def one(endpoint: Endpoint, reply: Any) -> Outcome:
    """Return the outcome of a question that gets a given reply."""
    generator = connected(endpoint, max_retries=1)
    say(endpoint, reply)
    _, found = ask_all(generator, "a", "b?")
    return found


def message(**fields: Any) -> dict[str, Any]:
    """Return a chat completion with a message of these fields."""
    return {"choices": [{"message": {"role": "assistant", **fields}, "finish_reason": "stop"}]}
