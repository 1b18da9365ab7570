"""Engine in front of a text server, such as a stock vLLM that serves the plain backbone.

Recordings are decoded, transcribed, encoded and cached here. Messages with clips go on as
embeddings, and everything else of a request as the client sent it, so that whatever the text server
can do (tools, JSON schemas, log-probabilities, adapters, priorities) works because it can.
"""

import asyncio
import hashlib
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from desta.errors import DestaError, UnavailableError
from desta.inference.audio_encoding import stay_on_one_core
from desta.inference.clip_cache import EncodedClip
from desta.inference.conversation import system_messages
from desta.inference.engine import Engine
from desta.inference.requests import Request
from desta.model.backbone.chat import OPTIONS, takes_system, with_system
from desta.records import Message
from desta.serving.audio_stage import AudioStage, Found
from desta.serving.embedded import check_size
from desta.serving.limits import ServingLimits
from desta.serving.metrics import Metrics
from desta.serving.prompt_embeds import Embedder, check_no_embeddings
from desta.serving.protocol import ChatRequest, HeardClip, Reply, Transcription
from desta.serving.relay import Relay, late
from desta.serving.replicas import NEUTRAL, Replicas
from desta.serving.upstream_checks import Served


class UpstreamEngine:
    """Server engine around the audio side of an `Engine` and the replicas of a text server."""

    def __init__(
        self,
        engine: Engine,
        limits: ServingLimits,
        metrics: Metrics,
        *,
        name: str,
        replicas: Replicas,
        served: Served,
        system: str | None = None,
    ) -> None:
        """Create the engine of a server.

        Args:
            engine: a loaded model; of its backbone, only the embedding table is used.
            limits: limits of the server.
            metrics: metrics of the server.
            name: of the model, in requests.
            replicas: the text server.
            served: what it serves, from `upstream_checks`.
            system: system prompt of conversations without one; None means that of the training
                data.
        """
        self.models: Sequence[str] = (name, *served.adapters)
        self._name, self._served = name, served
        self._engine = engine
        self._limits = limits
        self._metrics = metrics
        self._replicas = replicas
        self._system = system
        self._max_positions = served.max_positions or limits.max_positions
        self._embedder = Embedder(
            engine, max_seconds=limits.max_seconds, max_positions=self._max_positions
        )
        self._stage = AudioStage(
            engine.audio_encoder,
            metrics,
            is_decoding=lambda: False,
            seconds=limits.request_seconds,
            audio_seconds=limits.max_seconds,
        )
        self._pool = ThreadPoolExecutor(1, "embed", initializer=stay_on_one_core)
        self._takes_system = takes_system(engine.tokenizer)
        self._is_open = False

    @property
    def is_ready(self) -> bool:
        """Whether the server is open and a replica answers."""
        return self._is_open and self._replicas.is_up

    async def start(self) -> None:
        """Connect to the replicas."""
        await self._replicas.open()
        self._is_open = True

    async def close(self) -> None:
        """Close the connections; the server has finished what runs."""
        self._is_open = False
        await self._replicas.close()
        self._pool.shutdown()

    async def chat(self, request: ChatRequest) -> Reply:
        """Return the reply to a request once the text server has taken it.

        Raises:
            DestaError: see `ServingEngine.chat`.
        """
        check_no_embeddings(request.body)
        if not self._is_open:
            raise UnavailableError("the server is being stopped", fix="send it again later")
        check_size(request.messages, self._max_positions)
        deadline = time.monotonic() + self._limits.request_seconds
        refs = self._engine.clips_of(Request(messages=request.messages))
        clips = await self._stage.encode(refs)
        loop = asyncio.get_running_loop()
        body, heard = await loop.run_in_executor(self._pool, self.body, request, clips)
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                response = await self._replicas.ask(beginning(request, clips), body)
        except TimeoutError:
            raise late() from None
        return Reply(
            clips=tuple(heard),
            events=Relay(
                response,
                stream=request.stream,
                num_audio_tokens=sum(clip.num_audio_tokens for clip in heard),
                deadline=deadline,
                metrics=self._metrics,
            ),
        )

    async def transcribe(self, recording: bytes, *, language: str | None = None) -> Transcription:
        """Return the transcription of a recording; see `ServingEngine.transcribe`."""
        return await self._stage.transcribe(recording, language=language)

    def body(self, request: ChatRequest, clips: Found) -> tuple[dict[str, Any], list[HeardClip]]:
        """Return the body for the text server, and the clips as the model gets them."""
        pairs = self._with_system(request)
        messages, heard = self._embedder.messages(
            [message for message, _ in pairs], [raw for _, raw in pairs], clips
        )
        body = {name: value for name, value in request.body.items() if value is not None}
        sampling = request.sampling
        defaults: dict[str, Any] = {
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            **NEUTRAL,
        }
        if "max_tokens" not in body:
            defaults["max_completion_tokens"] = sampling.max_new_tokens
        body = defaults | body
        body["messages"] = messages
        body["chat_template_kwargs"] = OPTIONS | dict(body.get("chat_template_kwargs") or {})
        if request.model == self._name:
            body["model"] = self._served.model
        if request.stream:
            body["stream_options"] = {**(body.get("stream_options") or {}), "include_usage": True}
        return body, heard

    def _with_system(self, request: ChatRequest) -> list[tuple[Message, Mapping[str, Any]]]:
        """Return each message with the client's own; the system prompt as in `desta ask`."""
        pairs = list(zip(request.messages, request.body["messages"], strict=True))
        if all(message.role != "system" for message in request.messages):
            own = system_messages(self._engine, self._system)
            pairs = [*((m, {"role": m.role, "content": m.content}) for m in own), *pairs]
        pairs = [(m, raw) for m, raw in pairs if m.role != "system" or m.content]
        if [m.role for m, _ in pairs[:2]] == ["system", "user"] and not self._takes_system:
            (system, _), (message, raw), *others = pairs
            joined = with_system(system.content, message)
            pairs = [(joined, {**raw, "content": joined.content}), *others]
        return pairs


def beginning(request: ChatRequest, clips: Sequence[EncodedClip | DestaError]) -> str:
    """Return a hash of how a conversation begins, up to the clips of its first question.

    Its later turns have the same, and so have other questions about the same clips.
    """
    digest = hashlib.sha256(request.model.encode())
    rest = iter(clips)
    for message in request.messages:
        own = [clip for _, clip in zip(message.audios, rest, strict=False)]
        contents = [clip.content for clip in own if isinstance(clip, EncodedClip)]
        digest.update(f"\n{message.role} ".encode())
        digest.update((" ".join(contents) or message.content).encode("utf-8", "surrogatepass"))
        if message.role == "user":
            break
    return digest.hexdigest()
