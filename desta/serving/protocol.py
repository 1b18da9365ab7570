"""Protocol between the routes of the server and the engines behind them.

Routes parse and bound a request, decode base64 and fetch URLs; an engine turns the recordings into
audio tokens and transcriptions, and writes the answer. `embedded` computes it in this process.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from desta.model.backbone.sampling import Sampling
from desta.records import Message, Segment


@dataclass(frozen=True, kw_only=True)
class ChatRequest:
    """A checked chat request."""

    model: str
    """One of `ServingEngine.models`."""
    messages: tuple[Message, ...]
    """Turns with a locator per clip; `AudioRef.audio` is the bytes of a recording in any format
    (not decoded yet), and `AudioRef.text` the client's own transcription, or None. There is no
    system message unless the client sent one: an engine adds that of the training data."""
    sampling: Sampling
    seed: int | None = None
    num_answers: int = 1
    num_logprobs: int | None = None
    """Likeliest alternatives to return with every token; None returns no log-probabilities."""
    stream: bool = False
    """Whether the client wants text as it is generated; else one `Delta` an answer will do."""
    body: Mapping[str, Any] = field(default_factory=dict)
    """The JSON body with all its fields, for engines that pass them on. An engine that cannot
    honour a field raises `ServingError`; it must not ignore one that changes the answer."""


@dataclass(frozen=True, kw_only=True)
class HeardClip:
    """A clip of a request as the model got it."""

    text: str
    """The transcription that was used; one space where nothing is spoken."""
    seconds: float
    num_audio_tokens: int = 0
    """Tokens of the prompt that stand for its sound."""
    num_text_tokens: int = 0
    """Tokens of the prompt that stand for its transcription."""


@dataclass(frozen=True, kw_only=True)
class Delta:
    """New part of one answer."""

    index: int = 0
    """Number of the answer, from 0."""
    message: Mapping[str, Any] = field(default_factory=dict)
    """Fields of OpenAI's `delta`, such as {"content": "A dog"}. Texts of later deltas are appended;
    other values replace earlier ones in an answer that is not streamed."""
    logprobs: Sequence[Mapping[str, Any]] = ()
    """Tokens in OpenAI's form: token, logprob, bytes, top_logprobs."""
    finish_reason: str | None = None
    """stop, length, ...; set in the last delta of an answer."""


@dataclass(frozen=True, kw_only=True)
class Usage:
    """Tokens of a request; the last event of every reply."""

    prompt_tokens: int
    completion_tokens: int
    audio_tokens: int = 0
    """Those of the prompt that stand for audio."""
    cached_tokens: int = 0
    """Those of the prompt whose keys and values were cached."""
    stages: Mapping[str, float] = field(default_factory=dict)
    """Seconds of this request per stage, in their order: encode, queue, prefill, generate; empty
    where an engine does not measure them."""


@dataclass(frozen=True, kw_only=True)
class Reply:
    """A reply that is being generated."""

    clips: tuple[HeardClip, ...]
    """In the order of the conversation."""
    events: AsyncIterator[Delta | Usage]
    """Deltas of all answers as they come, then one `Usage`. Closing it (`aclose`), or cancelling
    the task that waits for it, frees the slot; it may come before the first event. Errors on the
    way are `DestaError`."""


@dataclass(frozen=True, kw_only=True)
class Transcription:
    """Transcription of a recording."""

    text: str
    """Empty where nothing is spoken."""
    seconds: float
    """Duration of the recording."""
    segments: tuple[Segment, ...] = ()
    """Parts with start and end in seconds, in order; only those with text."""


class ServingEngine(Protocol):
    """Engine behind the routes. Methods are called on the event loop, many at once.

    Errors are `DestaError`; `desta.serving.errors` maps them to a status. Nothing that was said or
    asked may reach a log.
    """

    @property
    def models(self) -> Sequence[str]:
        """Names that a request may ask for."""

    @property
    def is_ready(self) -> bool:
        """Whether requests are answered now; False before `start` and after `close`."""

    async def start(self) -> None:
        """Get ready; called once, before the first request."""

    async def close(self) -> None:
        """Refuse new requests, finish those that run, and free everything."""

    async def chat(self, request: ChatRequest) -> Reply:
        """Return the reply once its clips are encoded and its place in the queue has come.

        Cancelling the call gives the request up.

        Raises:
            DestaError: a recording cannot be read, the conversation is too long, a field is not
                supported, the server is too busy, ...
        """

    async def transcribe(self, recording: bytes, *, language: str | None = None) -> Transcription:
        """Return the transcription of a recording.

        Args:
            recording: bytes of a file in any format that is read.
            language: of the speech; None means that of the server, or that it is detected.

        Raises:
            DestaError: it cannot be read, or this model cannot transcribe.
        """
