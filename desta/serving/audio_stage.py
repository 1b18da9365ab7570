"""Stage that encodes clips, beside the thread that decodes.

All clips that wait are encoded together, each content once. While answers are being generated it
computes on one core, else on all; every batch has a thread of its own, because a thread that has
computed on several cores slows the others down for as long as it lives (docs/decisions/0026).
"""

import asyncio
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from desta.audio.errors import AudioError, TooLongError
from desta.errors import DestaError
from desta.inference.audio_encoding import AudioEncoder, stay_on_one_core
from desta.inference.clip_cache import EncodedClip
from desta.records import AudioRef
from desta.serving.errors import busy
from desta.serving.metrics import Metrics
from desta.serving.protocol import Transcription

_MAX_TOGETHER = 8
"""Requests whose clips are encoded together; more would delay the first of them."""

Found = list[EncodedClip | DestaError]


@dataclass(frozen=True, eq=False)
class _Waiting:
    """Clips of a request."""

    refs: Sequence[AudioRef]
    language: str | None
    found: asyncio.Future[Found]


class AudioStage:
    """Encoder of the clips of many requests; used on one event loop."""

    def __init__(
        self,
        encoder: AudioEncoder,
        metrics: Metrics,
        *,
        is_decoding: Callable[[], bool],
        seconds: float,
        audio_seconds: float,
    ) -> None:
        """Create the stage.

        Args:
            encoder: what encodes, with its cache.
            metrics: counts clips and seconds.
            is_decoding: whether answers are being generated now.
            seconds: longest time for the clips of one request, waiting included.
            audio_seconds: longest duration of the clips of one request together.
        """
        self._encoder = encoder
        self._metrics = metrics
        self._is_decoding = is_decoding
        self._seconds = seconds
        self._audio_seconds = audio_seconds
        self._waiting: list[_Waiting] = []
        self._worker: asyncio.Task[None] | None = None

    async def transcribe(self, recording: bytes, *, language: str | None = None) -> Transcription:
        """Return the transcription of a recording; see `ServingEngine.transcribe`."""
        [clip] = await self.encode([AudioRef(audio=recording)], language=language)
        if isinstance(clip, DestaError):
            raise clip
        return Transcription(
            text=(clip.text or "").strip(), seconds=clip.seconds, segments=clip.segments
        )

    async def encode(self, refs: Sequence[AudioRef], *, language: str | None = None) -> Found:
        """Return each clip encoded, or its error; a call that is cancelled in time costs nothing.

        Args:
            refs: the clips.
            language: of their speech; None means that of the encoder.

        Raises:
            TooLongError: the clips are too long together.
            ServingError: it takes too long.
        """
        if not refs:
            return []
        try:
            async with asyncio.timeout(self._seconds):
                if len(refs) > 1:  # a single one is checked where it is decoded
                    await asyncio.to_thread(self._check_total, refs)
                return await self._encode(refs, language)
        except TimeoutError:
            raise busy("the clips waited too long to be encoded") from None

    async def _encode(self, refs: Sequence[AudioRef], language: str | None) -> Found:
        waiting = _Waiting(refs, language, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        try:
            found = await waiting.found
        finally:
            if waiting in self._waiting:  # given up: its recordings must not wait for the encoder
                self._waiting.remove(waiting)
        self._metrics.audio_seconds.inc(
            sum(clip.seconds for clip in found if isinstance(clip, EncodedClip))
        )
        return found

    def _check_total(self, refs: Sequence[AudioRef]) -> None:
        """Check the duration of all clips together before any is encoded."""
        total = 0.0
        for ref in refs:
            with suppress(AudioError):  # it is told where the clip is decoded
                total += self._encoder.measure_duration(ref.audio)
            if total > self._audio_seconds:
                raise TooLongError(
                    "the conversation",
                    f"has clips of more than {self._audio_seconds:g} s together",
                    fix="ask about fewer or shorter clips",
                )

    async def _work(self) -> None:
        """Encode until nothing waits."""
        while group := self._next_group():
            refs = [ref for waiting in group for ref in waiting.refs]
            before = self._encoder.num_cached
            try:
                with self._metrics.time("encode"):
                    found = iter(await self._in_thread(refs, group[0].language))
            except Exception as error:
                for waiting in group:
                    if not waiting.found.done():
                        waiting.found.set_exception(error)
                continue
            cached = self._encoder.num_cached - before
            self._metrics.clips.labels("yes").inc(cached)
            self._metrics.clips.labels("no").inc(len(refs) - cached)
            for waiting in group:
                clips = [next(found) for _ in waiting.refs]
                if not waiting.found.done():
                    waiting.found.set_result(clips)

    def _next_group(self) -> list[_Waiting]:
        """Remove and return the first waiting requests of one language."""
        alive = [waiting for waiting in self._waiting if not waiting.found.done()]
        same = [waiting for waiting in alive if waiting.language == alive[0].language]
        group = same[:_MAX_TOGETHER]
        self._waiting = [waiting for waiting in alive if waiting not in group]
        return group

    async def _in_thread(self, refs: Sequence[AudioRef], language: str | None) -> Found:
        """Encode clips in a new thread."""
        loop = asyncio.get_running_loop()
        result: asyncio.Future[Found] = loop.create_future()
        on_one_core = self._is_decoding()

        def deliver(found: Found | None, error: Exception | None) -> None:
            if result.done():  # the loop is being stopped
                return
            if error is not None:
                result.set_exception(error)
            else:
                result.set_result(found or [])

        def work() -> None:
            found, failed = None, None
            try:
                if on_one_core:
                    stay_on_one_core()
                found = self._encoder.encode(refs, language=language)
            except Exception as error:
                failed = error
            if not loop.is_closed():
                loop.call_soon_threadsafe(deliver, found, failed)

        threading.Thread(target=work, name="encode", daemon=True).start()
        return await result
