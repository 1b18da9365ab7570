"""Audio fingerprints that are robust to sample rate, loudness, codec and cutting.

After Haitsma and Kalker, "A Highly Robust Audio Fingerprinting System" (ISMIR 2002): 33 bands from
300 to 2000 Hz; every 12.8 ms a word of 32 bits, one per pair of neighbouring bands: whether their
energy difference grew. Copies differ in few bits, other recordings in nearly half of them.

Shapes: F frames, N frames of all items concatenated, I items.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import soxr
from numpy.typing import NDArray

from desta.audio import SAMPLE_RATE

RATE = 5_000  # Hz
FRAME = 2_048  # samples: 0.41 s
HOP = 64  # samples: 12.8 ms
SILENT = 0
"""Word of a frame 60 dB below the loudest, which is not compared."""

LONG_FRAMES = 64  # 0.8 s beyond the first frame: from here on `MAX_ERRORS` holds
MIN_FRAMES = 16  # 0.2 s beyond the first frame: shorter recordings are not compared
MAX_ERRORS = 0.26
"""Largest share of different bits of equal recordings; measured in docs/guides/filters.md."""
MAX_ERRORS_SHORT = 0.20  # below LONG_FRAMES
_COMMON = 64  # words that occur in more places than this are ignored
_CANDIDATES = 16  # places whose bits are compared, those with most equal words first

_EDGES = np.searchsorted(np.fft.rfftfreq(FRAME, 1 / RATE), np.geomspace(300, 2000, 34))
_BITS = np.uint64(1) << np.arange(32, dtype=np.uint64)
_WINDOW = np.hanning(FRAME).astype(np.float32)
_BLOCK = 1_024  # frames whose spectra are held in memory


def audio_fingerprint(audio: NDArray[np.float32]) -> NDArray[np.uint32]:
    """Return the fingerprint of a recording, (F,) words of 32 bits.

    Args:
        audio: samples, (T,), at 16 kHz; none below 0.42 s.
    """
    samples = soxr.resample(audio, SAMPLE_RATE, RATE).astype(np.float32)
    if len(samples) < FRAME + HOP:
        return np.zeros(0, np.uint32)
    frames = np.lib.stride_tricks.sliding_window_view(samples, FRAME)[::HOP]
    energy = np.concatenate(
        [_energy(frames[start : start + _BLOCK]) for start in range(0, len(frames), _BLOCK)]
    )
    rises = np.diff(np.diff(energy, axis=1), axis=0) > 0
    words = (rises * _BITS).sum(axis=1).astype(np.uint32)
    loudness = energy.sum(axis=1)
    words[loudness[1:] <= loudness.max() * 1e-6] = SILENT
    return words


@dataclass(frozen=True, kw_only=True)
class Match:
    """An equal recording in an index."""

    item: int
    errors: float
    """Share of different bits."""
    start: float
    """Position of the recording in the item in seconds; below 0 if it begins before the item."""


class FingerprintIndex:
    """Searchable fingerprints of items; 8 bytes per frame, 0.6 kB per second."""

    def __init__(self, fingerprints: Sequence[NDArray[np.uint32]]) -> None:
        lengths = [len(words) for words in fingerprints]
        self.words = np.concatenate([np.zeros(0, np.uint32), *fingerprints])  # (N,)
        self.starts = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])  # (I + 1,)
        self._places = np.argsort(self.words, kind="stable").astype(np.uint32)
        self._sorted = self.words[self._places]

    def find(self, words: NDArray[np.uint32]) -> Match | None:
        """Return the closest item that contains, or is part of, a recording; None if none does."""
        best: Match | None = None
        for item, offset in self._candidates(words):
            start, end = self.starts[item], self.starts[item + 1]
            first, last = max(0, -offset), min(len(words), int(end - start) - offset)
            ours = words[first:last]
            theirs = self.words[start + first + offset : start + last + offset]
            heard = (ours != SILENT) & (theirs != SILENT)
            count = int(heard.sum())
            if count < MIN_FRAMES:
                continue
            errors = float(np.bitwise_count(ours[heard] ^ theirs[heard]).mean()) / 32
            limit = MAX_ERRORS if count >= LONG_FRAMES else MAX_ERRORS_SHORT
            if errors <= limit and (best is None or errors < best.errors):
                best = Match(item=item, errors=errors, start=offset * HOP / RATE)
        return best

    def _candidates(self, words: NDArray[np.uint32]) -> list[tuple[int, int]]:
        """Return items with the offset at which words of the recording occur in them."""
        asked = np.flatnonzero(words != SILENT)
        low = np.searchsorted(self._sorted, words[asked], side="left")
        count = np.searchsorted(self._sorted, words[asked], side="right") - low
        traces = (count > 0) & (count <= _COMMON)
        asked, low, count = asked[traces], low[traces], count[traces]
        if not len(asked):
            return []
        run = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
        places = self._places[np.repeat(low, count) + run].astype(np.int64)
        items = np.searchsorted(self.starts, places, side="right") - 1
        offsets = places - self.starts[items] - np.repeat(asked, count)
        found, votes = np.unique(np.stack([items, offsets]), axis=1, return_counts=True)
        order = np.argsort(-votes, kind="stable")[:_CANDIDATES]
        return [(int(item), int(offset)) for item, offset in found[:, order].T]


def _energy(frames: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the energy in each band, (F, 33)."""
    spectra = np.abs(np.fft.rfft(frames * _WINDOW, axis=1)) ** 2
    return np.add.reduceat(spectra, _EDGES, axis=1)[:, :33].astype(np.float32)
