"""Clips -> audio tokens and transcriptions, each clip once.

Decoding, voice activity detection and spectrograms run in a pool of threads; the encoder takes
windows of similar length together. What a clip became is kept by its content, so a clip that is
asked about again costs nothing, and one that several callers want at once is heard by the first.

Shape suffixes: W windows of audio   Q query tokens   T encoder frames   D encoder width
E backbone width
"""

import hashlib
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from desta import audio
from desta.data.batching import similar_lengths
from desta.errors import CheckpointError, ConfigError, DestaError
from desta.inference.pieces import read_again
from desta.inference.transcribe import Transcriber
from desta.isolation import error_of, in_halves, no_number
from desta.model.backbone.decoding import damaged
from desta.model.desta import DestaModel
from desta.model.encoder.whisper import Encoded
from desta.paths import check_local
from desta.records import NO_TRANSCRIPTION, AudioRef
from desta.vad import spoken_windows

log = logging.getLogger(__name__)

_SILENCE = np.zeros(audio.SAMPLE_RATE // 10, dtype=np.float32)
_FATAL = (CheckpointError, ConfigError)  # of the model, which makes NaN of silence too, or Whisper
_MAX_WINDOWS = 16  # encoded at once: enough to keep the cores busy, little enough to fit


@dataclass(frozen=True)
class Heard:
    """A clip, ready to be laid out."""

    content: str
    """Hash of the recording."""
    seconds: float
    audio_WQE: Tensor
    text: str | None
    """The transcription; None where nobody has asked for it yet."""

    @property
    def num_bytes(self) -> int:
        """Memory that keeping it takes."""
        return self.audio_WQE.numel() * self.audio_WQE.element_size()


@dataclass
class _Clip:
    """A clip that is being heard."""

    content: str
    name: str
    """As messages call it."""
    windows: list[NDArray[np.float32]]
    spoken: list[int] | None
    """Windows to transcribe; None where no transcription is wanted."""

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return sum(map(len, self.windows)) / audio.SAMPLE_RATE

    @property
    def peak(self) -> float:
        """Its largest sample; full scale is 1."""
        return max(float(np.abs(window).max()) for window in self.windows)


class _Memory:
    """What clips became, least recently used first; bounded in bytes."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._entries: OrderedDict[str, Heard] = OrderedDict()
        self._bytes = 0

    def get(self, content: str, *, with_text: bool) -> Heard | None:
        heard = self._entries.get(content)
        if heard is None or (with_text and heard.text is None):
            return None
        self._entries.move_to_end(content)
        return heard

    def clear(self) -> None:
        self._entries.clear()
        self._bytes = 0

    def put(self, heard: Heard) -> None:
        old = self._entries.pop(heard.content, None)
        if old is not None and heard.text is None:
            heard = old  # it has the same audio tokens, and perhaps a text
        self._bytes += heard.num_bytes - (old.num_bytes if old else 0)
        self._entries[heard.content] = heard
        while self._bytes > self._max_bytes:
            _, oldest = self._entries.popitem(last=False)
            self._bytes -= oldest.num_bytes


class Hearing:
    """Hears clips for one model; may be used by several threads at once."""

    def __init__(
        self,
        model: DestaModel,
        transcriber: Callable[[], Transcriber],
        *,
        language: str | None = None,
        read_again: bool = False,
        max_seconds: float = audio.MAX_SECONDS,
        cache_bytes: int = 256 * 2**20,
        num_threads: int = 4,
    ) -> None:
        """Take what hears.

        Args:
            model: its encoder and its connector.
            transcriber: called when the first clip without text comes.
            language: what is spoken; None lets Whisper find out.
            read_again: transcribe windows with few words for their speech once more, in pieces.
            max_seconds: longest clip that is taken.
            cache_bytes: memory for what clips became; 0 keeps nothing.
            num_threads: that decode recordings.
        """
        self._model = model
        self._transcriber = transcriber
        self._language = language
        self._read_again = read_again
        self._max_seconds = max_seconds
        self._memory = _Memory(cache_bytes)
        self._pool = ThreadPoolExecutor(
            num_threads, thread_name_prefix="hearing", initializer=_stay_on_one_core
        )
        self._lock = threading.Lock()
        self._under_way: dict[tuple[str, bool], Future[Heard]] = {}

    def forget(self) -> None:
        """Keep nothing of what was heard so far."""
        with self._lock:
            self._memory.clear()

    def hear(self, refs: Sequence[AudioRef]) -> list[Heard | DestaError]:
        """Hear clips; one that cannot be read is answered by its error, the others go on."""
        content_of = _attempt(_content, audio.audio_name)
        contents = list(self._pool.map(content_of, [ref.audio for ref in refs]))
        results: list[Heard | DestaError | Future[Heard]] = []
        mine: dict[tuple[str, bool], tuple[AudioRef, Future[Heard]]] = {}
        with self._lock:
            transcribed = {c for r, c in zip(refs, contents, strict=True) if r.text is None}
            for ref, content in zip(refs, contents, strict=True):
                if isinstance(content, DestaError):
                    results.append(content)
                    continue
                # where somebody wants the text as well, one pass serves both
                want_text = content in transcribed or (content, True) in self._under_way
                key = content, want_text
                if heard := self._memory.get(content, with_text=ref.text is None):
                    results.append(heard)
                    continue
                if key not in self._under_way:
                    self._under_way[key] = Future()
                    mine[key] = ref, self._under_way[key]
                results.append(self._under_way[key])
        if mine:
            self._work({key: ref for key, (ref, _) in mine.items()})
        return [_result(r) if isinstance(r, Future) else r for r in results]

    def _work(self, wanted: dict[tuple[str, bool], AudioRef]) -> None:
        """Hear clips that nobody has heard, and hand each to all who wait for it."""
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
                found = in_halves(self._encode, group, alone=self._lose, fatal=_FATAL)
                for heard, clip in zip(found, group, strict=True):
                    self._deliver((clip.content, clip.spoken is not None), heard)
        except BaseException as error:
            for key in wanted:
                self._deliver(key, error)  # nobody must wait for ever
            raise

    def _deliver(self, key: tuple[str, bool], heard: Heard | BaseException) -> None:
        with self._lock:
            future = self._under_way.pop(key, None)
            if isinstance(heard, Heard):
                self._memory.put(heard)
        if future is None:
            return
        if isinstance(heard, Heard):
            future.set_result(heard)
        else:
            future.set_exception(heard)

    def _prepare(self, item: tuple[str, Any, bool]) -> _Clip:
        """Decode a clip, cut it into windows, and find out where somebody speaks."""
        content, recording, with_text = item
        samples = audio.load_audio(recording, max_seconds=self._max_seconds)
        if audio.is_silent(samples):
            log.warning(
                "%s is silent: no sample is above -80 dBFS; check how it was recorded",
                audio.audio_name(recording),
            )
        bounds = audio.split_windows(samples)
        spoken = spoken_windows(samples, bounds) if with_text else None
        if spoken:
            self._transcriber()  # if there is none, this clip fails and no other
        windows = [samples[start:end] for start, end in bounds]
        return _Clip(content, audio.audio_name(recording), windows, spoken)

    def _lose(self, clip: _Clip, error: Exception) -> DestaError:
        """Return the error of a clip that alone cannot be encoded; raise what is no clip's fault.

        Raises:
            Exception: the same, because a moment of silence cannot be encoded either.
        """
        if not isinstance(error, DestaError):
            try:
                self._encode([_Clip("", "silence", [_SILENCE], None)])
            except Exception:
                raise error from None
        return error_of(error, clip.name)

    def _check_model(self) -> None:
        """Raise NoNumberError if the model makes NaN of silence as well."""
        encoded = self._model.encode(self._model.mel([_SILENCE]))
        with self._autocast():
            audio_WQE = self._model.audio_tokens(encoded)
        if not bool(_are_numbers(encoded, audio_WQE).all()):
            raise damaged()

    @torch.no_grad()
    def _encode(self, clips: Sequence[_Clip]) -> list[Heard | DestaError]:
        """Run encoder, connector and, where wanted, Whisper's decoder over a group of clips."""
        windows = [window for clip in clips for window in clip.windows]
        spoken = [
            clip.spoken is not None and number in clip.spoken
            for clip in clips
            for number in range(len(clip.windows))
        ]
        tokens: list[Tensor] = [torch.empty(0)] * len(windows)
        texts = [""] * len(windows)
        lost: set[int] = set()  # windows of which the model makes what is no number
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
            said = self._transcribe([windows[place] for place in group], encoded, rows)
            for row, said_there in zip(rows, said, strict=True):
                texts[group[row]] = said_there
        if lost:
            self._check_model()
        heard: list[Heard | DestaError] = []
        start = 0
        for clip in clips:
            end = start + len(clip.windows)
            if not lost.isdisjoint(range(start, end)):
                peak = f": its samples reach {clip.peak:.3g}, and full scale is 1"
                heard.append(no_number(clip.name, peak if clip.peak > 1 else ""))
                start = end
                continue
            words = " ".join(filter(None, texts[start:end])) or NO_TRANSCRIPTION
            audio_WQE = torch.stack(tokens[start:end])
            text = None if clip.spoken is None else words
            heard.append(Heard(clip.content, clip.seconds, audio_WQE, text))
            start = end
        return heard

    def _autocast(self) -> torch.autocast:
        """Let the connector compute as it does in training: in the encoder's numbers."""
        dtype = next(self._model.encoder.parameters()).dtype
        wanted = dtype == torch.bfloat16
        return torch.autocast(self._model.device.type, torch.bfloat16, enabled=wanted)

    def _transcribe(
        self, windows: Sequence[NDArray[np.float32]], encoded: Any, chosen: Sequence[int]
    ) -> list[str]:
        if not chosen:
            return []
        transcriber = self._transcriber()
        if transcriber.window != self._model.config.window or transcriber.encoder is not (
            self._model.encoder
        ):
            texts = transcriber.transcribe([windows[i] for i in chosen], language=self._language)
        else:
            mask_BT = None if encoded.mask_BT is None else encoded.mask_BT[chosen]
            seconds = [len(windows[i]) / audio.SAMPLE_RATE for i in chosen]
            texts = transcriber.read(
                encoded.last_BTD[chosen],
                mask_BT,
                language=self._language,
                seconds=seconds if transcriber.window == "tight" else None,
            )
        if not self._read_again:
            return texts
        return [
            read_again(transcriber, windows[i], text, language=self._language)
            for i, text in zip(chosen, texts, strict=True)
        ]


def check_recording(recording: Any) -> None:
    """Refuse what is no recording in any form, or a URL.

    Raises:
        DataError: it is.
    """
    audio.check_input(recording)
    if isinstance(recording, str | Path):
        check_local(recording)


def with_text(ref: AudioRef, heard: Heard) -> AudioRef:
    """Return the clip with the text that is used: its own, or what was heard."""
    return ref if ref.text is not None else replace(ref, text=heard.text)


def _groups(clips: Sequence[_Clip]) -> list[list[_Clip]]:
    """Put clips of few windows together, so that the encoder gets full batches."""
    groups: list[list[_Clip]] = []
    for clip in clips:
        size = sum(len(c.windows) for c in groups[-1]) if groups else 0
        if groups and size + len(clip.windows) <= _MAX_WINDOWS:
            groups[-1].append(clip)
        else:
            groups.append([clip])
    return groups


def _stay_on_one_core() -> None:
    """Let this thread of the pool compute alone.

    Every thread in which PyTorch computes on several cores keeps helpers of its own for ever. With
    more helpers than cores OpenMP lets all of them sleep between operations, and every small
    operation of the model, on whichever thread, takes eight times as long.
    """
    cores = torch.get_num_threads()
    torch.set_num_threads(1)
    # It has set what threads that begin later take as well; one that ends at once sets it back.
    other = threading.Thread(target=torch.set_num_threads, args=(cores,))
    other.start()
    other.join()


def _attempt(work: Callable[[Any], Any], name: Callable[[Any], str]) -> Callable[[Any], Any]:
    """Let a step answer with the error of its clip instead of raising it, whatever that is."""

    def attempt(item: Any) -> Any:
        try:
            return work(item)
        except Exception as error:
            return error_of(error, name(item))

    return attempt


def _are_numbers(encoded: Encoded, audio_WQE: Tensor) -> Tensor:
    """Say of every window whether the model makes numbers of it, (W,)."""
    sums = (x.flatten(1).sum(dim=1, dtype=torch.float32) for x in (encoded.last_BTD, audio_WQE))
    return torch.stack([sum_W.isfinite() for sum_W in sums]).all(dim=0)


def _content(recording: Any) -> str:
    """Return what tells recordings apart: the hash of a file's bytes, or of samples."""
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


def _result(future: "Future[Heard]") -> Heard | DestaError:
    try:
        return future.result()
    except DestaError as error:
        return error
