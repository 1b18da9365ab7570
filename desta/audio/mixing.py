"""Mixing to mono with FFmpeg's weights, or the loudest channel where channels cancel out."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from desta.audio.errors import AudioNote
from desta.audio.levels import SILENT_BELOW

_HALF = 0.5**0.5
CHANNEL_WEIGHTS = {
    "FC": 1.0,
    **dict.fromkeys(("FL", "FR", "FLC", "FRC", "TFL", "TFR"), _HALF),
    **dict.fromkeys(("BL", "BR", "BC", "SL", "SR"), _HALF**2),
}
"""Channel -> weight in FFmpeg's mix to mono, before normalization. Other channels, such as
low-frequency effects, are left out."""
_LAYOUTS = {
    1: "FC",
    2: "FL FR",
    3: "FL FR LFE",
    4: "FL FR FC BC",
    5: "FL FR FC BL BR",
    6: "FL FR FC LFE BL BR",
    7: "FL FR FC LFE BC SL SR",
    8: "FL FR FC LFE BL BR SL SR",
}
"""FFmpeg's default layout for each number of channels."""

_CANCELLED = 0.1
"""A mix with less than this share of the power of its loudest part counts as cancelled."""
_SECTION_SECONDS = 0.1
REASON = "has channels that cancel each other"


def weights(num_channels: int, names: Sequence[str] | None = None) -> NDArray[np.float32]:
    """Return the share of each channel in the mix, (C,); they sum to 1."""
    if names is None or not set(names) & CHANNEL_WEIGHTS.keys():
        names = _LAYOUTS.get(num_channels, "").split()
    known = [CHANNEL_WEIGHTS.get(name, 0.0) for name in names] or [1.0] * num_channels
    return np.array(known, np.float32) / np.float32(sum(known))


class Mixer:
    """Mixer of one recording, which counts the samples where channels cancel out."""

    def __init__(self) -> None:
        self._seconds = 0.0
        self._cancelled = 0.0

    def mix(
        self, samples: NDArray[Any], rate: int, names: Sequence[str] | None = None
    ) -> NDArray[Any]:
        """Mix samples, (T, C), to one channel, (T,)."""
        length, num_channels = samples.shape
        if num_channels == 1:
            return samples[:, 0]
        shares = weights(num_channels, names)
        if not length:
            return samples[:, 0]
        mixed = samples @ shares.astype(samples.dtype)
        self._seconds += length / rate
        section = max(round(rate * _SECTION_SECONDS), 1)
        for start in range(0, length, section):
            part = slice(start, start + section)
            self._cancelled += self._undo(samples[part], shares, mixed[part]) / rate
        return mixed

    def note(self, name: str) -> AudioNote | None:
        """Return a note if channels cancelled out."""
        if not self._cancelled:
            return None
        where = f"in {self._cancelled:.1f} of {self._seconds:.1f} s"
        return AudioNote(REASON, f"{name} {REASON} {where}: the loudest is taken there")

    def _undo(self, samples: NDArray[Any], shares: NDArray[np.float32], mixed: NDArray[Any]) -> int:
        """Replace cancelled sections of the mix by the loudest channel; return their samples."""
        num_samples = len(mixed)
        powers = np.einsum("tc,tc->c", samples, samples) / num_samples
        loudest = int(powers.argmax())
        share = max(float(shares[loudest]), float(shares[shares > 0].min()))
        enough = _CANCELLED * share**2 * float(powers[loudest])
        # (a section below -80 dBFS has nothing to lose, and NaN are refused elsewhere)
        if powers[loudest] < SILENT_BELOW**2 or not mixed @ mixed / num_samples < enough:
            return 0
        mixed[:] = samples[:, loudest]
        return num_samples
