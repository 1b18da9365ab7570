"""Measure how many clips per second are read on one core, also against another version.

    python scripts/reading.py [--clips 1000] [--against DIR]

Deterministic clips of 2 to 12 s of wordless voice: WAV of 16 bits at 16 kHz (and a tenth as many at
44.1 kHz in stereo), FLAC, MP3 and Opus. With `--against`, a checkout of another version reads the
same files in its own process, both in turn, and the ratio is that of the medians of the rounds.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import soundfile

ROUNDS = 7
KINDS: dict[str, tuple[float, int, int, dict[str, Any]]] = {
    # name: share of the clips, rate, channels, options of soundfile
    "wav": (1.0, 16_000, 1, {"format": "WAV", "subtype": "PCM_16"}),
    "wav, 44.1 kHz stereo": (0.1, 44_100, 2, {"format": "WAV", "subtype": "PCM_16"}),
    "flac": (0.5, 16_000, 1, {"format": "FLAC"}),
    "mp3": (0.2, 16_000, 1, {"format": "MP3"}),
    "opus": (0.1, 48_000, 1, {"format": "OGG", "subtype": "OPUS"}),
    "vorbis": (0.1, 16_000, 1, {"format": "OGG", "subtype": "VORBIS"}),
}


def write_clips(folder: Path, count: int) -> dict[str, list[Path]]:
    """Write the clips of every kind; return their paths."""
    from measure.clips import speech_like

    voice = speech_like(np.random.default_rng(0), 12)
    lengths = np.random.default_rng(1).uniform(2, 12, count)
    paths: dict[str, list[Path]] = {}
    for kind, (share, rate, channels, how) in KINDS.items():
        paths[kind] = []
        for number, seconds in enumerate(lengths[: max(round(share * count), 1)]):
            clip = np.resize(voice, round(seconds * rate))
            path = folder / f"{len(paths)}-{number}"
            soundfile.write(path, np.stack([clip] * channels, axis=1), rate, **how)
            paths[kind].append(path)
    return paths


def serve() -> None:
    """Read the files named by each line of standard input; print the seconds it took."""
    from desta.audio import load_audio

    for line in sys.stdin:
        paths = line.rstrip("\n").split("\t")
        start = time.process_time()
        for path in paths:
            load_audio(path)
        print(time.process_time() - start, flush=True)


class Reader:
    """A process that reads files with one version of the package."""

    def __init__(self, checkout: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--serve"],
            env={**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def seconds(self, paths: Sequence[Path]) -> float:
        """Return the processor time for reading the files, in seconds."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(*paths, sep="\t", file=self._process.stdin, flush=True)
        return float(self._process.stdout.readline())

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def main() -> None:
    """Write the clips, read them in turn, and print the rates."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=1000)
    parser.add_argument("--against", type=Path)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve()
        return
    checkouts = [Path(__file__).resolve().parent.parent]
    checkouts += [options.against.resolve()] if options.against else []
    readers = [Reader(checkout) for checkout in checkouts]
    with tempfile.TemporaryDirectory() as folder:
        for kind, paths in write_clips(Path(folder), options.clips).items():
            seconds: list[list[float]] = [[] for _ in readers]
            for number in range(ROUNDS + 1):
                for reader, taken in zip(readers, seconds, strict=True):
                    found = reader.seconds(paths)
                    if number:  # the first warms up
                        taken.append(found)
            rates = [len(paths) / median(taken) for taken in seconds]
            other = "".join(
                f"   other {rate:,.0f}, ratio {rates[0] / rate:.3f}" for rate in rates[1:]
            )
            print(f"{kind:22}{rates[0]:8,.0f} clips/s{other}", flush=True)
    for reader in readers:
        reader.close()


if __name__ == "__main__":
    main()
