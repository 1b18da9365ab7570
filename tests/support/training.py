"""A run of twelve steps on the tiny model."""

import json
import subprocess
import time
from pathlib import Path

from desta.model.config import ConnectorConfig, ModelConfig
from desta.training.config import DataConfig, OptimConfig, TrainConfig


def run_config(folder: Path, published_tiny: Path) -> TrainConfig:
    """Return the recipe of twelve steps on pairs that reuse the three tiny recordings."""
    rows = [json.loads(line) for line in (published_tiny / "train.jsonl").open()]
    data = folder / "data"
    data.mkdir()
    with (data / "audio-00000.jsonl").open("w") as file:
        for number in range(24):
            row = rows[number % len(rows)]
            record = {
                "id": f"pair-{number}",
                "dataset": "tiny",
                "seed_description": "",
                "prompt": "",
                "response": f"{row['response']} {number}",
                "messages": row["messages"],
            }
            file.write(json.dumps(record) + "\n")
    return TrainConfig(
        model=ModelConfig(
            backbone=str(published_tiny / "backbone"),
            encoder=str(published_tiny / "openai" / "whisper-tiny"),
            connector=ConnectorConfig(num_query_tokens=4, num_layers=2, ffn_dim=64),
            dtype="float32",
        ),
        data=DataConfig(
            train=(data,),
            validation=(data,),
            audio_root=published_tiny,
            token_budget=512,
            max_tokens=256,
        ),
        optim=OptimConfig(learning_rate=1e-2, warmup_steps=2),
        steps=12,
        accumulate=2,
        precision="no",
        validate_every=6,
        validation_rows=24,
        num_samples=2,
        save_every=3,
    )


def losses(run: Path) -> list[tuple[int, float]]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").open()]
    return [(line["step"], line["loss"]) for line in lines if "loss" in line]


def validations(run: Path) -> list[dict]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").open()]
    return [line for line in lines if "validation_loss" in line]


def wait_for_steps(path: Path, process: subprocess.Popen, at_least: int) -> None:
    """Wait until a step has been logged, or the process has ended."""
    while process.poll() is None:
        if path.exists() and path.read_bytes().count(b"grad_norm") >= at_least:
            return
        time.sleep(0.01)
