"""Prefix cache: keys and values of earlier requests, so that a turn costs only its new tokens."""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from desta.model.backbone.decoding import has_adaptive_rope, new_cache

Symbol = int | str
"""Identity of a position: a token id, or clip and index of an audio token."""

_MIN_SHARED = 8  # below this, copying costs more than computing


class PrefixCache:
    """Keys and values of sequences, least recently used first."""

    def __init__(self, model: Any, *, max_bytes: int) -> None:
        """Create a cache of at most `max_bytes` for a backbone; 0 stores nothing."""
        self._model = model
        self._adaptive = has_adaptive_rope(model.config.get_text_config(decoder=True))
        self._max_bytes = max_bytes
        self._entries: OrderedDict[tuple[Symbol, ...], DynamicCache] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, symbols: Sequence[Symbol]) -> tuple[int, DynamicCache | None]:
        """Return the length of the longest cached prefix of a sequence, and a copy of its cache.

        It never covers the last position, whose logits must be computed.
        """
        with self._lock:
            best, found = 0, None
            for key in self._entries:
                shared = _num_alike(key, symbols)
                if shared > best:
                    best, found = shared, key
            best = min(best, len(symbols) - 1)
            if found is None or best < _MIN_SHARED:
                return 0, None
            self._entries.move_to_end(found)
            return best, _copy(self._model, self._entries[found], best)

    def clear(self) -> None:
        """Remove all entries."""
        with self._lock:
            self._entries.clear()

    def put(self, symbols: Sequence[Symbol], cache: DynamicCache) -> None:
        """Store the cache of a sequence, which must not be used afterwards."""
        if not self._max_bytes or self._adaptive or not _is_whole(cache):
            return
        key = tuple(symbols[: cache.get_seq_length()])
        with self._lock:
            for other in [k for k in self._entries if key[: len(k)] == k]:
                del self._entries[other]  # a prefix of the new one
            self._entries[key] = cache
            while self._entries and sum(map(_num_bytes, self._entries.values())) > self._max_bytes:
                self._entries.popitem(last=False)


def _num_alike(one: Sequence[Symbol], other: Sequence[Symbol]) -> int:
    pairs = zip(one, other, strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def _is_whole(cache: DynamicCache) -> bool:
    """Return whether every layer holds all positions: sliding windows drop the first ones."""
    return all(
        type(layer) is DynamicLayer
        or (
            type(layer) is DynamicSlidingWindowLayer
            and layer.cumulative_length < layer.sliding_window
        )
        for layer in cache.layers
    )


def _copy(model: Any, cache: DynamicCache, length: int) -> DynamicCache:
    """Return a copy of the first positions of a cache."""
    copy = new_cache(model)
    for index, layer in enumerate(cache.layers):
        copy.update(layer.keys[:, :, :length], layer.values[:, :, :length], index)
    return copy


def _num_bytes(cache: DynamicCache) -> int:
    return sum(2 * layer.keys.numel() * layer.keys.element_size() for layer in cache.layers)
