"""Measurement rounds: all settings on one device in turn, repeated."""

import platform
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from desta.model.checkpoint import Loaded
from desta.model.config import ModelConfig
from desta.progress import progress_bar
from measure import table
from measure.answering import Side, count_spoken, least_flops, measure, never_end
from measure.clips import ask
from measure.settings import (
    ANSWERING,
    TRAINING,
    Lever,
    Scale,
    Settings,
    build,
    ends,
    ladder,
)
from measure.training import Job, Processes, product_flops

LADDER_SECONDS = 5  # length of clips for every lever; other lengths only for both ends
PARTS = ("training", "answering")

Clips = dict[int, tuple[Path, ...]]
"""Clips by length in seconds."""


def measure_device(
    config: ModelConfig,
    clips: Clips,
    scale: Scale,
    rounds: int,
    parts: Sequence[str],
    device: str,
) -> dict[str, Any]:
    """Return the figures of one device, as in the JSON file."""
    records = table.Records()
    facts: dict[str, Any] = {}
    rung = LADDER_SECONDS if LADDER_SECONDS in clips else next(iter(clips))
    if "training" in parts:  # first: while this process holds no model
        facts |= measure_training(records, config, clips, scale, rounds, device, rung)
    if "answering" in parts:
        facts |= measure_answering(records, config, clips, scale, rounds, device, rung)
    return {
        "processor": torch.cuda.get_device_name() if device == "cuda" else cpu_name(),
        "ladder_seconds": rung,
        "rows": records.rows(),
        "records": [asdict(record) for record in records.all()],
        "facts": facts,
    }


def steps(levers: Sequence[Lever], clips: Clips, rung: int) -> list[tuple[int, str, Settings]]:
    """Return the measurements of a round: all levers at one length, both ends at the others."""
    return [
        (seconds, name, settings)
        for seconds in clips
        for name, settings in (ladder(levers) if seconds == rung else ends(levers))
    ]


def measure_training(
    records: table.Records,
    config: ModelConfig,
    clips: Clips,
    scale: Scale,
    rounds: int,
    device: str,
    rung: int,
) -> dict[str, Any]:
    """Add the measures of training to the records; return facts about it."""
    todo = steps(TRAINING, clips, rung)
    peak, flops, tokens, labels = 0.0, {}, {}, 0.0
    label = f"training on {device}"
    with Processes() as processes, progress_bar(label, total=rounds * len(todo)) as advance:
        for _ in range(rounds):
            peak = max(peak, processes.product_flops(scale.matrix_size, device))
            for seconds, name, settings in todo:
                found = processes.train(
                    Job(
                        config=config,
                        settings=settings,
                        scale=scale,
                        paths=clips[seconds],
                        device=device,
                    )
                )
                records.add(seconds, name, table.SAMPLES, found.samples_per_second)
                if found.peak_gib is not None:
                    records.add(seconds, name, table.MEMORY, found.peak_gib)
                flops[seconds, name] = found.flops_per_sample
                tokens[name], labels = found.tokens_per_sample, found.labels_per_sample
                advance(f"{seconds} s, {name}")
    for seconds, name, _ in dict.fromkeys(todo):
        for value in records.get(seconds, name, table.SAMPLES).values:
            records.add(seconds, name, table.SHARE, 100 * value * flops[seconds, name] / peak)
    return {
        "matrix-product peak in the number format of training": f"{peak / 1e9:.3g} GFLOP/s",
        "least work of a training pair": ", ".join(
            f"{flops[seconds, name] / 1e9:.3g} GFLOP at {seconds} s, {name}"
            for seconds in clips
            for name, _ in ends(TRAINING)
        ),
        "tokens of a training pair": ", ".join(
            [f"{tokens[name]:.0f} {name}" for name, _ in ends(TRAINING)]
            + [f"{labels:.0f} labelled"]
        ),
    }


def measure_answering(
    records: table.Records,
    config: ModelConfig,
    clips: Clips,
    scale: Scale,
    rounds: int,
    device: str,
    rung: int,
) -> dict[str, Any]:
    """Add the measures of answering to the records; return facts about it."""
    sides = make_sides(config, dict(ladder(ANSWERING)), device, other_clip=clips[rung][-1])
    last = list(sides.values())[-1]
    todo = steps(ANSWERING, clips, rung)
    peak = 0.0
    label = f"answering on {device}"
    with progress_bar(label, total=rounds * len(todo)) as advance:
        for side in sides.values():  # warm-up
            side.answer([ask(paths[0], None) for paths in clips.values()], 1)
        last.transcribe(clips[rung])
        for _ in range(rounds):
            peak = max(peak, product_flops(scale.matrix_size, device))
            for seconds, name, _settings in todo:
                for what, value in measure(sides[name], clips[seconds], seconds, scale).items():
                    records.add(seconds, name, what, value)
                advance(f"{seconds} s, {name}")
    spoken = {seconds: count_spoken(last, paths[:-1]) for seconds, paths in clips.items()}
    least = {seconds: least_flops(last, paths[0], seconds) for seconds, paths in clips.items()}
    return {
        "clips in which Whisper hears words": spoken,
        "matrix-product peak in the number format of the backbone": f"{peak / 1e9:.3g} GFLOP/s",
        "least time of a first token at that peak, text given": ", ".join(
            f"{count / peak:.3g} s at {seconds} s" for seconds, count in least.items()
        ),
    }


def make_sides(
    config: ModelConfig, settings: dict[str, Settings], device: str, *, other_clip: Path
) -> dict[str, Side]:
    """Build an engine for each of the settings; those with the same layers share a backbone.

    Args:
        config: of the model.
        settings: by name.
        device: device of the models.
        other_clip: clip that every engine is asked about before it is measured.
    """
    built: dict[tuple[str, str, bool], Loaded] = {}
    backbones: dict[bool, Any] = {}
    for wanted in settings.values():
        key = wanted.window, wanted.encoder_dtype, wanted.fast_layers
        if key not in built:
            built[key] = build(config, wanted, device)
            if wanted.fast_layers not in backbones:
                backbones[wanted.fast_layers] = built[key].model.llm_model
                never_end(built[key])
            built[key].model.llm_model = backbones[wanted.fast_layers]
    return {
        name: Side(
            built[wanted.window, wanted.encoder_dtype, wanted.fast_layers], wanted, other_clip
        )
        for name, wanted in settings.items()
    }


def cpu_name() -> str:
    """Return the name of the processor from Linux, else from Python."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
