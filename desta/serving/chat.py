"""Route of chat completions: body -> request of an engine -> answer, at once or as a stream."""

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.types import Receive, Scope, Send

from desta.errors import DestaError
from desta.model.backbone.sampling import Sampling
from desta.records import LOCATOR, NO_TRANSCRIPTION, AudioRef, Message
from desta.serving.disconnect import until_disconnect
from desta.serving.errors import ServingError, body_of
from desta.serving.limits import ServingLimits
from desta.serving.media import Fetcher, decode_base64
from desta.serving.protocol import ChatRequest, Delta, Reply, ServingEngine, Usage
from desta.serving.schema import (
    MAX_STOPS,
    AudioUrlPart,
    ChatBody,
    ChatCompletion,
    ChatMessage,
    InputAudioPart,
    Part,
    TextPart,
)

_MAX_FETCHING = 4  # requests whose clips are fetched at once
_ROLES = {"developer": "system"}


def chat_routes(
    engine: ServingEngine, limits: ServingLimits, fetcher: Fetcher, *, temperature: float
) -> APIRouter:
    """Create the route `/v1/chat/completions`.

    Args:
        engine: what answers.
        limits: limits of the server.
        fetcher: reads `audio_url`.
        temperature: of requests that give none.
    """
    router = APIRouter()
    fetching = ThreadPoolExecutor(_MAX_FETCHING, "fetch")  # hosts that are slow keep no others

    @router.post(
        "/v1/chat/completions",
        response_model=ChatCompletion,
        responses={200: {"content": {"text/event-stream": {}}, "description": "An answer."}},
    )
    async def create_chat_completion(body: ChatBody, http: Request) -> Any:
        """Answer a conversation about clips, or about text alone."""
        check_model(body.model, engine)
        raw = await http.json()

        async def begin() -> tuple[ChatRequest, Reply]:
            pool = fetching if asks_hosts(body) else None
            loop = asyncio.get_running_loop()
            messages = await loop.run_in_executor(pool, read_messages, body, limits, fetcher)
            request = read_request(body, raw, messages, limits, temperature=temperature)
            return request, await engine.chat(request)

        async def answer() -> dict[str, Any]:
            request, reply = await begin()
            return await _gather(_head("chat.completion", body.model), request, reply)

        if not body.stream:
            return JSONResponse(await until_disconnect(http, answer()))
        request, reply = await until_disconnect(http, begin())
        return _EventStream(_head("chat.completion.chunk", body.model), request, reply)

    return router


def asks_hosts(body: ChatBody) -> bool:
    """Return whether clips must be fetched from other hosts."""
    return any(
        isinstance(part, AudioUrlPart) and part.audio_url.url[:5].lower() != "data:"
        for part in _parts(body)
    )


def _parts(body: ChatBody) -> Iterator[Part]:
    for message in body.messages:
        if isinstance(message.content, list):
            yield from message.content


def check_model(name: str, engine: ServingEngine) -> None:
    """Raise ServingError if a model is not served."""
    if name not in engine.models:
        raise ServingError(
            "there is no such model here",
            fix=f"ask for {' or '.join(engine.models)}",
            status=404,
            code="model_not_found",
            param="model",
        )


def read_messages(body: ChatBody, limits: ServingLimits, fetcher: Fetcher) -> tuple[Message, ...]:
    """Return the messages with the recordings of their clips; URLs are fetched.

    Raises:
        ServingError: a recording cannot be got, or there are too many.
    """
    num_clips = sum(not isinstance(part, TextPart) for part in _parts(body))
    if num_clips > limits.max_clips:
        raise ServingError(
            f"the conversation has {num_clips} clips, and this server takes {limits.max_clips}",
            fix="ask about fewer clips",
            status=413,
            param="messages",
        )
    deadline = time.monotonic() + fetcher.seconds

    def fetch(url: str) -> bytes:
        left = max(deadline - time.monotonic(), 1e-3)
        return replace(fetcher, seconds=left).read(url)

    return tuple(_read_message(message, fetch) for message in body.messages)


def _read_message(message: ChatMessage, fetch: Callable[[str], bytes]) -> Message:
    """Return a message: its clips, a blank line, its text, as `desta ask` puts them.

    Where the text itself holds a locator for each clip, the clips stand there.
    """
    role = _ROLES.get(message.role, message.role)
    if not isinstance(message.content, list):
        return Message(role=role, content=message.content or "")
    text = "\n".join(part.text for part in message.content if isinstance(part, TextPart))
    clips: list[AudioRef] = []
    for part in message.content:
        if isinstance(part, TextPart):
            continue
        if isinstance(part, InputAudioPart):
            recording = decode_base64(part.input_audio.data, param="input_audio.data")
            known = part.input_audio.transcription
        else:
            recording, known = fetch(part.audio_url.url), part.audio_url.transcription
        clips.append(
            AudioRef(audio=recording, text=None if known is None else known or NO_TRANSCRIPTION)
        )
    if clips and role != "user":
        raise ServingError(
            f"a message of the role {message.role} has a clip",
            fix="put clips into messages of the role user",
            param="messages",
        )
    if clips and LOCATOR not in text:
        text = "\n".join([LOCATOR] * len(clips)) + f"\n\n{text}"
    return Message(role=role, content=text, audios=tuple(clips))


def read_request(
    body: ChatBody,
    raw: Mapping[str, Any],
    messages: tuple[Message, ...],
    limits: ServingLimits,
    *,
    temperature: float,
) -> ChatRequest:
    """Return the request of a body.

    Raises:
        DestaError: its settings contradict each other or the limits.
    """
    num_answers = body.n or 1
    if num_answers > limits.max_answers:
        raise ServingError(
            f"n = {num_answers}, and this server gives {limits.max_answers} answers at most",
            fix="ask for fewer",
            param="n",
        )
    if body.top_logprobs is not None and not body.logprobs:
        raise ServingError(
            "top_logprobs needs logprobs", fix='set "logprobs": true', param="top_logprobs"
        )
    if body.stream_options is not None and not body.stream:
        raise ServingError(
            "stream_options needs stream", fix='set "stream": true', param="stream_options"
        )
    stop = [body.stop] if isinstance(body.stop, str) else body.stop or []
    if len(stop) > MAX_STOPS:
        raise ServingError(
            f"there are {len(stop)} stop strings", fix=f"give at most {MAX_STOPS}", param="stop"
        )
    sampling = Sampling(
        temperature=temperature if body.temperature is None else body.temperature,
        top_p=1.0 if body.top_p is None else body.top_p,
        max_new_tokens=body.max_completion_tokens or body.max_tokens or limits.max_tokens,
        stop=tuple(text for text in stop if text),
    )
    return ChatRequest(
        model=body.model,
        messages=messages,
        sampling=sampling,
        seed=None if body.seed is None else abs(body.seed),
        num_answers=num_answers,
        num_logprobs=(body.top_logprobs or 0) if body.logprobs else None,
        stream=bool(body.stream),
        body=raw,
    )


def _head(kind: str, model: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{uuid.uuid4().hex}",
        "object": kind,
        "created": int(time.time()),
        "model": model,
    }


def _transcriptions(reply: Reply) -> list[dict[str, Any]]:
    return [
        {
            "text": clip.text.strip(),
            "seconds": clip.seconds,
            "audio_tokens": clip.num_audio_tokens,
            "text_tokens": clip.num_text_tokens,
        }
        for clip in reply.clips
    ]


def _stage_ms(usage: Usage) -> dict[str, float]:
    return {stage: round(1000 * seconds, 1) for stage, seconds in usage.stages.items()}


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "prompt_tokens_details": {
            "audio_tokens": usage.audio_tokens,
            "cached_tokens": usage.cached_tokens,
        },
    }


async def _gather(head: dict[str, Any], request: ChatRequest, reply: Reply) -> dict[str, Any]:
    """Return the body of an answer that is not streamed."""
    choices: list[dict[str, Any]] = [
        {
            "index": index,
            "message": {"role": "assistant", "content": ""},
            "logprobs": None if request.num_logprobs is None else {"content": [], "refusal": None},
            "finish_reason": "stop",
        }
        for index in range(request.num_answers)
    ]
    usage = Usage(prompt_tokens=0, completion_tokens=0)
    try:
        async for event in reply.events:
            if isinstance(event, Usage):
                usage = event
            else:
                _add(choices[event.index], event)
    finally:
        await _close(reply)
    return {
        **head,
        "choices": choices,
        "usage": _usage(usage),
        "transcriptions": _transcriptions(reply),
        "stage_ms": _stage_ms(usage),
    }


def _add(choice: dict[str, Any], delta: Delta) -> None:
    message = choice["message"]
    for name, value in delta.message.items():
        before = message.get(name)
        is_text = isinstance(value, str) and isinstance(before, str) and name != "role"
        message[name] = before + value if is_text else value
    if delta.logprobs and choice["logprobs"] is not None:
        choice["logprobs"]["content"] += delta.logprobs
    if delta.finish_reason is not None:
        choice["finish_reason"] = delta.finish_reason


async def _close(reply: Reply) -> None:
    close = getattr(reply.events, "aclose", None)
    if close is not None:
        await close()


class _EventStream(StreamingResponse):
    """Stream of chunks; its reply is closed however the response ends."""

    def __init__(self, head: dict[str, Any], request: ChatRequest, reply: Reply) -> None:
        super().__init__(_lines(head, request, reply), media_type="text/event-stream")
        self._reply = reply

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await _close(self._reply)


async def _lines(head: dict[str, Any], request: ChatRequest, reply: Reply) -> AsyncIterator[str]:
    """Yield the lines of a stream of server-sent events."""
    options = request.body.get("stream_options") or {}
    with_usage = bool(options.get("include_usage"))
    if with_usage:
        head = {**head, "usage": None}
    first = {"transcriptions": _transcriptions(reply)}
    for index in range(request.num_answers):
        choice = _choice(request, Delta(index=index, message={"role": "assistant", "content": ""}))
        yield _line({**head, "choices": [choice], **first})
        first = {}
    try:
        async for event in reply.events:
            if isinstance(event, Delta):
                for choice in _choices(request, event):
                    yield _line({**head, "choices": [choice]})
            elif with_usage:
                last = {"usage": _usage(event), "stage_ms": _stage_ms(event)}
                yield _line({**head, "choices": [], **last})
    except DestaError as error:  # the status is sent already
        yield _line(body_of(error))
        return
    yield "data: [DONE]\n\n"


def _choices(request: ChatRequest, delta: Delta) -> Iterator[dict[str, Any]]:
    """Yield the choice of a delta, unless it holds nothing new."""
    if delta.message or delta.logprobs or delta.finish_reason is not None:
        yield _choice(request, delta)


def _choice(request: ChatRequest, delta: Delta) -> dict[str, Any]:
    logprobs = None
    if request.num_logprobs is not None and delta.logprobs:
        logprobs = {"content": list(delta.logprobs), "refusal": None}
    return {
        "index": delta.index,
        "delta": dict(delta.message),
        "logprobs": logprobs,
        "finish_reason": delta.finish_reason,
    }


def _line(chunk: Mapping[str, Any]) -> str:
    return f"data: {json.dumps(chunk, ensure_ascii=False, separators=(',', ':'))}\n\n"
