"""Model directories: what does not fit exactly is refused by name."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from desta.errors import CheckpointError
from desta.model import checkpoint
from desta.model.checkpoint import Loaded


@pytest.fixture
def copy(published_tiny: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(published_tiny, tmp_path / "model"))


def change(directory: Path, **fields: object) -> None:
    path = directory / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def test_what_is_saved_loads_to_the_same_tensors_and_fields(tiny: Loaded, copy: Path) -> None:
    published = json.loads((copy / "config.json").read_text())
    checkpoint.save(tiny.model, copy)

    again = checkpoint.load(copy, dtype="float32")
    for name, tensor in tiny.model.trained_state().items():
        assert torch.equal(tensor, again.model.trained_state()[name])
    written = json.loads((copy / "config.json").read_text())
    assert {k: written[k] for k in published} == published
    assert again.model.config.window == "30s"


def test_unknown_fields_and_missing_target_layers_are_tolerated(copy: Path) -> None:
    change(copy, train_id=30678, llm_config={"vocab_size": 1}, info="x", commit=None)
    assert checkpoint.load(copy).model.encoder.target_layers == (0, 1, 2, 3)


def test_a_checkpoint_of_another_size_is_refused_by_ten_names_at_most(copy: Path) -> None:
    change(copy, prompt_size=8)
    with pytest.raises(CheckpointError, match=r"layer_prompts.0 has shape \[1, 16, 32\], not"):
        checkpoint.load(copy)
    change(copy, prompt_size=16, qformer_num_hidden_layers=3)
    with pytest.raises(CheckpointError, match="is missing.* and 16 more") as caught:
        checkpoint.load(copy)
    assert caught.value.message.count(" is missing") == 10


def test_a_missing_and_an_unknown_tensor_are_named(copy: Path) -> None:
    tensors = load_file(copy / "model.safetensors")
    tensors["stranger"] = tensors.pop("perception.connector.proj.1.bias")
    save_file(tensors, copy / "model.safetensors")
    with pytest.raises(CheckpointError) as caught:
        checkpoint.load(copy)
    assert "perception.connector.proj.1.bias is missing" in caught.value.message
    assert "stranger is unknown" in caught.value.message


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"llm_model_id": None}, "lacks llm_model_id"),
        ({"connector_mode": "mlp"}, 'connector_mode "mlp" is unknown'),
        ({"desta_format": 99}, "newer than"),
        ({"llm_model_id": "./nowhere"}, "nowhere"),
        ({"prompt_size": 0}, "too small"),
        ({"placeholder_token": "<|no such|>"}, None),
    ],
)
def test_broken_configurations_are_one_clear_error(
    copy: Path, fields: dict[str, object], message: str | None
) -> None:
    change(copy, **fields)
    if message is None:  # noticed where tokens are laid out
        from desta.data.layout import Layout
        from desta.errors import ConfigError

        loaded = checkpoint.load(copy)
        with pytest.raises(ConfigError, match="not in the vocabulary"):
            Layout(loaded.tokenizer, **loaded.layout_options)
        return
    with pytest.raises(Exception, match=message):
        checkpoint.load(copy)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_missing_and_broken_files_are_named(copy: Path, name: str) -> None:
    (copy / name).write_text("{")
    with pytest.raises(CheckpointError, match=name):
        checkpoint.load(copy)
    (copy / name).unlink()
    with pytest.raises(CheckpointError, match=name):
        checkpoint.load(copy)
    with pytest.raises(CheckpointError, match="neither a directory nor"):
        checkpoint.load(copy / "nowhere")
