"""Decoder layers of a backbone, for gradient checkpointing and sharding."""

from functools import partial

from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer

from desta.errors import ConfigError


def decoder_layers(decoder: nn.Module) -> list[nn.Module]:
    """Return the repeated layers of a decoder, which transformers marks by their class.

    Raises:
        ConfigError: it has none.
    """
    layers = [m for m in decoder.modules() if isinstance(m, GradientCheckpointingLayer)]
    if not layers:
        raise ConfigError(
            f"{type(decoder).__name__} has no layers that can be recomputed or sharded",
            fix="set gradient_checkpointing: false and strategy: ddp",
        )
    return layers


def recompute(decoder: nn.Module) -> None:
    """Turn on gradient checkpointing: store layer inputs only, recompute in the backward pass.

    That of transformers requires training mode, which turns on dropout, and no cache; ours runs in
    evaluation mode and with a cached prefix.
    """
    for layer in decoder_layers(decoder):
        layer.forward = partial(checkpoint, layer.forward, use_reentrant=False)
