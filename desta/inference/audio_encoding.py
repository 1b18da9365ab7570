"""Encoding of clips: audio tokens and transcriptions, cached by content.

Decoding, voice activity detection and spectrograms run in a pool of threads; the encoder batches
windows of similar length. A clip that several threads request at once is encoded only once.

Shape suffixes: W windows of audio   Q query tokens   T encoder frames   D encoder width
E backbone width
"""

import hashlib
import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from desta import audio
from desta.data.batching import similar_lengths
from desta.errors import CheckpointError, ConfigError, DestaError
from desta.inference.clip_cache import ClipCache, EncodedClip
from desta.inference.pieces import read_again
from desta.inference.request_checks import check_recording
from desta.inference.transcribe import Transcriber
from desta.isolation import error_of, in_halves, no_number
from desta.model.backbone.decoding import damaged
from desta.model.desta import DestaModel
from desta.model.encoder.whisper import Encoded
from desta.records import NO_TRANSCRIPTION, AudioRef, Segment
from desta.vad import spoken_windows

log = logging.getLogger(__name__)

_SILENCE = np.zeros(audio.SAMPLE_RATE // 10, dtype=np.float32)
_FATAL = (CheckpointError, ConfigError)  # caused by the model, not by a clip
_MAX_WINDOWS = 16  # encoded at once: enough to keep the cores busy, few enough for the memory


@dataclass
class _Clip:
    """A decoded clip to be encoded."""

    content: str
    name: str
    """Name in error messages."""
    windows: list[NDArray[np.float32]]
    spoken: list[int] | None
    """Indices of windows to transcribe; None if no transcription is requested."""

    @property
    def seconds(self) -> float:
        """Duration."""
        return sum(map(len, self.windows)) / audio.SAMPLE_RATE

    def segments(self, texts: Sequence[str]) -> tuple[Segment, ...]:
        """Return the texts of the windows with their times; empty ones are left out."""
        ends = np.cumsum([len(window) for window in self.windows]) / audio.SAMPLE_RATE
        return tuple(
            Segment(start=end - len(window) / audio.SAMPLE_RATE, end=end, text=text)
            for window, end, text in zip(self.windows, ends.tolist(), texts, strict=True)
            if text
        )

    @property
    def peak(self) -> float:
        """Largest sample; full scale is 1."""
        return max(float(np.abs(window).max()) for window in self.windows)


class AudioEncoder:
    """Encoder of clips for one model, with a cache; thread-safe."""

    def __init__(
        self,
        model: DestaModel,
        transcriber: Callable[[], Transcriber],
        *,
        language: str | None = None,
        read_again: bool = False,
        max_seconds: float = audio.MAX_SECONDS,
        max_samples: float | None = None,
        cache_bytes: int = 256 * 2**20,
        num_threads: int = 4,
    ) -> None:
        """Create an encoder of clips.

        Args:
            model: the model, whose encoder and connector are used.
            transcriber: returns Whisper; called at the first clip without text.
            language: spoken language; None means that Whisper detects it.
            read_again: transcribe windows with few words for their speech again, in pieces.
            max_seconds: longest clip.
            max_samples: most samples of a clip as recorded; None for no limit.
            cache_bytes: memory of the cache; 0 turns it off.
            num_threads: threads that decode recordings.
        """
        self._model = model
        self._transcriber = transcriber
        self.language = language
        self._read_again = read_again
        self._max_seconds = max_seconds
        self._max_samples = max_samples
        self._cache = ClipCache(cache_bytes)
        self._pool = ThreadPoolExecutor(
            num_threads, thread_name_prefix="audio", initializer=stay_on_one_core
        )
        self._lock = threading.Lock()
        self._pending: dict[tuple[str, bool], Future[EncodedClip]] = {}
        self.num_cached = 0
        """Clips so far that were found in the cache."""

    def clear_cache(self) -> None:
        """Remove all clips from the cache."""
        with self._lock:
            self._cache.clear()

    def measure_duration(self, recording: Any) -> float:
        """Return the seconds of a clip: those of the cache, else found by decoding it.

        Raises:
            AudioError: as `load_audio`.
        """
        content = _content(recording)
        with self._lock:
            clip = self._cache.get(content, with_text=False)
        return audio.measure_duration(recording) if clip is None else clip.seconds

    def encode(
        self, refs: Sequence[AudioRef], *, language: str | None = None
    ) -> list[EncodedClip | DestaError]:
        """Return each clip encoded, or the error of one that cannot be read.

        Args:
            refs: the clips.
            language: of their speech; None means that of the encoder.

        Raises:
            ConfigError: Whisper does not know the language.
        """
        language = language or self.language
        content_of = _attempt(_content, audio.audio_name)
        contents = list(self._pool.map(content_of, [ref.audio for ref in refs]))
        if language != self.language:  # other words: a clip of its own in the cache
            contents = [f"{c} in {language}" if isinstance(c, str) else c for c in contents]
        results: list[EncodedClip | DestaError | Future[EncodedClip]] = []
        mine: dict[tuple[str, bool], tuple[AudioRef, Future[EncodedClip]]] = {}
        with self._lock:
            transcribed = {c for r, c in zip(refs, contents, strict=True) if r.text is None}
            for ref, content in zip(refs, contents, strict=True):
                if isinstance(content, DestaError):
                    results.append(content)
                    continue
                # if the text is requested by another ref or thread, one pass serves both
                want_text = content in transcribed or (content, True) in self._pending
                key = content, want_text
                if clip := self._cache.get(content, with_text=ref.text is None):
                    self.num_cached += 1
                    results.append(clip)
                    continue
                if key not in self._pending:
                    self._pending[key] = Future()
                    mine[key] = ref, self._pending[key]
                results.append(self._pending[key])
        if mine:
            self._encode_new({key: ref for key, (ref, _) in mine.items()}, language)
        return [_result(r) if isinstance(r, Future) else r for r in results]

    def _encode_new(self, wanted: dict[tuple[str, bool], AudioRef], language: str | None) -> None:
        """Encode new clips, and deliver each to all threads that wait for it."""
        encode = partial(self._encode, language=language)
        try:
            prepare = _attempt(self._prepare, lambda item: audio.audio_name(item[1]))
            items = [(content, ref.audio, text) for (content, text), ref in wanted.items()]
            clips: list[_Clip] = []
            for key, clip in zip(wanted, self._pool.map(prepare, items), strict=True):
                if isinstance(clip, DestaError):
                    self._deliver(key, clip)
                else:
                    clips.append(clip)
            clips.sort(key=lambda clip: max(map(len, clip.windows)))
            for group in _groups(clips):
                found = in_halves(encode, group, alone=self._fail, fatal=_FATAL)
                for result, clip in zip(found, group, strict=True):
                    self._deliver((clip.content, clip.spoken is not None), result)
        except BaseException as error:
            for key in wanted:
                self._deliver(key, error)  # no thread must wait for ever
            raise

    def _deliver(self, key: tuple[str, bool], result: EncodedClip | BaseException) -> None:
        with self._lock:
            future = self._pending.pop(key, None)
            if isinstance(result, EncodedClip):
                self._cache.put(result)
        if future is None:
            return
        if isinstance(result, EncodedClip):
            future.set_result(result)
        else:
            future.set_exception(result)

    def _prepare(self, item: tuple[str, Any, bool]) -> _Clip:
        """Decode a clip, cut it into windows, and detect speech in them."""
        content, recording, with_text = item
        samples = audio.load_audio(
            recording, max_seconds=self._max_seconds, max_samples=self._max_samples
        )
        if audio.is_silent(samples):
            log.warning(
                "%s is silent: no sample is above -80 dBFS; check how it was recorded",
                audio.audio_name(recording),
            )
        bounds = audio.split_windows(samples)
        spoken = spoken_windows(samples, bounds) if with_text else None
        if spoken:
            self._transcriber()  # if there is none, only this clip fails
        windows = [samples[start:end] for start, end in bounds]
        return _Clip(content, audio.audio_name(recording), windows, spoken)

    def _fail(self, clip: _Clip, error: Exception) -> DestaError:
        """Return the error of a single clip; raise it if silence cannot be encoded either."""
        if not isinstance(error, DestaError):
            try:
                self._encode([_Clip("", "silence", [_SILENCE], None)])
            except Exception:
                raise error from None
        return error_of(error, clip.name)

    def _check_model(self) -> None:
        """Raise NoNumberError if the model computes NaN for silence as well."""
        encoded = self._model.encode(self._model.mel([_SILENCE]))
        with self._autocast():
            audio_WQE = self._model.audio_tokens(encoded)
        if not bool(_are_numbers(encoded, audio_WQE).all()):
            raise damaged()

    @torch.no_grad()
    def _encode(
        self, clips: Sequence[_Clip], *, language: str | None = None
    ) -> list[EncodedClip | DestaError]:
        """Run encoder, connector and, if requested, Whisper's decoder on a group of clips."""
        windows = [window for clip in clips for window in clip.windows]
        spoken = [
            clip.spoken is not None and number in clip.spoken
            for clip in clips
            for number in range(len(clip.windows))
        ]
        tokens: list[Tensor] = [torch.empty(0)] * len(windows)
        texts = [""] * len(windows)
        lost: set[int] = set()  # windows for which the model computes NaN
        groups = similar_lengths([len(window) for window in windows], max_size=_MAX_WINDOWS)
        batches = [[windows[place] for place in group] for group in groups]
        for group, mel in zip(groups, self._pool.map(self._model.mel, batches), strict=True):
            encoded = self._model.encode(mel)
            with self._autocast():
                audio_WQE = self._model.audio_tokens(encoded).float()
            for place, audio_QE in zip(group, audio_WQE, strict=True):
                tokens[place] = audio_QE
            good = _are_numbers(encoded, audio_WQE).tolist()
            lost.update(place for place, is_good in zip(group, good, strict=True) if not is_good)
            rows = [row for row, place in enumerate(group) if spoken[place] and good[row]]
            transcribed = self._transcribe(
                [windows[place] for place in group], encoded, rows, language
            )
            for row, text in zip(rows, transcribed, strict=True):
                texts[group[row]] = text
        if lost:
            self._check_model()
        results: list[EncodedClip | DestaError] = []
        start = 0
        for clip in clips:
            end = start + len(clip.windows)
            if not lost.isdisjoint(range(start, end)):
                peak = f": its samples reach {clip.peak:.3g}, and full scale is 1"
                results.append(no_number(clip.name, peak if clip.peak > 1 else ""))
                start = end
                continue
            words = " ".join(filter(None, texts[start:end])) or NO_TRANSCRIPTION
            audio_WQE = torch.stack(tokens[start:end])
            results.append(
                EncodedClip(
                    clip.content,
                    clip.seconds,
                    audio_WQE,
                    None if clip.spoken is None else words,
                    clip.segments(texts[start:end]),
                )
            )
            start = end
        return results

    def _autocast(self) -> torch.autocast:
        """Return the autocast of the connector: the encoder's dtype, as in training."""
        dtype = next(self._model.encoder.parameters()).dtype
        wanted = dtype == torch.bfloat16
        return torch.autocast(self._model.device.type, torch.bfloat16, enabled=wanted)

    def _transcribe(
        self,
        windows: Sequence[NDArray[np.float32]],
        encoded: Any,
        chosen: Sequence[int],
        language: str | None,
    ) -> list[str]:
        if not chosen:
            return []
        transcriber = self._transcriber()
        shared = transcriber.window == self._model.config.window == "30s"
        if not shared or transcriber.encoder is not self._model.encoder:
            texts = transcriber.transcribe([windows[i] for i in chosen], language=language)
        else:  # one pass of the encoder serves both
            texts = transcriber.transcribe_frames(encoded.last_BTD[chosen], None, language=language)
        if not self._read_again:
            return texts
        return [
            read_again(transcriber, windows[i], text, language=language)
            for i, text in zip(chosen, texts, strict=True)
        ]


def with_text(ref: AudioRef, clip: EncodedClip) -> AudioRef:
    """Return the reference with its own text, or else with the transcription."""
    return ref if ref.text is not None else replace(ref, text=clip.text)


def _groups(clips: Sequence[_Clip]) -> list[list[_Clip]]:
    """Group clips of few windows, so that the encoder gets full batches."""
    groups: list[list[_Clip]] = []
    for clip in clips:
        size = sum(len(c.windows) for c in groups[-1]) if groups else 0
        if groups and size + len(clip.windows) <= _MAX_WINDOWS:
            groups[-1].append(clip)
        else:
            groups.append([clip])
    return groups


def stay_on_one_core() -> None:
    """Limit PyTorch to one core in this thread.

    Every thread that computes on several cores keeps its own OpenMP helper threads for ever. With
    more of them than cores, OpenMP lets all sleep between operations, and every small operation of
    the model, on any thread, takes eight times as long.
    """
    cores = torch.get_num_threads()
    torch.set_num_threads(1)
    # That call also set the default of later threads; a short-lived thread sets it back.
    other = threading.Thread(target=torch.set_num_threads, args=(cores,))
    other.start()
    other.join()


def _attempt(work: Callable[[Any], Any], name: Callable[[Any], str]) -> Callable[[Any], Any]:
    """Wrap a step so that it returns the error of its clip instead of raising it."""

    def attempt(item: Any) -> Any:
        try:
            return work(item)
        except Exception as error:
            return error_of(error, name(item))

    return attempt


def _are_numbers(encoded: Encoded, audio_WQE: Tensor) -> Tensor:
    """Return for every window whether the outputs of the model are finite, (W,)."""
    sums = (x.flatten(1).sum(dim=1, dtype=torch.float32) for x in (encoded.last_BTD, audio_WQE))
    return torch.stack([sum_W.isfinite() for sum_W in sums]).all(dim=0)


def _content(recording: Any) -> str:
    """Return the hash of a recording: of the bytes of a file, or of samples and rate."""
    check_recording(recording)
    digest = hashlib.sha256()
    if isinstance(recording, bytes):
        digest.update(recording)
    elif isinstance(recording, tuple):
        samples, rate = recording
        digest.update(f"{rate} {samples.dtype} {samples.shape} ".encode())
        digest.update(np.ascontiguousarray(samples).tobytes())
    else:
        with audio.open_file(Path(recording)) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    return digest.hexdigest()


def _result(future: "Future[EncodedClip]") -> EncodedClip | DestaError:
    try:
        return future.result()
    except DestaError as error:
        return error
