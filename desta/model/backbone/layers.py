"""The layers of a backbone's decoder: what is recomputed, and what is cut in pieces."""

from functools import partial

from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer

from desta.errors import ConfigError


def decoder_layers(decoder: nn.Module) -> list[nn.Module]:
    """Return the repeated layers, as transformers marks them.

    Raises:
        ConfigError: it marks none.
    """
    layers = [m for m in decoder.modules() if isinstance(m, GradientCheckpointingLayer)]
    if not layers:
        raise ConfigError(
            f"{type(decoder).__name__} has no layers that could be recomputed or cut in pieces",
            fix="set gradient_checkpointing: false and strategy: ddp",
        )
    return layers


def recompute(decoder: nn.Module) -> None:
    """Keep the inputs of layers only, and compute their insides again in the backward pass.

    transformers does so for layers in training mode, where some of them drop out, and without a
    cache; ours stay in evaluation mode and may read a prefix from one.
    """
    for layer in decoder_layers(decoder):
        layer.forward = partial(checkpoint, layer.forward, use_reentrant=False)
