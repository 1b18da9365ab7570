"""Engine of this process: encoding on one thread, continuous batching on another."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

from desta.errors import DestaError
from desta.inference.conversation import system_messages
from desta.inference.engine import Engine
from desta.inference.requests import Request
from desta.model.backbone.writer import Writer
from desta.records import Message
from desta.serving.audio_stage import AudioStage
from desta.serving.decoder import Begun, Decoder, Job, Piece
from desta.serving.errors import ServingError, unsupported
from desta.serving.limits import ServingLimits
from desta.serving.metrics import Metrics
from desta.serving.protocol import ChatRequest, Delta, HeardClip, Reply, Transcription, Usage

_MAX_LETTERS = 16
"""Letters to a token beyond which a text is not tokenized; words have four or five."""
_READ = frozenset(
    {
        *("model", "messages", "max_tokens", "max_completion_tokens", "temperature", "top_p", "n"),
        *("seed", "stop", "logprobs", "top_logprobs", "stream", "stream_options"),
    }
)
_IGNORED = frozenset(
    {
        *("user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key"),
        *("prompt_cache_retention", "prediction", "parallel_tool_calls", "verbosity"),
        *("reasoning_effort", "tool_choice"),
    }
)
"""Fields that change no answer of a model without tools and reasoning."""
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "tools": ([],),
    "functions": ([],),
    "logit_bias": ({},),
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
}
"""Fields that are not supported, with values that ask for nothing."""


class EmbeddedEngine:
    """Server engine around an `Engine`."""

    def __init__(
        self,
        engine: Engine,
        limits: ServingLimits,
        metrics: Metrics,
        *,
        name: str,
        system: str | None = None,
    ) -> None:
        """Create the engine of a server.

        Args:
            engine: a loaded model.
            limits: limits of the server.
            metrics: metrics of the server.
            name: of the model, in requests.
            system: system prompt of conversations without one; None means that of the training
                data.
        """
        self.models: Sequence[str] = (name,)
        self._engine = engine
        self._limits = limits
        self._metrics = metrics
        self._system = system
        self._decoder = Decoder(engine, limits, metrics)
        self._stage = AudioStage(
            engine.audio_encoder,
            metrics,
            is_decoding=lambda: self._decoder.is_busy,
            seconds=limits.request_seconds,
            audio_seconds=limits.max_seconds,
        )
        self.is_ready = False

    @property
    def num_rows(self) -> int:
        """Answers that are being generated."""
        return self._decoder.num_rows

    async def start(self) -> None:
        """Start the decoding thread."""
        self._decoder.start()
        self.is_ready = True

    async def close(self) -> None:
        """Finish what runs, up to `stop_seconds`, and end the thread."""
        self.is_ready = False
        await asyncio.to_thread(self._decoder.close, self._limits.stop_seconds)

    async def chat(self, request: ChatRequest) -> Reply:
        """Return the reply to a request once its first answer is being generated.

        Raises:
            DestaError: see `ServingEngine.chat`.
        """
        check_fields(request)
        check_size(request.messages, self._limits.max_positions)
        deadline = time.monotonic() + self._limits.request_seconds
        asked = Request(
            messages=self._with_system(request.messages),
            sampling=request.sampling,
            seed=request.seed,
            num_answers=request.num_answers,
            num_logprobs=request.num_logprobs,
        )
        refs = self._engine.clips_of(asked)
        start = time.perf_counter()
        clips = await self._stage.encode(refs)
        events = _Events(self._engine, self._metrics, asked)
        job = Job(asked, refs, clips, events.deliver, deadline)
        job.stages["encode"] = job.submitted - start
        events.job = job
        self._decoder.submit(job)
        try:
            begun = await events.begun()
        except BaseException:
            job.is_cancelled = True
            raise
        self._metrics.tokens.labels("prompt").inc(len(begun.prepared.tokens.ids))
        self._metrics.tokens.labels("prompt_cached").inc(begun.num_cached)
        heard = tuple(
            HeardClip(
                text=ref.text or "",
                seconds=clip.seconds,
                num_audio_tokens=span.num_audio_tokens,
                num_text_tokens=span.num_text_tokens,
            )
            for ref, clip, span in zip(
                begun.prepared.audios, clips, begun.prepared.tokens.spans, strict=True
            )
            if not isinstance(clip, DestaError)
        )
        return Reply(clips=heard, events=events)

    async def transcribe(self, recording: bytes, *, language: str | None = None) -> Transcription:
        """Return the transcription of a recording; see `ServingEngine.transcribe`."""
        return await self._stage.transcribe(recording, language=language)

    def _with_system(self, messages: Sequence[Message]) -> list[Message]:
        """Add the system prompt unless there is one; an empty one means none, as in `desta ask`."""
        if all(message.role != "system" for message in messages):
            return [*system_messages(self._engine, self._system), *messages]
        return [m for m in messages if m.role != "system" or m.content]


def check_fields(request: ChatRequest) -> None:
    """Refuse fields that would change the answer and are not supported.

    Raises:
        ServingError: there is one.
    """
    for name, value in request.body.items():
        if name in _READ or name in _IGNORED or value is None:
            continue
        if value not in _NEUTRAL.get(name, ()):
            raise unsupported(name)
    for number, message in enumerate(request.body.get("messages", ())):
        if message.get("role") == "tool" or message.get("tool_calls"):
            raise unsupported(f"messages.{number}", ": it has no tools")


def check_size(messages: Sequence[Message], max_positions: int) -> None:
    """Refuse text that can only be too long before it is tokenized, which would take its time.

    Raises:
        ServingError: it is.
    """
    texts = [text for m in messages for text in (m.content, *(a.text or "" for a in m.audios))]
    if sum(map(len, texts)) > _MAX_LETTERS * max_positions:
        raise ServingError(
            f"the text of the conversation has more than {_MAX_LETTERS * max_positions} letters",
            fix="shorten the messages",
            code="context_length_exceeded",
            param="messages",
        )


class _Events(AsyncIterator[Delta | Usage]):
    """Events of one job, handed over from the decoding thread."""

    def __init__(self, engine: Engine, metrics: Metrics, request: Request) -> None:
        self.job: Job | None = None
        self._engine = engine
        self._metrics = metrics
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[Begun | Piece | DestaError] = asyncio.Queue()
        self._begun: Begun | None = None
        self._texts = [_Trimmer() for _ in range(request.num_answers)]
        self._num_noted = [0] * request.num_answers
        self._num_tokens = [0] * request.num_answers
        self._open = request.num_answers
        self._is_over = False

    def deliver(self, event: Begun | Piece | DestaError) -> None:
        """Hand an event over; called on the decoding thread."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._queue.put_nowait, event)

    async def begun(self) -> Begun:
        """Wait for the first event."""
        event = await self._queue.get()
        if isinstance(event, DestaError):
            raise event
        assert isinstance(event, Begun)
        self._begun = event
        return event

    async def __anext__(self) -> Delta | Usage:
        if self._is_over:
            raise StopAsyncIteration
        if not self._open:
            self._is_over = True
            return self._usage()
        event = await self._queue.get()
        if isinstance(event, DestaError):
            self._is_over = True
            raise event
        assert isinstance(event, Piece)
        return self._delta(event)

    async def aclose(self) -> None:
        """Give up what is not generated yet."""
        assert self.job is not None
        self.job.is_cancelled = True
        self._is_over = True

    def _delta(self, piece: Piece) -> Delta:
        index = piece.index
        text = self._texts[index].push(piece.text)
        self._num_tokens[index] = piece.num_tokens
        if piece.finish is not None:
            self._open -= 1
        return Delta(
            index=index,
            message={"content": text} if text else {},
            logprobs=self._notes(piece),
            finish_reason=piece.finish,
        )

    def _notes(self, piece: Piece) -> list[dict[str, Any]]:
        """Return the tokens that were added, with log-probabilities if they were asked for."""
        writer = piece.writer
        start, self._num_noted[piece.index] = self._num_noted[piece.index], piece.num_tokens
        if writer.num_logprobs is None:
            return []
        return [
            self._note(writer, number)
            for number in range(start, piece.num_tokens)
            if writer.ids[number] not in self._engine.end_ids
        ]

    def _note(self, writer: Writer, number: int) -> dict[str, Any]:
        logprob, alternatives = writer.logprobs[number]
        best = [self._token(token, value) for token, value in alternatives]
        return {**self._token(writer.ids[number], logprob), "top_logprobs": best}

    def _token(self, token: int, logprob: float) -> dict[str, Any]:
        text = self._engine.tokenizer.decode([token])
        whole = "\ufffd" not in text  # else a part of a character
        return {
            "token": text,
            "logprob": max(logprob, -9999.0),  # JSON has no infinity
            "bytes": list(text.encode()) if whole else None,
        }

    def _usage(self) -> Usage:
        assert self._begun is not None
        completion = sum(self._num_tokens)
        self._metrics.tokens.labels("completion").inc(completion)
        tokens = self._begun.prepared.tokens
        assert self.job is not None
        so_far = self.job.stages
        generate = time.perf_counter() - self.job.submitted - so_far["queue"] - so_far["prefill"]
        return Usage(
            prompt_tokens=len(tokens.ids),
            completion_tokens=completion,
            audio_tokens=sum(span.num_audio_tokens for span in tokens.spans),
            cached_tokens=self._begun.num_cached,
            stages={**so_far, "generate": generate},
        )


class _Trimmer:
    """Pieces of a text without the spaces at its ends, as `Answer.text`.

    >>> trimmer = _Trimmer()
    >>> [trimmer.push(piece) for piece in (" ", " a ", "b ", " ")]
    ['', 'a', ' b', '']
    """

    def __init__(self) -> None:
        self._held: str | None = None  # spaces that may be inside; None before the first word

    def push(self, piece: str) -> str:
        """Add a piece and return the text that is certain."""
        text = piece.lstrip() if self._held is None else self._held + piece
        certain = text.rstrip()
        if certain or self._held is not None:
            self._held = text[len(certain) :]
        return certain
