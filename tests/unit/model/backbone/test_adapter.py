"""A directory that holds an adapter by peft, and not the model it is for."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from desta.errors import CheckpointError
from desta.generators.load import load_generator
from desta.model.backbone.load import load_backbone
from desta.model.checkpoint import load
from desta.model.config import ModelConfig
from desta.model.hub.architectures import architecture
from desta.model.hub.load import Part
from support.commands import desta
from support.construction import recipe
from support.recordings import record


@pytest.fixture
def adapter(tmp_path: Path, speak: Callable[[str], Any]) -> Path:
    """An adapter with its tokenizer, as peft and trl save them."""
    path = tmp_path / "adapter"
    speak("plain").save_pretrained(path)
    settings = {"peft_type": "LORA", "base_model_name_or_path": "org/base", "r": 8}
    (path / "adapter_config.json").write_text(json.dumps(settings))
    save_file(
        {"base_model.model.lora_A.weight": torch.zeros(1)}, path / "adapter_model.safetensors"
    )
    return path


@pytest.mark.parametrize(
    "give",
    [
        lambda path: load(path),
        lambda path: architecture(str(path)),
        lambda path: load_backbone(
            Part(str(path)), ModelConfig(backbone=str(path), encoder="none")
        ),
        lambda path: load_generator(replace(recipe(path.parent), backbone=str(path))),
    ],
)
def test_an_adapter_alone_is_said_with_what_it_is_for(
    adapter: Path, give: Callable[[Path], Any]
) -> None:
    with pytest.raises(CheckpointError) as caught:
        give(adapter)
    assert caught.value.message == (
        f"{adapter} holds an adapter (LoRA) of org/base, and not the model itself"
    )
    assert "merge_and_unload" in caught.value.fix


def test_a_configuration_beside_an_adapter_makes_no_model_of_it(
    adapter: Path, build: Callable[[str], Path]
) -> None:
    config = (build("llama") / "config.json").read_bytes()
    (adapter / "config.json").write_bytes(config)
    with pytest.raises(CheckpointError, match="holds an adapter"):
        load_backbone(Part(str(adapter)), ModelConfig(backbone=str(adapter), encoder="none"))


def test_settings_of_an_adapter_that_are_damaged_are_no_traceback(adapter: Path) -> None:
    (adapter / "adapter_config.json").write_text("[]")
    with pytest.raises(CheckpointError, match="of a model, and not"):
        load(adapter)


def test_a_command_says_so_in_one_sentence(adapter: Path, tmp_path: Path) -> None:
    record(tmp_path / "a.wav")
    result = desta("ask", "--model", adapter, tmp_path / "a.wav", "What is it?")
    assert isinstance(result.exception, CheckpointError)
    assert "holds an adapter" in result.exception.message
