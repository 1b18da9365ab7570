"""Pairs -> a stream of micro-batches that can be taken up at any place."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from desta.data.batching import Batch, collate
from desta.data.dataset import Example, ExampleReader, PairDataset, Skipped
from desta.data.layout import Layout
from desta.data.sampling import BucketSampler, Position
from desta.errors import DataError
from desta.model.checkpoint import Loaded
from desta.model.mel import Mel
from desta.records import AudioTextPair
from desta.training.config import DataConfig

_HOPELESS = 100  # unusable pairs on end after which there is no point in going on


@dataclass(frozen=True)
class MicroBatch:
    """What one forward pass reads."""

    batch: Batch
    mel: Mel
    examples: list[Example]
    skipped: list[Skipped]
    """Unusable pairs, also those of batches before this one that held no usable pair at all."""

    def inputs(self) -> tuple[Mel, Tensor, Tensor, Tensor, Tensor]:
        """Return the arguments of the model's forward pass."""
        b = self.batch
        return self.mel, b.input_ids_BS, b.attention_mask_BS, b.places_P2, b.labels_BS


class Collator:
    """Pairs -> micro-batch; runs in the reader processes where there are any."""

    def __init__(self, config: DataConfig, loaded: Loaded) -> None:
        self.layout = Layout(loaded.tokenizer, **loaded.layout_options)
        self.reader = ExampleReader(
            self.layout,
            audio_root=config.audio_root,
            max_text_tokens=config.max_text_tokens,
            max_tokens=config.max_tokens,
        )
        self.mel = loaded.model.mel

    def __call__(self, pairs: list[AudioTextPair]) -> MicroBatch | list[Skipped]:
        """Read the audio of the pairs and pad them into one batch, if any of them is usable."""
        read = [self.reader.read(pair) for pair in pairs]
        examples = [r for r in read if isinstance(r, Example)]
        skipped = [r for r in read if isinstance(r, Skipped)]
        if not examples:
            return skipped
        windows = [window for example in examples for window in example.windows]
        batch = collate([e.tokens for e in examples], windows, pad_id=self.layout.pad_id)
        return MicroBatch(batch, self.mel(windows), examples, skipped)


def stream(
    config: DataConfig,
    rows: PairDataset,
    collator: Collator,
    *,
    start: Position,
    seed: int,
    process: int,
    num_processes: int,
) -> Iterator[tuple[MicroBatch, Position]]:
    """Yield micro-batches without end, each with the position at which the next step begins.

    The processes share one stream: of every `num_processes` batches, each takes its own.
    """
    sampler = BucketSampler(
        len(rows),
        lambda row: collator.reader.length(rows[row]),
        token_budget=config.token_budget,
        chunk_rows=config.chunk_rows,
        seed=seed,
    )
    positions: deque[Position] = deque()

    def own_batches() -> Iterator[list[int]]:
        batches = sampler.batches(start)
        while True:
            turn = list(islice(batches, num_processes))
            positions.append(turn[-1][1])
            yield turn[process][0]

    loader: DataLoader[Any] = DataLoader(
        rows,  # type: ignore[arg-type]  # has __getitem__ and __len__
        batch_sampler=own_batches(),  # type: ignore[arg-type]  # any iterable of rows will do
        collate_fn=collator,
        num_workers=config.num_workers,
        generator=torch.Generator().manual_seed(0),  # not the one that dropout draws from
    )
    unusable: list[Skipped] = []
    for micro_batch in loader:
        position = positions.popleft()
        if isinstance(micro_batch, MicroBatch):
            yield replace(micro_batch, skipped=[*unusable, *micro_batch.skipped]), position
            unusable = []
            continue
        unusable += micro_batch
        if len(unusable) >= min(_HOPELESS, len(rows)):
            raise DataError(
                f"{len(unusable)} pairs on end cannot be used; "
                f"the first, {unusable[0].id}: {unusable[0].reason}",
                fix="check data.audio_root and the audio files",
            )


def fixed_batches(
    config: DataConfig, rows: PairDataset, collator: Collator, *, num_rows: int
) -> tuple[list[MicroBatch], list[Skipped]]:
    """Return the first rows as micro-batches under the token budget, and the unusable ones."""
    count = min(num_rows, len(rows))
    sampler = BucketSampler(
        count, lambda row: collator.reader.length(rows[row]), token_budget=config.token_budget
    )
    batches: list[MicroBatch] = []
    unusable: list[Skipped] = []
    for chosen, position in sampler.batches(Position()):
        if position.epoch:
            break
        read = collator([rows[row] for row in chosen])
        if isinstance(read, MicroBatch):
            batches.append(read)
            unusable += read.skipped
        else:
            unusable += read
    return batches, unusable
