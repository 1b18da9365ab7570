"""Sampler of batches: length buckets under a token budget, resumable at any batch."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Position:
    """Position in the endless stream of batches."""

    epoch: int = 0
    chunk: int = 0
    batch: int = 0


class BucketSampler:
    """Sampler that shuffles rows, sorts them by length in chunks, and fills batches to a budget.

    Every epoch is a permutation of all rows, or as many rows of another draw, which depends on seed
    and epoch alone; a chunk is a section of it. To resume at a position, only the lengths of one
    chunk are computed.
    """

    def __init__(
        self,
        num_rows: int,
        length: Callable[[int], int],
        *,
        token_budget: int,
        chunk_rows: int = 1024,
        packing: bool = False,
        seed: int = 0,
        draw_epoch: Callable[[np.random.Generator], NDArray[np.int64]] | None = None,
    ) -> None:
        self.num_rows = num_rows
        self.length = length
        self.token_budget = token_budget
        self.chunk_rows = chunk_rows
        self.packing = packing
        self.seed = seed
        self.draw_epoch = draw_epoch or (lambda generator: generator.permutation(num_rows))

    def batches(self, start: Position) -> Iterator[tuple[list[int], Position]]:
        """Yield the rows of a batch and the position after it, endlessly."""
        assert self.num_rows, "an empty data set has no batches"
        epoch, first_chunk, first_batch = start.epoch, start.chunk, start.batch
        while True:
            order = self.draw_epoch(np.random.default_rng((self.seed, epoch)))
            num_chunks = -(-self.num_rows // self.chunk_rows)
            for chunk in range(first_chunk, num_chunks):
                rows = order[chunk * self.chunk_rows : (chunk + 1) * self.chunk_rows].tolist()
                batches = self._fill(rows)
                random.Random(f"{self.seed} {epoch} {chunk}").shuffle(batches)
                for number in range(first_batch, len(batches)):
                    yield batches[number], Position(epoch, chunk, number + 1)
                first_batch = 0
            epoch, first_chunk = epoch + 1, 0

    def first_epoch(self) -> Iterator[list[int]]:
        """Yield the rows of every batch of the first epoch."""
        num_left = self.num_rows
        for rows, _ in self.batches(Position()):
            yield rows
            num_left -= len(rows)
            if not num_left:
                return

    def _fill(self, rows: list[int]) -> list[list[int]]:
        """Split rows, sorted by length, into batches within the budget.

        Padded rows all have the length of the longest, which comes last; packed rows their own.
        """
        batches: list[list[int]] = []
        taken = 0  # tokens of the last batch, if packed
        for length, row in sorted((self.length(row), row) for row in rows):
            num_rows = len(batches[-1]) if batches else 0
            needed = taken + length if self.packing else length * (num_rows + 1)
            if num_rows and needed <= self.token_budget:
                batches[-1].append(row)
                taken += length
            else:
                batches.append([row])
                taken = length
        return batches
