"""Least number of floating-point operations, counted from the shapes of the model.

Frames of the true length, no padding, LM head only where logits are needed. A product of (a, b) and
(b, c) is 2abc operations; only matrix products count.
"""

from dataclasses import dataclass

from torch import nn

from desta.model.connector.connector import QFormerConnector
from desta.model.desta import DestaModel
from desta.model.encoder.whisper import WhisperEncoder


def training_flops(
    model: DestaModel,
    *,
    num_frames: int,
    num_tokens: float,
    num_labels: float,
    pairs_per_clip: float = 1.0,
) -> dict[str, float]:
    """Return the operations of a training pair by part, forward and backward together.

    Args:
        model: the model, for its shapes.
        num_frames: encoder frames of the clip, 50 a second.
        num_tokens: positions of the sequence; of one that several pairs share, those per pair.
        num_labels: labelled positions.
        pairs_per_clip: pairs that share a clip. What their tokens attend to beyond the positions
            of a pair is not counted.
    """
    connector, backbone = _connector(model.connector, num_frames), _backbone(model, num_tokens)
    # Forward, gradient of weights, gradient of activations: frames need no gradient of activations,
    # frozen weights no gradient of weights.
    return {
        "encoder, forward": _encoder(model.encoder, num_frames) / pairs_per_clip,
        "connector, forward and backward": (
            (3 * connector.of_queries + 2 * connector.of_frames) / pairs_per_clip
        ),
        "backbone, forward and gradient of activations": (
            3 * backbone.attention + 2 * backbone.weights
        ),
        "head, forward and gradient of activations": 2 * _head(model) * num_labels,
    }


def first_token_flops(model: DestaModel, *, num_frames: int, num_tokens: int) -> float:
    """Return the operations from a new clip, with its text, to the first token of the answer.

    Args:
        model: the model, for its shapes.
        num_frames: encoder frames of the clip, 50 a second.
        num_tokens: positions that are not in the backbone's cache.
    """
    connector, backbone = _connector(model.connector, num_frames), _backbone(model, num_tokens)
    return (
        _encoder(model.encoder, num_frames)
        + (connector.of_queries + connector.of_frames)
        + (backbone.attention + backbone.weights)
        + _head(model)
    )


def _encoder(encoder: WhisperEncoder, num_frames: int) -> float:
    mel_frames = 2 * num_frames
    convolutions = 2 * mel_frames * encoder.conv1.weight.numel()
    convolutions += 2 * num_frames * encoder.conv2.weight.numel()
    attention = len(encoder.layers) * 4 * num_frames**2 * encoder.dim
    return convolutions + attention + 2 * num_frames * linear_weights(encoder.layers)


@dataclass(frozen=True, kw_only=True)
class _Connector:
    """Operations of a forward pass of the connector."""

    of_queries: float
    of_frames: float
    """Those for keys and values of the encoder's frames."""


def _connector(connector: QFormerConnector, num_frames: int) -> _Connector:
    """Return the operations of the Q-Former, which runs once for every target layer."""
    num_queries, num_layers = connector.layer_weights.shape
    dim = connector.layer_prompts[0].shape[-1]
    of_queries, of_frames = 2.0 * num_queries * linear_weights(connector.proj), 0.0
    for layer in connector.qformer.layer:
        reader = layer.crossattention.self
        frame_weights = reader.key.weight.numel() + reader.value.weight.numel()
        query_weights = linear_weights(layer) - frame_weights
        attention = 4 * num_queries * (num_queries + num_frames) * dim
        of_queries += num_layers * (2 * num_queries * query_weights + attention)
        of_frames += num_layers * 2 * num_frames * frame_weights
    return _Connector(of_queries=of_queries, of_frames=of_frames)


@dataclass(frozen=True, kw_only=True)
class _Backbone:
    """Operations of a forward pass of the backbone without the LM head."""

    attention: float
    weights: float


def _backbone(model: DestaModel, num_tokens: float) -> _Backbone:
    config = model.llm_model.config.get_text_config()
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    # A position attends to itself and those before it: half of all pairs.
    attention = 2 * num_tokens**2 * config.num_attention_heads * head_dim
    head = model.llm_model.get_output_embeddings().weight.numel()
    return _Backbone(
        attention=config.num_hidden_layers * attention,
        weights=2 * num_tokens * (linear_weights(model.llm_model) - head),
    )


def _head(model: DestaModel) -> float:
    """Return the operations of the LM head for one position."""
    return 2.0 * model.llm_model.get_output_embeddings().weight.numel()


def linear_weights(module: nn.Module) -> int:
    """Return the number of weights of all matrices that multiply every position."""
    return sum(m.weight.numel() for m in module.modules() if isinstance(m, nn.Linear))
