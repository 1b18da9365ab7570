"""Audio encoders: their common protocol, building and loading."""

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from huggingface_hub import hf_hub_download
from numpy.typing import NDArray
from torch import nn
from transformers import AutoModel, WhisperForConditionalGeneration

from desta.errors import CheckpointError, ConfigError
from desta.model.config import ModelConfig, Window
from desta.model.encoder.wav2vec import WAVE_FAMILIES, WaveEncoder
from desta.model.encoder.whisper import Encoded, WhisperEncoder
from desta.model.hub.load import Part
from desta.model.hub.weights import read_headers
from desta.model.hub.zoo import UNLOADABLE

log = logging.getLogger(__name__)

PREPROCESSOR = "preprocessor_config.json"


class Encoder(Protocol):
    """Frozen module that encodes windows of audio into frames, independently of the batch."""

    dim: int
    """Width of its frames."""
    num_heads: int
    """Number of attention heads, which the Q-Former copies."""
    target_layers: tuple[int, ...]
    """0-based layers that are returned."""
    transcribes: bool
    """Whether `last_BTD` is the input of Whisper's decoder."""

    def extractor(self, window: Window) -> Callable[[Sequence[NDArray[np.float32]]], Any]:
        """Return the feature extractor: audio (float32, 16 kHz) -> input of the encoder."""

    def __call__(self, inputs: Any) -> Encoded:
        """Encode a batch of windows."""

    def parameters(self) -> Iterator[nn.Parameter]:
        """Return the weights."""

    def modules(self) -> Iterator[nn.Module]:
        """Return the module and all its submodules."""


def build_encoder(config: ModelConfig, encoder_config: Any) -> WhisperEncoder | WaveEncoder:
    """Build an encoder with uninitialised weights from its configuration, on the current device.

    Raises:
        ConfigError: its kind is unknown, or it does not support 30-second windows.
    """
    kind = encoder_config.model_type
    if kind == "whisper":
        layers = config.connector.layers_of(encoder_config.encoder_layers)
        return WhisperEncoder(encoder_config, layers)
    if kind not in WAVE_FAMILIES:
        raise ConfigError(
            f'encoder "{config.encoder}" is a {kind} model, which cannot be read',
            fix=f"name a Whisper model, or one of the kinds {', '.join(WAVE_FAMILIES)}",
        )
    if config.window == "30s":
        raise ConfigError(
            f'encoder "{config.encoder}" reads clips at their true length, not in 30 s windows',
            fix="set model.window: tight",
        )
    layers = config.connector.layers_of(encoder_config.num_hidden_layers)
    return WaveEncoder(AutoModel.from_config(encoder_config), layers, normalise=True)


def load_encoder(
    config: ModelConfig, part: Part, *, dtype: torch.dtype
) -> WhisperEncoder | WaveEncoder:
    """Load the encoder of a model.

    Raises:
        CheckpointError: it cannot be loaded, or its files contradict each other.
        ConfigError: its kind is unknown.
    """
    if part.config.model_type == "whisper":
        check_mel_bins(part, part.config.num_mel_bins)
    with torch.device("meta"):
        encoder = build_encoder(config, part.config)
    if isinstance(encoder, WhisperEncoder):
        whisper = part.load(WhisperForConditionalGeneration, dtype=dtype)
        encoder.load_state_dict(whisper.model.encoder.state_dict(), assign=True)
        return encoder.requires_grad_(False)
    model = part.load(AutoModel, dtype=dtype)
    normalise = _preprocessor(part).get("do_normalize")
    if normalise is None:
        log.warning(
            '"%s" has no %s: clips are brought to mean 0 and variance 1', part.place, PREPROCESSOR
        )
    return WaveEncoder(model, encoder.target_layers, normalise=normalise is not False)


def check_mel_bins(part: Part, num_mel_bins: int) -> None:
    """Raise CheckpointError if the files of a Whisper directory disagree about mel bins."""
    found = [
        ("the weights read", header.shape[1])
        for name, header in read_headers(Path(part.place)).items()
        if name.endswith("encoder.conv1.weight")
    ]
    found.append((f"{PREPROCESSOR} says", _preprocessor(part).get("feature_size", num_mel_bins)))
    for who, number in found:
        if number != num_mel_bins:
            raise CheckpointError(
                f'config.json of "{part.place}" says {num_mel_bins} mel bins, but {who} {number}',
                fix="take all files of that model from the same place",
            )


def _preprocessor(part: Part) -> dict[str, Any]:
    path = Path(part.place) / PREPROCESSOR
    if not Path(part.place).exists():  # an id: loading the model alone does not fetch this file
        try:
            path = Path(hf_hub_download(part.place, PREPROCESSOR))
        except UNLOADABLE:
            return {}
    if not path.is_file():
        return {}
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{path} is not JSON", fix="copy that model again") from error
