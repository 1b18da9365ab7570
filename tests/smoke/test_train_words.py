"""A first stage that learns the words of descriptions, and a run that starts from it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from desta.errors import ConfigError
from desta.training.config import TrainConfig
from desta.training.loop import train
from support.training import losses, run_config

LANGUAGES = ("French", "Greek", "English")


@pytest.fixture
def config(tmp_path: Path, published_tiny: Path) -> TrainConfig:
    config = run_config(tmp_path, published_tiny)
    shard = tmp_path / "data" / "audio-00000.jsonl"
    rows = [json.loads(line) for line in shard.open()]
    for number, row in enumerate(rows):
        row["seed_description"] = f"[00:00-00:02] (Language: {LANGUAGES[number % 3]}, Duration: 2s)"
    shard.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return replace(config, steps=40, validate_every=20, save_every=20, words=("Language",))


def test_audio_tokens_become_the_words_of_the_descriptions(
    config: TrainConfig, tmp_path: Path
) -> None:
    train(config, tmp_path / "run")

    values = [loss for _, loss in losses(tmp_path / "run")]
    assert sum(values[-4:]) / 4 < 0.3 * sum(values[:4]) / 4


def test_a_run_starts_from_the_connector_of_another(config: TrainConfig, tmp_path: Path) -> None:
    train(replace(config, steps=3), tmp_path / "words")
    still = replace(config.optim, learning_rate=1e-12, weight_decay=0.0)
    second = replace(config, words=(), start=tmp_path / "words", steps=1, optim=still)

    train(second, tmp_path / "run")

    first, last = (load_file(tmp_path / run / "model.safetensors") for run in ("words", "run"))
    assert all(torch.allclose(last[name], first[name], atol=1e-6) for name in first)


def test_a_start_that_hears_otherwise_is_refused(config: TrainConfig, tmp_path: Path) -> None:
    train(replace(config, steps=1), tmp_path / "words")
    other = replace(config, words=(), start=tmp_path / "words")

    raw = replace(config.model.connector, normalise_frames=False)
    with pytest.raises(ConfigError, match="normalise_frames = True"):
        train(replace(other, model=replace(config.model, connector=raw)), tmp_path / "run")
    with pytest.raises(ConfigError, match="window = tight"):
        train(replace(other, model=replace(config.model, window="30s")), tmp_path / "run")
