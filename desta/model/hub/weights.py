"""Weights: files, headers, fingerprints, and models filled with them."""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor
from transformers import PreTrainedModel

from desta.errors import CheckpointError

_PROBES = 64  # places of a file that are sampled, spread evenly
_PROBE_BYTES = 4096


@dataclass(frozen=True)
class Header:
    """A tensor's entry in the header of a safetensors file."""

    dtype: str
    """safetensors' name: F32, BF16, ..."""
    shape: tuple[int, ...]


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors to a safetensors file.

    Raises:
        OSError: the file cannot be written; safetensors hides the errno in its message.
    """
    try:
        path.touch()
        mode = path.stat().st_mode
        save_file(dict(tensors), path, metadata={"format": "pt"})
        path.chmod(mode)  # safetensors lets nobody else read what it writes
    except SafetensorError as error:
        number = re.search(r"\(os error (\d+)\)", str(error))
        if number is None:
            raise
        code = int(number[1])
        raise OSError(code, os.strerror(code), str(path)) from error


def read_headers(directory: Path) -> dict[str, Header]:
    """Return the tensors of all safetensors files of a directory.

    Raises:
        CheckpointError: a file is not in that format.
    """
    found: dict[str, Header] = {}
    for path in sorted(directory.glob("*.safetensors")):
        for name, entry in _header(path).items():
            if name != "__metadata__":
                found[name] = Header(entry["dtype"], tuple(entry["shape"]))
    return found


def weights_fingerprint(place: Path) -> str | None:
    """Return a fingerprint of a model's weight files; None if there are none.

    It covers names, sizes and headers of the files and a sample of their bytes, so it takes
    milliseconds for gigabytes and distinguishes fine-tunes of the same shapes. It is no protection
    against deliberate tampering.
    """
    digest = hashlib.sha256()
    paths = [place] if place.is_file() else sorted(place.glob("*.safetensors"))
    for path in paths:
        size = path.stat().st_size
        digest.update(f"{path.name} {size}\n".encode())
        if path.suffix == ".safetensors":
            digest.update(json.dumps(_header(path), sort_keys=True).encode())
        with path.open("rb") as file:
            for probe in range(_PROBES):
                file.seek(probe * size // _PROBES)
                digest.update(file.read(_PROBE_BYTES))
    return digest.hexdigest() if paths else None


def _header(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        try:
            return json.loads(file.read(min(length, path.stat().st_size)))
        except ValueError as error:
            raise CheckpointError(
                f"{path} is not a safetensors file", fix="copy the model again"
            ) from error


def fill(kind: type[PreTrainedModel], config: Any, state: Mapping[str, Tensor]) -> Any:
    """Build a model around the tensors of `state`, which must be all of its tensors.

    Raises:
        CheckpointError: a tensor is missing, unknown or of a wrong shape.
    """
    with torch.device("meta"):
        model = kind(config)
    expected = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    given = {name: tuple(value.shape) for name, value in state.items()}
    if wrong := sorted(dict(expected.items() ^ given.items())):
        raise CheckpointError(
            f"{len(wrong)} tensors are missing or of another shape: {', '.join(wrong[:10])}",
            fix="convert a complete model",
        )
    model.load_state_dict(state, assign=True)
    model.tie_weights()
    return model.train(False)
