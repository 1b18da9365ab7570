"""Stage that encodes clips, beside the thread that decodes.

All clips that wait are encoded together, each content once. While answers are being generated it
computes on one core, else on all; every batch has a thread of its own, because a thread that has
computed on several cores slows the others down for as long as it lives (docs/decisions/0026).
"""

import asyncio
import threading
from collections.abc import Callable, Sequence

from desta.errors import DestaError
from desta.inference.audio_encoding import AudioEncoder, stay_on_one_core
from desta.inference.clip_cache import EncodedClip
from desta.records import AudioRef
from desta.serving.metrics import Metrics

_MAX_TOGETHER = 8
"""Requests whose clips are encoded together; more would delay the first of them."""

Found = list[EncodedClip | DestaError]


class AudioStage:
    """Encoder of the clips of many requests; used on one event loop."""

    def __init__(
        self, encoder: AudioEncoder, metrics: Metrics, *, is_decoding: Callable[[], bool]
    ) -> None:
        """Create the stage.

        Args:
            encoder: what encodes, with its cache.
            metrics: counts clips and seconds.
            is_decoding: whether answers are being generated now.
        """
        self._encoder = encoder
        self._metrics = metrics
        self._is_decoding = is_decoding
        self._waiting: list[tuple[Sequence[AudioRef], asyncio.Future[Found]]] = []
        self._worker: asyncio.Task[None] | None = None

    async def encode(self, refs: Sequence[AudioRef]) -> Found:
        """Return each clip encoded, or its error; one that is cancelled in time costs nothing."""
        if not refs:
            return []
        future: asyncio.Future[Found] = asyncio.get_running_loop().create_future()
        self._waiting.append((refs, future))
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        found = await future
        self._metrics.audio_seconds.inc(
            sum(clip.seconds for clip in found if isinstance(clip, EncodedClip))
        )
        return found

    async def _work(self) -> None:
        """Encode until nothing waits."""
        while self._waiting:
            waiting = [(refs, future) for refs, future in self._waiting if not future.done()]
            group, self._waiting = waiting[:_MAX_TOGETHER], waiting[_MAX_TOGETHER:]
            if not group:
                continue
            refs = [ref for own, _ in group for ref in own]
            before = self._encoder.num_cached
            try:
                with self._metrics.time("encode"):
                    found = iter(await self._in_thread(refs))
            except Exception as error:
                for _, future in group:
                    if not future.done():
                        future.set_exception(error)
                continue
            cached = self._encoder.num_cached - before
            self._metrics.clips.labels("yes").inc(cached)
            self._metrics.clips.labels("no").inc(len(refs) - cached)
            for own, future in group:
                clips = [next(found) for _ in own]
                if not future.done():
                    future.set_result(clips)

    async def _in_thread(self, refs: Sequence[AudioRef]) -> Found:
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
                found = self._encoder.encode(refs)
            except Exception as error:
                failed = error
            if not loop.is_closed():
                loop.call_soon_threadsafe(deliver, found, failed)

        threading.Thread(target=work, name="encode", daemon=True).start()
        return await result
