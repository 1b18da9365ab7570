"""Sample levels: silence, peaks, and the full scale of samples given as an array."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from desta.audio.errors import AudioError, AudioNote

SILENT_BELOW = 1e-4  # -80 dBFS: a recording without any sample above it is silent

MAX_PEAK = 16.0
"""24 dB beyond full scale: the highest peak that is taken for a recording that is too loud."""
_CLIPPED = 4.0
"""Whole numbers up to this may be a clipped recording; beyond it they are quantization steps."""
_SCALES = {2.0**15: "16-bit", 2.0**23: "24-bit", 2.0**31: "32-bit"}
_OVERSHOOT = 1.25  # factor by which resampling may raise peaks of full scale
_SUMS = 4.0  # factor by which adding channels may raise peaks of whole numbers
_UNSIGNED = 255.0  # whole numbers from 0 to here are 8 bits around 128
_FEWEST_STEPS = 256.0  # least peak of a 16-bit recording whose samples are no longer whole numbers


def is_silent(samples: NDArray[np.float32]) -> bool:
    """Return whether a recording, (samples,), is silent.

    >>> is_silent(np.zeros(3, dtype=np.float32)), is_silent(np.float32([0, -0.5]))
    (True, False)
    """
    return bool(max(samples.max(), -samples.min()) < SILENT_BELOW)


class Levels:
    """Running peak of float samples; tracks whether those beyond full scale are whole numbers."""

    def __init__(self) -> None:
        self.peak = 0.0
        self._lowest = np.inf
        self._whole = True

    def add(self, samples: NDArray[Any]) -> None:
        """Add the next samples, (T,)."""
        if not len(samples):
            return
        lowest = float(samples.min())
        peak = max(float(samples.max()), -lowest)  # NaN if any is
        self._lowest = min(lowest, self._lowest)
        self.peak = peak if not peak <= self.peak else self.peak
        if 1.0 < peak < np.inf and self._whole:
            doubled = 2 * samples  # the mean of two whole numbers may end in a half
            self._whole = bool((doubled == np.rint(doubled)).all())

    def full_scale(self, name: str) -> tuple[float, AudioNote | None]:
        """Return the divisor of the samples: 1 unless they are plainly in another scale.

        Raises:
            AudioError: they are not finite, or far beyond full scale in an unknown scale.
        """
        peak = self.peak
        if not np.isfinite(peak):
            raise AudioError(
                name, "holds NaN or infinite samples", fix="export it again as 16-bit PCM"
            )
        counts_steps = self._whole and peak > _CLIPPED
        if peak <= MAX_PEAK and not counts_steps:
            return 1.0, None
        if counts_steps and self._lowest >= 0 and peak <= _UNSIGNED:
            raise AudioError(
                name,
                "has samples in the scale of unsigned 8-bit integers",
                fix="subtract 128 and divide by 128, or give them as signed integers",
            )
        if counts_steps:
            scale = next((scale for scale in _SCALES if peak <= _SUMS * scale), None)
        else:
            is_16_bit = _FEWEST_STEPS < peak <= _OVERSHOOT * 2.0**15
            scale = 2.0**15 if is_16_bit else None
        if scale is None:
            raise AudioError(
                name,
                "has samples far beyond full scale",
                fix=f"they reach {peak:.3g} where full scale is 1; divide them by their full scale",
            )
        reason = f"has samples in the scale of {_SCALES[scale]} integers"
        return scale, AudioNote(reason, f"{name} {reason}: divided by {scale:.0f}")


def integer_scale(samples: NDArray[Any]) -> float:
    """Return the full scale of integer samples: that of their type, unless it is far too wide.

    Nobody records 64 bits, and 32 bits of which only the lowest 16 are used count as 16.
    """
    if samples.dtype.itemsize > 2 and len(samples):
        peak = max(float(samples.max()), -float(samples.min()))
        if _CLIPPED < peak <= _SUMS * 2.0**15:
            return 2.0**15
        if samples.dtype.itemsize > 4 and peak <= 2.0**31:
            return 2.0**31
    return float(np.iinfo(samples.dtype).max) + 1
