"""Recordings of a tone, or of noise."""

from pathlib import Path

import numpy as np
import soundfile


def tone(path: Path, seconds: float, *, rate: int = 16_000) -> Path:
    """Write a tone, and return its path."""
    soundfile.write(path, 0.1 * np.sin(np.arange(round(seconds * rate)) * 0.2), rate)
    return path


def record(path: Path, *, seconds: float = 0.5, seed: int = 0) -> None:
    """Write noise; its folder is created."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).uniform(-0.1, 0.1, round(seconds * 8_000))
    soundfile.write(path, noise, 8_000)
