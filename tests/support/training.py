"""A run of twelve steps on the tiny model."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from desta.data.dataset import ExampleReader
from desta.model.config import ConnectorConfig, ModelConfig
from desta.records import AudioTextPair
from desta.training import loop
from desta.training.config import DataConfig, OptimConfig, TrainConfig
from support.commands import run_main
from support.forks import Fork


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


def wait_for_steps(path: Path, process: subprocess.Popen | Fork, at_least: int) -> None:
    """Wait until a step has been logged, or the process has ended."""
    while process.poll() is None:
        if path.exists() and path.read_bytes().count(b"grad_norm") >= at_least:
            return
        time.sleep(0.01)


def record_and_die(*arguments: str) -> None:
    """Run a command that notes which pairs it reads; with DIE set, the first saved state ends it.

    The last of the arguments is the directory of the run, and the notes lie beside it.
    """
    read, save_state = ExampleReader.read, loop.save_state
    notes = Path(f"{arguments[-1]}.{os.environ.get('RANK', 'alone')}")

    def recorded(self: ExampleReader, pair: AudioTextPair, **options: Any) -> Any:
        with notes.open("a") as file:
            file.write(f"{pair.id}\n")
        return read(self, pair, **options)

    def save_and_die(*state: Any) -> None:
        save_state(*state)
        os.kill(os.getpid(), signal.SIGKILL)

    ExampleReader.read = recorded
    if "DIE" in os.environ:
        loop.save_state = save_and_die
    run_main(*arguments)
