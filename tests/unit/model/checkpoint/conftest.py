"""Model directories that a test may change."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file


@pytest.fixture
def copy(published_tiny: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(published_tiny, tmp_path / "model"))


@pytest.fixture
def published(published_tiny: Path, tmp_path: Path) -> Path:
    """As the published code writes it: six layers, four target layers, more fields than we know."""
    torch.manual_seed(0)
    directory = tmp_path / "published"
    shutil.copytree(published_tiny / "openai", directory / "openai")
    shutil.copytree(published_tiny / "backbone", directory / "backbone")
    fields = json.loads((published_tiny / "config.json").read_text()) | {
        "architectures": ["DeSTA25AudioModel"],
        "qformer_num_hidden_layers": 6,
        "prompt_size": 4,
        "dtype": "float32",
        "transformers_version": "4.53.3",
        "train_id": 30678,
        "info": "Ｄｅｓｔａ",
        "llm_config": {"hidden_size": 4096, "vocab_size": 1},
        "encoder_config": {"d_model": 1280},
    }
    fields.pop("target_layer_ids", None)
    (directory / "config.json").write_text(json.dumps(fields))
    prefix, tensors = "perception.connector.", {}
    tensors[f"{prefix}layer_weights"] = torch.zeros(4, 4)
    for layer in range(4):
        tensors[f"{prefix}layer_prompts.{layer}"] = torch.randn(1, 4, 32)

    def linear(name: str, rows: int, columns: int) -> None:
        tensors[f"{prefix}{name}.weight"] = torch.randn(rows, columns) * 0.1
        tensors[f"{prefix}{name}.bias"] = torch.zeros(rows)

    def norm(name: str) -> None:
        tensors[f"{prefix}{name}.weight"] = torch.ones(32)
        tensors[f"{prefix}{name}.bias"] = torch.zeros(32)

    for layer in range(6):
        for attention in ("attention", "crossattention"):
            at = f"qformer.layer.{layer}.{attention}"
            for kind in ("query", "key", "value"):
                linear(f"{at}.self.{kind}", 32, 32)
            linear(f"{at}.output.dense", 32, 32)
            norm(f"{at}.output.LayerNorm")
        linear(f"qformer.layer.{layer}.intermediate.dense", 3072, 32)
        linear(f"qformer.layer.{layer}.output.dense", 32, 3072)
        norm(f"qformer.layer.{layer}.output.LayerNorm")
    norm("proj.0")
    linear("proj.1", 32, 32)
    assert len(tensors) == 165
    save_file(tensors, directory / "model.safetensors")
    return directory
