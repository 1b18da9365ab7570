"""Splitting of long clips into windows at quiet points."""

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE = 16_000  # Hz, everywhere inside
WINDOW_SECONDS = 30.0  # longest input of the encoder
WINDOW_SAMPLES = 480_000  # samples in a 30-second window

SEARCH_SECONDS = 5.0  # a window is cut at the quietest point of its last 5 seconds
FRAME_SAMPLES = 320  # 20 ms, over which energy is measured


def split_windows(
    audio: NDArray[np.float32], *, max_seconds: float = WINDOW_SECONDS
) -> list[tuple[int, int]]:
    """Split a clip at quiet points, so that every window fits the encoder.

    Args:
        audio: samples, (T,), at `SAMPLE_RATE`.
        max_seconds: longest window.

    Returns:
        Consecutive sample ranges [start, end) that cover the clip; a clip that fits is one window.
        The last window is never shorter than a second (or a quarter of `max_seconds`).
    """
    longest = round(max_seconds * SAMPLE_RATE)
    search = min(round(SEARCH_SECONDS * SAMPLE_RATE), longest // 2)
    rest = min(SAMPLE_RATE, longest // 4)
    windows = []
    start = 0
    while len(audio) - start > longest:
        latest = min(start + longest, len(audio) - rest)
        cut = _quietest(audio, start + longest - search, latest)
        windows.append((start, cut))
        start = cut
    windows.append((start, len(audio)))
    return windows


def _quietest(audio: NDArray[np.float32], earliest: int, latest: int) -> int:
    """Return the middle of the quietest 20 ms in a range; the last of several."""
    num_frames = (latest - earliest) // FRAME_SAMPLES
    if not num_frames:
        return latest
    frames = audio[latest - num_frames * FRAME_SAMPLES : latest].reshape(num_frames, FRAME_SAMPLES)
    energy = np.square(frames, dtype=np.float64).sum(axis=1)
    from_end = int(np.argmin(energy[::-1]))
    return latest - from_end * FRAME_SAMPLES - FRAME_SAMPLES // 2
