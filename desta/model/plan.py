"""Size of a model, computed without loading weights."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from desta.model.config import ModelConfig
from desta.model.desta import build_model
from desta.model.hub.architectures import architecture

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2, "int8": 1}
"""Bytes per parameter by number format."""


@dataclass(frozen=True)
class ModelPlan:
    """Sizes of a model."""

    trained_parameters: int
    trained_tensors: int
    frozen_parameters: dict[str, int]
    """By part: encoder, backbone."""
    memory_bytes: dict[str, int]
    """Weights of the whole model, by number format."""
    training_state_bytes: int
    """Trained weights, their gradients and the two moments of AdamW, in float32."""
    tokens_per_clip: int
    """Audio tokens of a clip of up to 30 s; the transcription follows them."""
    target_layers: tuple[int, ...]
    trained_shapes: dict[str, tuple[int, ...]]
    """Every trained tensor under its published name."""


def plan(config: ModelConfig) -> ModelPlan:
    """Return the sizes of a model, which is built on the meta device without memory."""
    with torch.device("meta"):
        model = build_model(
            config,
            encoder_config=architecture(config.encoder),
            backbone_config=architecture(config.backbone),
        )
    trained = model.trained_state()
    frozen = {
        name: _count(p for p in part.parameters() if not p.requires_grad)
        for name, part in (("encoder", model.encoder), ("backbone", model.llm_model))
    }
    num_trained = _count(trained.values())
    total = num_trained + sum(frozen.values())
    return ModelPlan(
        trained_parameters=num_trained,
        trained_tensors=len(trained),
        frozen_parameters=frozen,
        memory_bytes={name: total * size for name, size in BYTES.items()},
        training_state_bytes=4 * 4 * num_trained,
        tokens_per_clip=config.connector.num_query_tokens,
        target_layers=model.encoder.target_layers,
        trained_shapes={name: tuple(p.shape) for name, p in trained.items()},
    )


def _count(parameters: Iterable[Tensor]) -> int:
    return sum(p.numel() for p in parameters)
