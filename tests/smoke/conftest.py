"""The tiny model behind an engine, and what its encoder is given."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from desta.inference.engine import Engine
from desta.model import checkpoint
from desta.model.checkpoint import Loaded


@pytest.fixture
def engine(tiny: Loaded) -> Engine:
    return Engine(tiny)


@pytest.fixture
def encoded(tiny: Loaded, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Number of windows of each pass through the encoder."""
    sizes: list[int] = []
    encode = tiny.model.encode

    def count(mel: Any) -> Any:
        result = encode(mel)
        sizes.append(result.last_BTD.shape[0])
        return result

    monkeypatch.setattr(tiny.model, "encode", count)
    return sizes


@pytest.fixture(scope="module")
def tight(published_tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    """The same weights behind windows of true length."""
    directory = tmp_path_factory.mktemp("tight") / "model"
    shutil.copytree(published_tiny, directory)
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps(config | {"encoder_window": "tight"}))
    return checkpoint.load(directory, dtype="float32")


@pytest.fixture
def tiny_whisper(published_tiny: Path, tmp_path: Path) -> Path:
    """The tiny Whisper, told what the stored one was never told; it ends at once."""
    directory = tmp_path / "whisper"
    shutil.copytree(published_tiny / "openai" / "whisper-tiny", directory)
    path = directory / "generation_config.json"
    fields = json.loads(path.read_text())
    del fields["_from_model_config"]
    told = {
        "is_multilingual": True,
        "no_timestamps_token_id": 3,
        "lang_to_id": {"<|en|>": 4},
        "task_to_id": {"transcribe": 5},
        "suppress_tokens": [number for number in range(64) if number != fields["eos_token_id"]],
    }
    path.write_text(json.dumps(fields | told))
    return directory
