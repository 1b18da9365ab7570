"""Common prefix of the rows of a batch, computed once and without gradient.

No gradient flows into tokens before the first audio token, so with a frozen backbone their keys and
values are constants.

Shape suffixes: P positions of the prefix   S positions   B sequences   H heads   D width of a head
    E backbone width
"""

import math
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer, DynamicSlidingWindowLayer

from desta.model.backbone.decoding import has_adaptive_rope


class _SharedLayer(DynamicLayer):  # type: ignore[misc]
    """Keys and values of the prefix in one layer, prepended to those of every row.

    An update stores nothing, so that the layer can be recomputed in the backward pass.
    """

    def __init__(self, keys_1HPD: Tensor, values_1HPD: Tensor) -> None:
        super().__init__()
        self.lazy_initialization(keys_1HPD, values_1HPD)
        self.keys, self.values = keys_1HPD, values_1HPD

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        num_rows = len(key_states)
        return (
            torch.cat([self.keys.expand(num_rows, -1, -1, -1), key_states], dim=-2),
            torch.cat([self.values.expand(num_rows, -1, -1, -1), value_states], dim=-2),
        )


def read_prefix(decoder: Any, embeddings_1PE: Tensor) -> Cache:
    """Return the keys and values of a prefix, to be shared by any number of rows."""
    cache = DynamicCache()  # without a configuration: whole, also in sliding layers
    with torch.no_grad():
        decoder(inputs_embeds=embeddings_1PE, past_key_values=cache, use_cache=True)
    return Cache(layers=[_SharedLayer(layer.keys, layer.values) for layer in cache.layers])


def longest_shareable(text_config: Any) -> float:
    """Return the longest rows that can share a prefix; 0 if the backbone does not support it.

    A sliding window counts places in the padded row, not positions, so it must cover the row.
    """
    layers = DynamicCache(config=text_config).layers
    if any(type(layer) not in (DynamicLayer, DynamicSlidingWindowLayer) for layer in layers):
        return 0  # recurrent layers, or layers that read the keys of others
    if has_adaptive_rope(text_config):
        return 0
    return min((getattr(layer, "sliding_window", math.inf) for layer in layers), default=0)
