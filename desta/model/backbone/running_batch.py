"""Continuous batching: sequences join and leave a running batch between tokens.

Rows are padded in front, so that all end together: a row that joins is padded to the width of the
batch, and padding that no row needs any more is dropped. Positions are those of each row, so its
tokens do not depend on the rest. Backbones that cannot batch rows of different lengths compute
them one at a time, as in `decoding`.

Shape suffixes: B sequences   S positions   V vocabulary
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from desta.model.backbone.decoding import (
    DecodingState,
    SeparateCaches,
    forward,
    needs_separate,
    new_cache,
    write,
)
from desta.model.backbone.writer import Writer

_JOINABLE = (DynamicLayer, DynamicSlidingWindowLayer)


class RunningBatch:
    """Sequences that are decoded together; not thread-safe.

    Call `add` and `remove` at any time between tokens, and for each token `write`, `remove` for the
    rows that are finished, then `advance`.
    """

    def __init__(self, model: Any) -> None:
        """Create an empty batch of a backbone."""
        self._model = model
        self._is_separate = needs_separate(model) or any(
            type(layer) not in _JOINABLE for layer in new_cache(model).layers
        )
        self._cache: DynamicCache | SeparateCaches | None = None
        self._logits_BV = torch.empty(0)
        self._tokens_B = torch.empty(0)
        self._lengths: list[int] = []
        self.writers: list[Writer] = []
        """Writers of the rows, in order."""

    @property
    def width(self) -> int:
        """Positions of the longest row."""
        return max(self._lengths, default=0)

    @torch.no_grad()
    def add(self, state: DecodingState, writers: Sequence[Writer]) -> None:
        """Add a sequence as one row for each writer.

        Args:
            state: result of `prefill` for this one sequence; consumed.
            writers: writers of its answers.
        """
        cache: Any = SeparateCaches([state.cache]) if self._is_separate else state.cache
        length = int(state.positions_B[0]) + 1
        copies = torch.zeros(len(writers), dtype=torch.long, device=state.logits_BV.device)
        cache.reorder_cache(copies)
        logits_BV = state.logits_BV.expand(len(writers), -1)
        if self._cache is None:
            self._cache, self._logits_BV = cache, logits_BV
        else:
            _join(self._cache, cache)
            self._logits_BV = torch.cat([self._logits_BV, logits_BV])
        self._lengths += [length] * len(writers)
        self.writers += writers

    def damaged_rows(self) -> list[int]:
        """Return the rows for which the model computes NaN; remove them before `write`."""
        if not self.writers:
            return []
        good = self._logits_BV.amax(dim=-1).isfinite().tolist()
        return [row for row, is_good in enumerate(good) if not is_good]

    def write(self) -> list[str]:
        """Choose the next token of each row, and return the text that each writer added."""
        if not self.writers:
            return []
        self._tokens_B, pieces = write(self._logits_BV, self.writers)
        return [piece or "" for piece in pieces]

    def cache_of(self, row: int) -> DynamicCache:
        """Return a copy of the keys and values of one row, without padding."""
        if isinstance(self._cache, SeparateCaches):
            return self._cache.caches[row]
        assert self._cache is not None
        copy = new_cache(self._model)
        for index, layer in enumerate(self._cache.layers):
            if layer.is_initialized:
                keys, values = (x[row, None, :, -self._lengths[row] :] for x in _tensors(layer))
                copy.update(keys.clone(), values.clone(), index)
        for layer in copy.layers:
            if isinstance(layer, DynamicSlidingWindowLayer):
                layer.cumulative_length = self._lengths[row]
        return copy

    def remove(self, rows: Sequence[int]) -> None:
        """Remove rows, and padding that only they needed."""
        if not rows:
            return
        before, num_rows = self.width, len(self.writers)
        keep = sorted(set(range(num_rows)) - set(rows))
        self._lengths = [self._lengths[row] for row in keep]
        self.writers = [self.writers[row] for row in keep]
        if not keep:
            self._cache = None
            return
        assert self._cache is not None
        index = torch.tensor(keep, device=self._logits_BV.device)
        self._cache.reorder_cache(index)
        if isinstance(self._cache, DynamicCache):
            _drop_first(self._cache, before - self.width)
        self._logits_BV = self._logits_BV[index]
        if len(self._tokens_B) == num_rows:
            self._tokens_B = self._tokens_B[index]

    @torch.no_grad()
    def advance(self) -> None:
        """Run the backbone on the tokens of `write`, up to the logits of the next ones."""
        if not self.writers:
            return
        assert len(self._tokens_B) == len(self.writers), "rows were added after `write`"
        device, width = self._logits_BV.device, self.width + 1
        lengths_B = torch.tensor(self._lengths, device=device)
        mask_BS = None
        if len(set(self._lengths)) > 1:
            places_S = torch.arange(width, device=device)
            mask_BS = (places_S >= width - 1 - lengths_B[:, None]).long()
        self._logits_BV = forward(
            self._model,
            self._cache,
            input_ids=self._tokens_B[:, None],
            attention_mask=None if self._is_separate else mask_BS,
            position_ids=lengths_B[:, None],
        )
        self._lengths = [length + 1 for length in self._lengths]


def _tensors(layer: DynamicLayer) -> tuple[Tensor, Tensor]:
    return layer.keys, layer.values


def _join(cache: Any, other: Any) -> None:
    """Append the rows of another cache in place; both are padded in front to one width."""
    if isinstance(cache, SeparateCaches):
        cache.caches += other.caches
        return
    for mine, its in zip(cache.layers, other.layers, strict=True):
        if not mine.is_initialized:
            continue
        width = max(mine.keys.shape[-2], its.keys.shape[-2])
        mine.keys = torch.cat([_padded(mine.keys, width), _padded(its.keys, width)])
        mine.values = torch.cat([_padded(mine.values, width), _padded(its.values, width)])
        if isinstance(mine, DynamicSlidingWindowLayer):
            mine.cumulative_length = max(mine.cumulative_length, its.cumulative_length)


def _padded(x_BHSD: Tensor, width: int) -> Tensor:
    return functional.pad(x_BHSD, (0, 0, width - x_BHSD.shape[-2], 0))


def _drop_first(cache: DynamicCache, number: int) -> None:
    """Drop the first positions of a cache in place."""
    for layer in cache.layers:
        if not number or not layer.is_initialized:
            continue
        kept = layer.get_seq_length() - number
        layer.keys = layer.keys[:, :, -kept:]
        layer.values = layer.values[:, :, -kept:]
        if isinstance(layer, DynamicSlidingWindowLayer):
            layer.cumulative_length = kept
