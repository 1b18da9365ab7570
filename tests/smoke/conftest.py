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
