"""Where somebody speaks: silero's voice activity detector.

Whisper invents words where nobody speaks, so a window in which the detector hears nothing is not
transcribed at all.
"""

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from desta.audio import SAMPLE_RATE

MIN_SPEECH_SECONDS = 0.1
"""Less than this in a window is the margin that the detector adds to speech in its neighbour."""

Span = tuple[float, float]
"""Start and end in seconds."""

_loading = threading.Lock()  # importing the detector changes PyTorch's threads for a moment
_idle: list[Any] = []  # a detector keeps a state while it listens: one for each who listens


def speech_seconds(audio: NDArray[np.float32]) -> list[Span]:
    """Find where somebody speaks; nothing in silence, tones and most noises.

    Args:
        audio: float32, mono, 16 kHz, (samples,), of any length.
    """
    try:
        detector = _idle.pop()
    except IndexError:
        detector = _load()
    from silero_vad import get_speech_timestamps

    try:
        spans = get_speech_timestamps(torch.from_numpy(audio), detector, sampling_rate=SAMPLE_RATE)
    finally:
        _idle.append(detector)
    return [(s["start"] / SAMPLE_RATE, s["end"] / SAMPLE_RATE) for s in spans]


def spoken_windows(audio: NDArray[np.float32], windows: Sequence[tuple[int, int]]) -> list[int]:
    """Return which windows of a clip (first sample, one after the last) somebody speaks in."""
    speech = speech_seconds(audio)
    return [i for i, w in enumerate(windows) if _seconds_inside(w, speech) >= MIN_SPEECH_SECONDS]


def _seconds_inside(window: tuple[int, int], speech: Sequence[Span]) -> float:
    start, end = (sample / SAMPLE_RATE for sample in window)
    return sum(max(0.0, min(end, until) - max(start, since)) for since, until in speech)


def _load() -> Any:
    with _loading:
        num_threads = torch.get_num_threads()
        from silero_vad import load_silero_vad  # its import sets torch to one thread

        torch.set_num_threads(num_threads)
        return load_silero_vad()
