"""Floating-point operations that training on one pair takes, counted from the shapes of the model.

Only what nobody can leave out is counted: frames of the true length, no padding, the head on
labelled positions. A product of (a, b) and (b, c) is 2abc operations; what is not a matrix
product is left out.
"""

from typing import Any

from torch import nn

from desta.model.connector import QFormerConnector
from desta.model.desta import DestaModel
from desta.model.encoder import WhisperEncoder


def training_flops(
    model: DestaModel, *, num_frames: int, num_tokens: float, num_labels: float
) -> dict[str, float]:
    """Return the operations of each part, forward and backward together.

    Args:
        model: gives the shapes.
        num_frames: encoder frames of the clip, 50 a second.
        num_tokens: positions of the sequence.
        num_labels: those that carry loss.
    """
    head = model.llm_model.get_output_embeddings().weight.numel()
    return {
        "encoder, forward": _encoder(model.encoder, num_frames),
        "connector, forward and backward": _connector(model.connector, num_frames),
        "backbone, forward and gradient of activations": _backbone(model.llm_model, num_tokens),
        "head, forward and gradient of activations": 2 * 2 * head * num_labels,
    }


def _encoder(encoder: WhisperEncoder, num_frames: int) -> float:
    mel_frames = 2 * num_frames
    convolutions = 2 * mel_frames * encoder.conv1.weight.numel()
    convolutions += 2 * num_frames * encoder.conv2.weight.numel()
    attention = len(encoder.layers) * 4 * num_frames**2 * encoder.dim
    return convolutions + attention + 2 * num_frames * linear_weights(encoder.layers)


def _connector(connector: QFormerConnector, num_frames: int) -> float:
    """Count the Q-Former once for every target layer, each with its own queries."""
    num_queries, num_layers = connector.layer_weights.shape
    dim = connector.layer_prompts[0].shape[-1]
    total = 3.0 * 2 * num_queries * linear_weights(connector.proj)
    for layer in connector.qformer.layer:
        reader = layer.crossattention.self
        frame_weights = reader.key.weight.numel() + reader.value.weight.numel()
        query_weights = linear_weights(layer) - frame_weights
        attention = 4 * num_queries * (num_queries + num_frames) * dim
        # Forward, gradient of weights, gradient of activations; the frames need none of the last.
        total += num_layers * 3 * (2 * num_queries * query_weights + attention)
        total += num_layers * 2 * (2 * num_frames * frame_weights)
    return total


def _backbone(backbone: Any, num_tokens: float) -> float:
    """Count forward pass and gradient of activations: the weights are frozen."""
    config = backbone.config.get_text_config()
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    # A position attends to itself and those before it: half of all pairs.
    attention = 2 * num_tokens**2 * config.num_attention_heads * head_dim
    weights = linear_weights(backbone) - backbone.get_output_embeddings().weight.numel()
    return 3 * config.num_hidden_layers * attention + 2 * 2 * num_tokens * weights


def linear_weights(module: nn.Module) -> int:
    """Count the weights of all matrices that multiply every position."""
    return sum(m.weight.numel() for m in module.modules() if isinstance(m, nn.Linear))
