"""Draws of effects: the same clip, recipe and draw give the same samples."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

from desta.audio.augment import effects
from desta.audio.augment.codecs import transcode
from desta.audio.augment.config import (
    KINDS,
    AugmentConfig,
    Clipping,
    Codec,
    Crop,
    Gain,
    LowPass,
    Noise,
    Range,
    Room,
    Silence,
    Speed,
    Telephone,
)
from desta.audio.augment.effects import Samples
from desta.audio.windows import SAMPLE_RATE, WINDOW_SAMPLES

Draw = Sequence[int]
"""Numbers that determine a draw: seed, epoch, place in the epoch."""
_LINE = (300.0, 3400.0)
"""Hertz that a telephone line transmits."""


def augment(
    samples: Samples, config: AugmentConfig, draw: Draw, *, without: Collection[str] = ()
) -> Samples:
    """Apply the effects that a draw selects.

    Every kind draws on its own: a kind that is added, changed or left out changes no other.

    Args:
        samples: (T,), at 16 kHz.
        config: kinds with their probabilities.
        draw: numbers that determine the draw, none negative.
        without: kinds that must not be applied.
    """
    for number, kind in enumerate(KINDS):
        settings = getattr(config, kind)
        if settings is None or kind in without:
            continue
        rng = np.random.default_rng((*draw, number))
        if rng.random() < settings.probability:
            samples = _EFFECTS[kind](samples, settings, rng)
    return samples


def _between(rng: np.random.Generator, range: Range) -> float:
    return float(rng.uniform(range[0], range[1]))


def _crop(samples: Samples, settings: Crop, rng: np.random.Generator) -> Samples:
    count = round(_between(rng, settings.seconds) * SAMPLE_RATE)
    return effects.keep_part(samples, count, int(rng.integers(max(len(samples) - count, 0) + 1)))


def _speed(samples: Samples, settings: Speed, rng: np.random.Generator) -> Samples:
    changed = effects.change_speed(samples, _between(rng, settings.factor))
    fits = len(changed) > 0 and max(len(samples), len(changed)) <= WINDOW_SAMPLES
    return changed if fits else samples


def _silence(samples: Samples, settings: Silence, rng: np.random.Generator) -> Samples:
    room = max(WINDOW_SAMPLES - len(samples), 0)
    before = min(round(_between(rng, settings.seconds) * SAMPLE_RATE), room)
    after = min(round(_between(rng, settings.seconds) * SAMPLE_RATE), room - before)
    return effects.add_silence(samples, before, after)


def _room(samples: Samples, settings: Room, rng: np.random.Generator) -> Samples:
    seconds, direct = _between(rng, settings.seconds), _between(rng, settings.direct)
    return effects.reverberate(samples, effects.impulse_response(seconds, direct, rng))


def _noise(samples: Samples, settings: Noise, rng: np.random.Generator) -> Samples:
    decibels = _between(rng, settings.decibels)
    colour = settings.colours[rng.integers(len(settings.colours))]
    return effects.add_noise(samples, effects.coloured_noise(len(samples), colour, rng), decibels)


def _clipping(samples: Samples, settings: Clipping, rng: np.random.Generator) -> Samples:
    return effects.clip_peaks(samples, _between(rng, settings.decibels))


def _low_pass(samples: Samples, settings: LowPass, rng: np.random.Generator) -> Samples:
    return effects.pass_band(samples, 0.0, _between(rng, settings.hertz))


def _telephone(samples: Samples, settings: Telephone, rng: np.random.Generator) -> Samples:
    return transcode(effects.pass_band(samples, *_LINE), "mu_law", 64.0)


def _codec(samples: Samples, settings: Codec, rng: np.random.Generator) -> Samples:
    name = settings.names[rng.integers(len(settings.names))]
    return transcode(samples, name, _between(rng, settings.kilobits))


def _gain(samples: Samples, settings: Gain, rng: np.random.Generator) -> Samples:
    return effects.change_gain(samples, _between(rng, settings.decibels))


_EFFECTS: Mapping[str, Callable[[Samples, Any, np.random.Generator], Samples]] = {
    "crop": _crop,
    "speed": _speed,
    "silence": _silence,
    "room": _room,
    "noise": _noise,
    "clipping": _clipping,
    "low_pass": _low_pass,
    "telephone": _telephone,
    "codec": _codec,
    "gain": _gain,
}
