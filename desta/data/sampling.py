"""Samplers of batches: length buckets under a token budget, resumable at any batch."""

import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

BatchItem = TypeVar("BatchItem", int, list[int])
DrawEpoch = Callable[[np.random.Generator], NDArray[np.int64]]
"""Returns the rows of an epoch in random order, as many as the data have."""


@dataclass(frozen=True)
class Position:
    """Position in the endless stream of batches."""

    epoch: int = 0
    chunk: int = 0
    batch: int = 0


class Sampler(ABC, Generic[BatchItem]):
    """Sampler that shuffles items, sorts them by length in chunks, and fills batches to a budget.

    Every epoch is a permutation of all rows, or as many rows of another draw, which depends on seed
    and epoch alone; a chunk is a section of it. To resume at a position, only the lengths of one
    chunk are computed.
    """

    def __init__(
        self,
        num_rows: int,
        length: Callable[[BatchItem], int],
        *,
        token_budget: int,
        chunk_rows: int = 1024,
        batch_rows: int | None = None,
        packing: bool = False,
        seed: int = 0,
        draw_epoch: DrawEpoch | None = None,
    ) -> None:
        self.num_rows = num_rows
        self.length: Callable[[BatchItem], int] = length
        self.token_budget = token_budget
        self.chunk_rows = chunk_rows
        self.batch_rows = num_rows if batch_rows is None else batch_rows
        self.packing = packing
        self.seed = seed
        self.draw_epoch = draw_epoch or (lambda generator: generator.permutation(num_rows))

    def batches(self, start: Position) -> Iterator[tuple[list[BatchItem], Position]]:
        """Yield the items of a batch and the position after it, endlessly."""
        assert self.num_rows, "an empty data set has no batches"
        epoch, first_chunk, first_batch = start.epoch, start.chunk, start.batch
        while True:
            order = self._order(np.random.default_rng((self.seed, epoch)))
            size = self._chunk_size()
            for chunk in range(first_chunk, -(-len(order) // size)):
                batches = self._fill(self._measure(order[chunk * size : (chunk + 1) * size]))
                random.Random(f"{self.seed} {epoch} {chunk}").shuffle(batches)
                for number in range(first_batch, len(batches)):
                    yield batches[number], Position(epoch, chunk, number + 1)
                first_batch = 0
            epoch, first_chunk = epoch + 1, 0

    def first_epoch(self) -> Iterator[list[BatchItem]]:
        """Yield the items of every batch of the first epoch."""
        num_left = self.num_rows
        for items, _ in self.batches(Position()):
            yield items
            num_left -= self._num_rows(items)
            if not num_left:
                return

    @abstractmethod
    def _order(self, generator: np.random.Generator) -> NDArray[Any]:
        """Return the items of an epoch as the rows of an array."""

    @abstractmethod
    def _chunk_size(self) -> int:
        """Return the number of items in a chunk."""

    @abstractmethod
    def _measure(self, chunk: NDArray[Any]) -> list[tuple[int, BatchItem]]:
        """Return the items of a section of an epoch with their lengths."""

    @abstractmethod
    def _num_rows(self, items: list[BatchItem]) -> int:
        """Return the number of rows of the data set in a batch."""

    def _fill(self, measured: list[tuple[int, BatchItem]]) -> list[list[BatchItem]]:
        """Split items, sorted by length, into batches within the budget and the number of rows.

        Padded items all have the length of the longest, which comes last; packed ones their own.
        """
        batches: list[list[BatchItem]] = []
        taken = 0  # tokens of the last batch, if packed
        for length, item in sorted(measured):
            num_items = len(batches[-1]) if batches else 0
            needed = taken + length if self.packing else length * (num_items + 1)
            if num_items and needed <= self.token_budget and self._has_room(batches[-1], item):
                batches[-1].append(item)
                taken += length
            else:
                batches.append([item])
                taken = length
        return batches

    def _has_room(self, batch: list[BatchItem], item: BatchItem) -> bool:
        return self._num_rows(batch) + self._num_rows([item]) <= self.batch_rows


class BucketSampler(Sampler[int]):
    """Sampler of rows."""

    def _order(self, generator: np.random.Generator) -> NDArray[Any]:
        return self.draw_epoch(generator)

    def _chunk_size(self) -> int:
        return self.chunk_rows

    def _measure(self, chunk: NDArray[Any]) -> list[tuple[int, int]]:
        return [(self.length(row), row) for row in chunk.tolist()]

    def _num_rows(self, items: list[int]) -> int:
        return len(items)


class ClipSampler(Sampler[list[int]]):
    """Sampler of groups of rows about one clip, which are formed anew in every epoch.

    A group that is longer than the budget is halved until its parts fit.
    """

    def __init__(
        self,
        clips: NDArray[np.int64],
        length: Callable[[list[int]], int],
        *,
        rows_per_clip: int,
        **options: Any,
    ) -> None:
        """Create a sampler.

        Args:
            clips: number of the clip of each row, (N,).
            length: returns the length of a group.
            rows_per_clip: most rows of a group.
            options: those of `Sampler`.
        """
        super().__init__(len(clips), length, **options)
        self.clips = clips
        self.rows_per_clip = rows_per_clip

    def _order(self, generator: np.random.Generator) -> NDArray[Any]:
        rows = self.draw_epoch(generator)
        rows = rows[np.argsort(self.clips[rows], kind="stable")]
        first_of_clip = np.flatnonzero(np.diff(self.clips[rows], prepend=-1))
        num_of_clip = np.diff(first_of_clip, append=self.num_rows)
        place = np.arange(self.num_rows) - np.repeat(first_of_clip, num_of_clip)
        place %= self.rows_per_clip
        group = np.cumsum(place == 0) - 1
        groups = np.full((group[-1] + 1, self.rows_per_clip), -1)
        groups[group, place] = rows
        return generator.permutation(groups)

    def _chunk_size(self) -> int:
        return max(1, self.chunk_rows // self.rows_per_clip)

    def _measure(self, chunk: NDArray[Any]) -> list[tuple[int, list[int]]]:
        groups = [[row for row in group if row >= 0] for group in chunk.tolist()]
        return [part for group in groups for part in self._parts(group)]

    def _parts(self, group: list[int]) -> Iterator[tuple[int, list[int]]]:
        length, middle = self.length(group), len(group) // 2
        if length <= self.token_budget or not middle:
            yield length, group
        else:
            yield from self._parts(group[:middle])
            yield from self._parts(group[middle:])

    def _num_rows(self, items: list[list[int]]) -> int:
        return sum(map(len, items))
