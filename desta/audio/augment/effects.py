"""Effects: pure functions of samples, (T,), float32 at 16 kHz, that return new samples.

None of them raises the peak above full scale, or above that of the clip if it is higher.
"""

import numpy as np
import soxr
from numpy.typing import NDArray

from desta.audio.levels import SILENT_BELOW
from desta.audio.windows import SAMPLE_RATE

Samples = NDArray[np.float32]

_SLOPE = 0.1  # share of a cut-off frequency over which a filter falls from all to nothing
_GAP_SECONDS = 0.002  # between the direct sound and the first reflection
_SLOPES = {"white": 0.0, "pink": 0.5, "brown": 1.0}
_LOWEST_HERTZ = 20.0  # coloured noise does not rise below it


def keep_part(samples: Samples, count: int, first: int) -> Samples:
    """Return a number of samples from the first one on, (min(count, T - first),)."""
    return samples[first : first + count]


def change_gain(samples: Samples, decibels: float) -> Samples:
    """Amplify, at most to full scale."""
    return within_full_scale(samples * _amplitude(decibels), samples)


def change_speed(samples: Samples, factor: float) -> Samples:
    """Play faster, (T / factor,); pitch and tempo rise by the factor."""
    return _resample(samples, round(SAMPLE_RATE * factor), SAMPLE_RATE)


def add_silence(samples: Samples, before: int, after: int) -> Samples:
    """Put zeros before and after, (before + T + after,)."""
    return np.pad(samples, (before, after))


def pass_band(samples: Samples, lowest: float, highest: float) -> Samples:
    """Remove frequencies below and above, in hertz; 0 keeps all low ones."""
    size = _fast_size(len(samples) + SAMPLE_RATE // 10)  # the ends do not meet
    hertz = np.fft.rfftfreq(size, 1 / SAMPLE_RATE).astype(np.float32)
    share = _rise((highest - hertz) / (_SLOPE * highest))
    if lowest:
        share *= _rise((hertz - lowest) / (_SLOPE * lowest))
    passed = np.fft.irfft(np.fft.rfft(samples, size) * share, size)[: len(samples)]
    return within_full_scale(passed.astype(np.float32), samples)


def impulse_response(seconds: float, direct: float, rng: np.random.Generator) -> Samples:
    """Return the impulse response of a room: the direct sound, then decaying noise.

    Args:
        seconds: reverberation time, in which the noise decays by 60 dB.
        direct: energy of the direct sound over that of the reverberation, dB.
        rng: draws the noise.
    """
    count = max(round(seconds * SAMPLE_RATE), 1)
    decay = 10 ** (-3 * np.arange(count) / (seconds * SAMPLE_RATE))
    tail = rng.standard_normal(count) * decay
    tail *= _amplitude(-direct) / np.linalg.norm(tail)
    gap = np.zeros(round(_GAP_SECONDS * SAMPLE_RATE) - 1)
    return np.concatenate([[1.0], gap, tail]).astype(np.float32)


def reverberate(samples: Samples, response: Samples) -> Samples:
    """Convolve with an impulse response; length and power stay."""
    size = _fast_size(len(samples) + len(response))
    product = np.fft.rfft(samples, size) * np.fft.rfft(response, size)
    wet: Samples = np.fft.irfft(product, size)[: len(samples)].astype(np.float32)
    powers = _power(samples), _power(wet)
    if min(powers) > 0:
        wet *= np.float32((powers[0] / powers[1]) ** 0.5)
    return within_full_scale(wet, samples)


def coloured_noise(count: int, colour: str, rng: np.random.Generator) -> Samples:
    """Return noise, (count,): white, pink (-3 dB an octave) or brown (-6 dB)."""
    noise = rng.standard_normal(_fast_size(count), dtype=np.float32)
    if slope := _SLOPES[colour]:
        hertz = np.fft.rfftfreq(len(noise), 1 / SAMPLE_RATE).astype(np.float32)
        shape = np.maximum(hertz, _LOWEST_HERTZ) ** np.float32(-slope)
        noise = np.fft.irfft(np.fft.rfft(noise) * shape, len(noise)).astype(np.float32)
    return noise[:count]


def add_noise(samples: Samples, noise: Samples, decibels: float) -> Samples:
    """Add noise at a signal-to-noise ratio.

    The power of the signal is that between its first and last audible sample, so that silence
    around it does not count. A silent clip stays as it is.
    """
    [audible] = np.nonzero(np.abs(samples) >= SILENT_BELOW)
    if not len(audible):
        return samples
    part = slice(audible[0], audible[-1] + 1)
    power = _power(noise[part])
    if not power:  # a click of a single sample
        return samples
    scale = (_power(samples[part]) / power) ** 0.5 * _amplitude(-decibels)
    return within_full_scale(samples + noise * np.float32(scale), samples)


def clip_peaks(samples: Samples, decibels: float) -> Samples:
    """Limit the samples to a level below their peak."""
    limit = np.float32(_peak(samples) * _amplitude(-decibels))
    return np.clip(samples, -limit, limit)


def within_full_scale(changed: Samples, samples: Samples) -> Samples:
    """Scale changed samples down to full scale, or to the peak of the original if it is higher."""
    peak, most = _peak(changed), max(1.0, _peak(samples))
    return changed * np.float32(most / peak) if peak > most else changed


def at_rate(samples: Samples, rate: int) -> Samples:
    """Resample from 16 kHz to another rate."""
    return _resample(samples, SAMPLE_RATE, rate)


def from_rate(samples: Samples, rate: int, count: int) -> Samples:
    """Resample to 16 kHz, then cut or pad to a number of samples."""
    back = _resample(samples, rate, SAMPLE_RATE)[:count]
    return np.pad(back, (0, count - len(back)))


def _resample(samples: Samples, rate: int, wanted: int) -> Samples:
    if rate == wanted:
        return samples
    return soxr.resample(samples, rate, wanted).astype(np.float32, copy=False)


def _rise(position: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a raised cosine: 0 up to position 0, 1 from position 1."""
    return (0.5 - 0.5 * np.cos(np.pi * position.clip(0, 1))).astype(np.float32)


def _amplitude(decibels: float) -> np.float32:
    return np.float32(10 ** (decibels / 20))


def _power(samples: Samples) -> float:
    return float(np.square(samples, dtype=np.float64).mean()) if len(samples) else 0.0


def _peak(samples: Samples) -> float:
    return max(float(samples.max()), -float(samples.min())) if len(samples) else 0.0


def _fast_size(count: int) -> int:
    """Return a size that is fast to transform: a power of two, or 3 or 5 times one."""
    return min(odd << max((-(-count // odd) - 1).bit_length(), 1) for odd in (1, 3, 5))
