"""Runs that read several questions about a clip in one sequence."""

import json
import logging
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from desta.config import dump_recipe
from desta.errors import ConfigError
from desta.model.config import LoraConfig
from desta.training.config import DataConfig, TrainConfig
from desta.training.loop import train
from support.commands import desta, run_desta, start_desta
from support.training import losses, run_config, wait_for_steps


@pytest.fixture
def config(tmp_path: Path, published_tiny: Path) -> TrainConfig:
    """Twelve steps on eight questions about each of three clips, four in a sequence."""
    config = run_config(tmp_path, published_tiny)
    shard = tmp_path / "data" / "audio-00000.jsonl"
    rows = [json.loads(line) for line in shard.open()]
    for number, row in enumerate(rows):
        row["messages"][-1]["content"] += f" Say it {number} times."
    shard.write_text("".join(json.dumps(row) + "\n" for row in rows))
    connector = replace(config.model.connector, dropout=0.0)
    return replace(
        config,
        model=replace(config.model, connector=connector),
        data=replace(config.data, questions_per_clip=4),
    )


@pytest.mark.parametrize("lora", [None, LoraConfig(rank=2, dropout=0.0, targets=("q_proj",))])
def test_every_way_of_reading_gives_the_losses_of_separate_rows(
    config: TrainConfig, tmp_path: Path, lora: LoraConfig | None
) -> None:
    data = replace(config.data, validation=(), token_budget=24 * 256)  # all pairs in one batch
    config = replace(config, model=replace(config.model, lora=lora), steps=3, accumulate=1)
    ways = {
        "separate": {"questions_per_clip": 1},
        "in trees": {},
        "packed": {"packing": True},
        "without a common prefix": {"share_prefix": False},
        "read elsewhere": {"num_workers": 1},
    }
    for name, changes in ways.items():
        train(replace(config, data=replace(data, **changes)), tmp_path / name)

    expected, *others = (dict(losses(tmp_path / name)) for name in ways)
    assert len(expected) == 3
    for found in others:
        assert found == pytest.approx(expected, abs=1e-4)


def test_a_run_with_recomputed_layers_learns(config: TrainConfig, tmp_path: Path) -> None:
    config = replace(config, steps=40, validate_every=20, save_every=20)
    config = replace(config, gradient_checkpointing=True)
    train(config, tmp_path / "run")
    values = [loss for _, loss in losses(tmp_path / "run")]
    assert sum(values[-8:]) / 8 < 0.85 * sum(values[:4]) / 4


def test_kill_9_changes_no_loss(config: TrainConfig, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(dump_recipe(replace(config, steps=18)))
    whole = desta("train", recipe, "--out", tmp_path / "whole")
    assert whole.exit_code == 0, whole.output
    run = tmp_path / "killed"
    for num_steps in (5, 11):
        process = start_desta("train", recipe, "--out", run)
        wait_for_steps(run / "metrics.jsonl", process, at_least=num_steps)
        process.kill()
        assert process.wait() == -signal.SIGKILL, "the run ended before it was killed"
    last = run_desta("train", recipe, "--out", run)
    assert last.returncode == 0, last.stderr

    assert losses(run) == losses(tmp_path / "whole")
    assert (run / "model.safetensors").read_bytes() == (
        tmp_path / "whole" / "model.safetensors"
    ).read_bytes()


def test_a_backbone_that_cannot_reads_separate_rows_and_says_so_once(
    config: TrainConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    backbone = tmp_path / "sliding"
    shutil.copytree(config.model.backbone, backbone)
    fields = json.loads((backbone / "config.json").read_text())
    fields |= {"model_type": "mistral", "architectures": ["MistralForCausalLM"]}
    (backbone / "config.json").write_text(json.dumps(fields | {"sliding_window": 64}))
    config = replace(config, model=replace(config.model, backbone=str(backbone)), steps=3)

    with caplog.at_level(logging.INFO):
        train(config, tmp_path / "asked")
    separate = replace(config, data=replace(config.data, questions_per_clip=1))
    train(separate, tmp_path / "separate")

    told = [r.getMessage() for r in caplog.records if "questions_per_clip" in r.getMessage()]
    assert told == [
        f'backbone "{backbone}" cannot read several questions in one sequence: '
        "data.questions_per_clip is ignored"
    ]
    assert losses(tmp_path / "asked") == losses(tmp_path / "separate")


def test_less_than_one_question_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="questions_per_clip = 0 is too small"):
        DataConfig(train=(tmp_path,), questions_per_clip=0)
