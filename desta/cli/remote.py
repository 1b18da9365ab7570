"""Conversation with a model behind an endpoint, in place of one that is loaded."""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from desta.errors import ConfigError, DataError, UnavailableError, need
from desta.records import LOCATOR, NO_TRANSCRIPTION, AudioRef, Message, with_audios

KEY_VARIABLE = "OPENAI_API_KEY"
"""Environment variable with the key or token of an endpoint, as OpenAI's clients have it."""
_TIMEOUT = 300.0  # seconds without a word


@dataclass
class RemoteConversation:
    """A conversation with `desta serve`, or any server of OpenAI's API that takes audio."""

    client: Any
    """From `connect`."""
    model: str
    options: dict[str, Any]
    """Fields of every request, such as `max_tokens`."""
    messages: list[Message] = field(default_factory=list)

    def ask(self, text: str, audios: Sequence[str] = ()) -> Iterator[str]:
        """Yield the answer to a new turn piece by piece; a complete turn is added to `messages`.

        Raises:
            DestaError: the server refuses the request, or cannot be reached.
        """
        from desta.evaluation.models import audio_parts  # decodes clips; no model is loaded

        clips = tuple(AudioRef(audio=audio) for audio in audios)
        marks = "\n".join([LOCATOR] * len(clips))
        content = f"{marks}\n\n{text}" if clips else text
        if content.count(LOCATOR) != len(clips):
            raise DataError(
                f"{content.count(LOCATOR)} {LOCATOR} but {len(clips)} audio clips",
                fix="leave that mark out of the question",
            )
        turns = [*self.messages, Message(role="user", content=content, audios=clips)]
        body = {
            "model": self.model,
            "messages": [{"role": m.role, "content": audio_parts(m)} for m in turns],
            "stream": True,
            **self.options,
        }
        answer, heard = "", [clip for turn in turns for clip in turn.audios]
        for chunk in _chunks(self.client, body):
            for number, fact in enumerate(chunk.get("transcriptions", ())):
                heard[number] = replace(heard[number], text=fact["text"] or NO_TRANSCRIPTION)
            for choice in chunk["choices"]:
                piece = choice["delta"].get("content") or ""
                answer += piece
                yield piece
        self.messages = [*with_audios(turns, heard), Message(role="assistant", content=answer)]


def connect(url: str, model: str | None, system: str | None, **options: Any) -> RemoteConversation:
    """Begin a conversation with a server.

    Args:
        url: of the server, with or without /v1.
        model: its name there; None takes the first one that is listed.
        system: system prompt; None leaves it to the server.
        options: fields of every request.

    Raises:
        ConfigError: the URL is wrong, or the server lists no model.
        UnavailableError: it cannot be reached.
    """
    httpx = need("httpx2", extra="api", to="ask a server")
    base = url.rstrip("/").removesuffix("/v1")
    if not base.startswith(("http://", "https://")):
        raise ConfigError(f"{url} is no URL of a server", fix="give for example http://host:8000")
    key = os.environ.get(KEY_VARIABLE, "").strip()
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    client = httpx.Client(base_url=f"{base}/v1/", headers=headers, timeout=_TIMEOUT)
    with _readable(base):
        response = client.get("models")
        _check(response)
        served = [str(row["id"]) for row in response.json()["data"]]
    if model is None and not served:
        raise ConfigError(f"{url} lists no model", fix="name one with --model")
    messages = [Message(role="system", content=system)] if system else []
    return RemoteConversation(client, model or served[0], options, messages)


def _chunks(client: Any, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    with (
        _readable(str(client.base_url)),
        client.stream("POST", "chat/completions", json=body) as response,
    ):
        _check(response)
        for line in response.iter_lines():
            if line.startswith("data: ") and line != "data: [DONE]":
                chunk = json.loads(line.removeprefix("data: "))
                if "error" in chunk:
                    raise _refusal(chunk["error"])
                yield chunk


@contextmanager
def _readable(url: str) -> Iterator[None]:
    """Turn errors of the connection and of the protocol into ours."""
    httpx = need("httpx2", extra="api", to="ask a server")
    try:
        yield
    except httpx.HTTPError as error:
        raise UnavailableError(
            f"{url} cannot be asked: {type(error).__name__}",
            fix="check the URL, and that the server runs",
        ) from error
    except (LookupError, TypeError, ValueError) as error:
        raise DataError(
            f"{url} does not answer as OpenAI's API does",
            fix="give the URL of desta serve, or of another server of that API",
        ) from error


def _check(response: Any) -> None:
    """Raise DestaError if the server refuses a request."""
    if response.is_success:
        return
    response.read()
    if response.status_code in (401, 403):
        raise ConfigError(
            "the server refuses the key", fix=f"set {KEY_VARIABLE} to its key or token"
        )
    raise _refusal(response.json()["error"])


def _refusal(error: dict[str, Any]) -> DataError:
    what, _, fix = str(error["message"]).rpartition("; ")
    return DataError(what or fix, fix=fix if what else "see what the server says")
