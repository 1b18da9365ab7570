"""Measure the processor time of each kind of augmentation, per second of audio.

    python scripts/augmentation.py [--seconds 5] [--repeats 20]

The codec is measured with each of its names, noise with each of its colours. Compare with the
encoder: about 60 ms for a clip.
"""

import argparse
import statistics
import time

import numpy as np

from desta.audio import SAMPLE_RATE
from desta.audio.augment.config import (
    AugmentConfig,
    Clipping,
    Codec,
    Crop,
    Gain,
    LowPass,
    Noise,
    Room,
    Silence,
    Speed,
    Telephone,
)
from desta.audio.augment.draw import augment

RECIPES = {
    "crop": AugmentConfig(crop=Crop(probability=1)),
    "speed": AugmentConfig(speed=Speed(probability=1)),
    "silence": AugmentConfig(silence=Silence(probability=1)),
    "room": AugmentConfig(room=Room(probability=1)),
    **{
        f"noise, {colour}": AugmentConfig(noise=Noise(probability=1, colours=(colour,)))
        for colour in ("white", "pink", "brown")
    },
    "clipping": AugmentConfig(clipping=Clipping(probability=1)),
    "low_pass": AugmentConfig(low_pass=LowPass(probability=1)),
    "telephone": AugmentConfig(telephone=Telephone(probability=1)),
    **{
        f"codec, {name}": AugmentConfig(codec=Codec(probability=1, names=(name,)))
        for name in ("mp3", "opus", "gsm", "mu_law")
    },
    "gain": AugmentConfig(gain=Gain(probability=1)),
}


def main() -> int:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=5.0, help="length of the clip")
    parser.add_argument("--repeats", type=int, default=20)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    clip = (0.1 * rng.standard_normal(round(options.seconds * SAMPLE_RATE))).astype(np.float32)
    print(f"a clip of {options.seconds:g} s, median of {options.repeats} draws")
    print("| kind | ms a clip | ms a second of audio |\n|---|---|---|")
    for name, config in RECIPES.items():
        times = []
        for number in range(options.repeats + 1):
            started = time.process_time()
            augment(clip, config, (0, number))
            times.append(1000 * (time.process_time() - started))
        middle = statistics.median(times[1:])  # the first loads libraries
        print(f"| {name} | {middle:.1f} | {middle / options.seconds:.2f} |")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
