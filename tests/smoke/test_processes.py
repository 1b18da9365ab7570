"""Several processes: the same run as one, whole checkpoints, nothing read twice, nobody left."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from desta.config import dump_recipe
from desta.data.sampling import BucketSampler, Position
from desta.model import checkpoint
from desta.model.config import ConnectorConfig, LoraConfig, ModelConfig
from desta.training.config import DataConfig, OptimConfig, TrainConfig
from desta.training.loop import train
from support.commands import run_main
from support.forks import Fork
from support.training import record_and_die


@pytest.fixture
def config(tmp_path: Path, published_tiny: Path) -> TrainConfig:
    """Eight steps, each of the one batch of each process, without chance but for the order."""
    rows = [json.loads(line) for line in (published_tiny / "train.jsonl").open()]
    data = tmp_path / "data"
    data.mkdir()
    with (data / "audio-00000.jsonl").open("w") as file:
        for number in range(60):
            record = rows[number % len(rows)] | {"id": str(number), "dataset": "tiny"}
            record |= {"seed_description": "", "prompt": ""}
            record["response"] += f" {number}"
            if number % 15 == 0:  # nothing to hear
                record["messages"] = [{"role": "user", "content": f"{number}?"}]
            file.write(json.dumps(record) + "\n")
    return TrainConfig(
        model=ModelConfig(
            backbone=str(published_tiny / "backbone"),
            encoder=str(published_tiny / "openai" / "whisper-tiny"),
            connector=ConnectorConfig(num_query_tokens=4, num_layers=1, ffn_dim=64, dropout=0.0),
            dtype="float32",
        ),
        data=DataConfig(train=(data,), audio_root=published_tiny, token_budget=256, max_tokens=256),
        optim=OptimConfig(learning_rate=1e-3, warmup_steps=2),
        steps=8,
        precision="no",
        validation_rows=4,
        num_samples=1,
        save_every=3,
    )


def launch(
    program: Callable[..., None], config: TrainConfig, run: Path, num_processes: int, **env: str
) -> list[Fork | subprocess.Popen[str]]:
    """Start the processes of a run as torchrun would; all but the first are new interpreters.

    So they differ in the order of their sets, which the run must not depend on.
    """
    recipe = run.with_suffix(".yaml")
    recipe.write_text(dump_recipe(config))
    words = ["train", str(recipe), "--out", str(run)]
    shared = os.environ | {"OMP_NUM_THREADS": "1"} | env
    if num_processes == 1:
        return [Fork(program, *words, env=shared)]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared |= {"WORLD_SIZE": str(num_processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    shared["PYTHONPATH"] = os.pathsep.join(sys.path)
    ranks = [shared | {"RANK": str(n), "LOCAL_RANK": str(n)} for n in range(num_processes)]
    code = f"from {program.__module__} import {program.__name__} as run; run(*sys.argv[1:])"
    command = [sys.executable, "-c", f"import sys; {code}", *words]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    others = [subprocess.Popen(command, env=rank, **pipes) for rank in ranks[1:]]
    return [Fork(program, *words, env=ranks[0]), *others]


def losses(run: Path) -> list[float]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").open()]
    return [line["loss" if "loss" in line else "validation_loss"] for line in lines]


def assert_same_runs(found: Path, expected: Path) -> None:
    torch.testing.assert_close(losses(found), losses(expected), rtol=1e-4, atol=1e-4)
    weights = [load_file(run / "model.safetensors") for run in (found, expected)]
    torch.testing.assert_close(*weights, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("questions_per_clip", [1, 4])
@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
def test_two_processes_are_one_that_accumulates(
    config: TrainConfig, tmp_path: Path, strategy: str, questions_per_clip: int
) -> None:
    data = replace(config.data, questions_per_clip=questions_per_clip)
    config = replace(config, data=replace(data, validation=config.data.train))
    if strategy == "fsdp2":  # with all that is harder in pieces
        model = replace(config.model, lora=LoraConfig(rank=2, dropout=0.0))
        config = replace(config, model=model, gradient_checkpointing=True)
    two = replace(config, strategy=strategy, accumulate=2)
    processes = launch(run_main, two, tmp_path / "two", 2)
    train(replace(config, accumulate=4), tmp_path / "one")
    told = [process.communicate(timeout=600) for process in processes]

    assert [p.returncode for p in processes] == [0, 0], told
    assert "8 steps" in told[0][0]
    assert told[1][0] == "", "one process speaks for all"
    assert_same_runs(tmp_path / "two", tmp_path / "one")
    checkpoint.load(tmp_path / "two")  # strict


def test_a_run_in_pieces_goes_on_as_if_it_had_never_ended(
    config: TrainConfig, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    pieces = replace(config, strategy="fsdp2", save_every=4)
    for dies in ({"DIE": "1"}, {}):
        processes = launch(record_and_die, pieces, run, 2, **dies)
        told = [process.communicate(timeout=600) for process in processes]
        assert [p.returncode for p in processes] == ([-9, 2] if dies else [0, 0]), told
        assert ("going on after step 4" in told[0][1]) == (not dies)

    train(replace(config, accumulate=2), tmp_path / "one")
    assert_same_runs(run, tmp_path / "one")


def test_another_number_of_processes_goes_on_with_the_batches_that_follow(
    config: TrainConfig, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    both = launch(record_and_die, config, run, 2, DIE="1")
    told = [process.communicate(timeout=600) for process in both]
    assert both[0].returncode == -9, "".join(told[0])[-1500:]
    assert both[1].returncode == 2, told[1]
    assert "error: another process of the run has ended" in told[1][1]
    assert "Traceback" not in told[1][1]

    (alone,) = launch(record_and_die, config, run, 1)
    assert (alone.communicate(timeout=600), alone.returncode)[1] == 0

    read = [
        row
        for name in ("0", "1", "alone")
        for row in Path(f"{run}.{name}").read_text().splitlines()
    ]
    sampler = _sampler(config)
    due = [row for rows, _ in islice(sampler.batches(Position()), 3 * 2 + 5) for row in rows]
    assert sorted(map(int, read)) == sorted(due)
    assert len(set(read)) == len(read)


def _sampler(config: TrainConfig) -> BucketSampler:
    from desta.data.dataset import PairDataset
    from desta.training.batches import Collator

    collator = Collator(config.data, checkpoint.fresh(config.model))
    rows = PairDataset(config.data.train)
    return BucketSampler(
        len(rows),
        lambda row: collator.reader.length(rows[row]),
        token_budget=config.data.token_budget,
        chunk_rows=config.data.chunk_rows,
        seed=config.seed,
    )
