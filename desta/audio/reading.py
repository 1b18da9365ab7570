"""Reading of recordings as mono float32 at 16 kHz, and their durations.

A recording is everything that its decoder returns; a length in a header is only a hint.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import soxr
from numpy.typing import NDArray

from desta.audio import decoding
from desta.audio.errors import AudioError, AudioNote, no_samples, too_long, too_many
from desta.audio.files import AudioInput, audio_name, check_input, open_source
from desta.audio.levels import Levels, integer_scale
from desta.audio.mixing import Mixer
from desta.audio.windows import SAMPLE_RATE

log = logging.getLogger(__name__)

MAX_SECONDS = 3600.0  # default limit of a recording at inference
RATES = range(1_000, 1_000_001)  # Hz; a header that states another rate is damaged


@dataclass(frozen=True)
class Sound:
    """A decoded recording."""

    samples: NDArray[np.float32]
    """(T,), mono at `SAMPLE_RATE`, nominally in [-1, 1]; at least one."""
    notes: tuple[AudioNote, ...]
    """Notes about the recording."""


def load_audio(
    source: AudioInput, *, max_seconds: float | None = None, max_samples: float | None = None
) -> NDArray[np.float32]:
    """Read a recording; notes about it are logged as warnings.

    Args:
        source: path, bytes of a file, or (samples, rate); integer samples are scaled by the range
            of their type. Channels are mixed as FFmpeg does.
        max_seconds: longer recordings are an error; None for no limit.
        max_samples: as recorded, before resampling; more are an error, too: a small file can hold
            gigabytes at a high rate.

    Returns:
        Samples, (T,), mono at `SAMPLE_RATE`, nominally in [-1, 1]; at least one.

    Raises:
        AudioError: missing, a folder, empty, in an unknown format, truncated, too damaged, too
            long, not finite, or far beyond full scale.
    """
    sound = read_audio(source, max_seconds=max_seconds, max_samples=max_samples)
    for note in sound.notes:
        log.warning("%s", note.message)
    return sound.samples


def read_audio(
    source: AudioInput, *, max_seconds: float | None = None, max_samples: float | None = None
) -> Sound:
    """Read a recording with notes about it; arguments as in `load_audio`.

    Raises:
        AudioError: as `load_audio`.
    """
    name, notes = audio_name(source), list[AudioNote]()
    levels = Levels()
    runs: list[tuple[int, list[NDArray[Any]]]] = []  # consecutive pieces of one rate
    num_samples = 0
    for samples, rate in _mono(source, name, notes, levels, max_seconds):
        num_samples += len(samples)
        if max_samples is not None and num_samples > max_samples:
            raise too_many(name, max_samples)
        if not runs or runs[-1][0] != rate:
            runs.append((rate, []))
        runs[-1][1].append(samples)
    scale = _full_scale(levels, name, notes)
    parts = [
        _resample(blocks[0] if len(blocks) == 1 else np.concatenate(blocks), rate, scale)
        for rate, blocks in runs
    ]
    whole = parts[0] if len(parts) == 1 else np.concatenate(parts or [np.zeros(0, np.float32)])
    if not len(whole):  # or a handful of samples at a high rate
        raise no_samples(name)
    return Sound(whole, tuple(notes))


def measure_audio(source: AudioInput) -> tuple[float, tuple[AudioNote, ...]]:
    """Return the seconds of a recording, found by decoding all of it, and notes about it.

    Raises:
        AudioError: as `load_audio`.
    """
    name, notes = audio_name(source), list[AudioNote]()
    levels = Levels()
    lengths: dict[int, int] = {}
    for samples, rate in _mono(source, name, notes, levels, None):
        lengths[rate] = lengths.get(rate, 0) + len(samples)
    if not any(lengths.values()):
        raise no_samples(name)
    _full_scale(levels, name, notes)
    return sum(length / rate for rate, length in lengths.items()), tuple(notes)


def measure_duration(source: AudioInput) -> float:
    """Return the seconds of a recording, found by decoding all of it.

    Raises:
        AudioError: as `load_audio`.
    """
    return measure_audio(source)[0]


def probe_duration(source: AudioInput) -> float:
    """Return the approximate seconds of a recording from its packets, else by decoding it.

    Exact for PCM and for formats that count samples; an estimate in a header is never used.

    Raises:
        AudioError: missing, a folder, empty, or in an unknown format.
    """
    if isinstance(source, tuple):
        return measure_duration(source)
    with open_source(source) as file:
        seconds = decoding.probe(file, audio_name(source))
    return seconds if seconds > 0 else measure_duration(source)


def stated_duration(source: AudioInput) -> float:
    """Return the seconds of a recording if known without decoding; else 0.

    Raises:
        AudioError: as `probe_duration`.
    """
    check_input(source)
    if isinstance(source, bytes):
        return 0.0
    if isinstance(source, tuple):
        samples, rate = source
        return len(samples) / max(rate, 1)
    return probe_duration(source)


def _mono(
    source: AudioInput, name: str, notes: list[AudioNote], levels: Levels, max_seconds: float | None
) -> Iterator[tuple[NDArray[Any], int]]:
    """Yield mono samples, (T,), and their rate in Hz."""
    check_input(source)
    mixer = Mixer()
    if isinstance(source, tuple):
        pieces: Iterator[tuple[Any, int, Any]] = iter([(_from_array(source[0]), source[1], None)])
        yield from _checked(pieces, name, mixer, levels, max_seconds)
    else:
        with open_source(source) as file:
            decoded = decoding.decode(file, name, notes, max_seconds)
            yield from _checked(decoded, name, mixer, levels, max_seconds)
    if note := mixer.note(name):
        notes.append(note)


def _checked(
    pieces: Iterator[tuple[NDArray[Any], int, Any]],
    name: str,
    mixer: Mixer,
    levels: Levels,
    max_seconds: float | None,
) -> Iterator[tuple[NDArray[Any], int]]:
    seconds = 0.0
    for samples, rate, channels in pieces:
        if rate not in RATES:
            raise AudioError(
                name,
                "has an impossible sample rate",
                fix=f"{rate} Hz is outside {RATES.start} to {RATES.stop - 1}; export it again",
            )
        seconds += len(samples) / rate
        if max_seconds is not None and seconds > max_seconds:
            raise too_long(name, max_seconds)
        mono = mixer.mix(samples, rate, channels)
        levels.add(mono)
        yield mono, rate


def _from_array(samples: NDArray[Any]) -> NDArray[Any]:
    """Return floating samples, (T, channels).

    Raises:
        AudioError: they are not samples.
    """
    channels = samples.shape[1] if samples.ndim == 2 else 1
    if samples.ndim not in (1, 2) or samples.dtype.kind not in "if" or channels > len(samples) > 0:
        raise AudioError(
            "the array",
            "is not audio",
            fix="give signed samples as (T,) or (T, channels)",
        )
    columns = samples.reshape(len(samples), channels)
    if samples.dtype.kind == "i":
        return columns / integer_scale(samples)
    return columns if samples.dtype in (np.float32, np.float64) else columns.astype(np.float32)


def _full_scale(levels: Levels, name: str, notes: list[AudioNote]) -> float:
    scale, note = levels.full_scale(name)
    if note is not None:
        notes.append(note)
    return scale


def _resample(samples: NDArray[Any], rate: int, scale: float) -> NDArray[np.float32]:
    if scale != 1:
        samples = samples / samples.dtype.type(scale)
    samples = samples.astype(np.float32, copy=False)
    if rate == SAMPLE_RATE:
        return samples
    return soxr.resample(samples, rate, SAMPLE_RATE).astype(np.float32, copy=False)
