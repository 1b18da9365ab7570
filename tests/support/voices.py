"""Voices of known pitch, and their measured attributes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from desta.attributes.measure import measure
from desta.audio import SAMPLE_RATE
from desta.records import Clip, read_clips

HERTZ = {"Male": range(90, 140, 2), "Female": range(180, 280, 4)}  # 25 voices each


def sound(hertz: float, *, seconds: float = 0.6, level: float = 0.1) -> np.ndarray[Any, Any]:
    t = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    return level * sum(np.sin(2 * np.pi * hertz * n * t) / n for n in range(1, 6))


def make_clip(root: Path, hertz: float, **fields: Any) -> Clip:
    name = f"{hertz:g}.wav"
    soundfile.write(root / name, sound(hertz, level=hertz / 1000), SAMPLE_RATE)
    return Clip(id=f"s/{hertz:g}", source="s", audio=name, duration=0.6, **fields)


def make_voices(folder: Path) -> Path:
    """Return a folder of 50 voices, 25 of each sex, and their clips.jsonl."""
    write(
        folder,
        [
            make_clip(folder, hertz, domain="speech", attributes={"Gender": sex})
            for sex, all_hertz in HERTZ.items()
            for hertz in all_hertz
        ],
    )
    return folder


def write(root: Path, clips: list[Clip]) -> None:
    lines = (json.dumps(clip.to_json()) for clip in clips)
    (root / "clips.jsonl").write_text("".join(f"{line}\n" for line in lines))


def run(root: Path, *, out: str = "out", **options: Any) -> Any:
    options = {"measures": ("pitch", "loudness"), "workers": 1} | options
    return measure(root / "clips.jsonl", root, root / out, **options)


def written(root: Path, out: str = "out") -> dict[str, Clip]:
    return {clip.id: clip for clip in read_clips(root / out / "clips.jsonl")}
