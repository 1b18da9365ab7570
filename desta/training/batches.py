"""Pairs -> a stream of micro-batches that can be taken up at any place."""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from desta.audio import SAMPLE_RATE
from desta.data.batching import Batch, collate, collate_packed, num_shared, similar_lengths
from desta.data.dataset import Cut, Example, ExampleReader, PairDataset, SkippedPair
from desta.data.layout import Layout, Span, Tokens
from desta.data.sampling import BucketSampler, Position
from desta.model.checkpoint import Loaded
from desta.records import AudioTextPair
from desta.training.config import DataConfig

SILENCE = np.zeros(SAMPLE_RATE // 10, dtype=np.float32)
"""Silence to encode, without effect, where a batch has no clip."""


@dataclass(frozen=True)
class MicroBatch:
    """Input of one forward pass, and its counts."""

    batch: Batch
    mels: list[Any]
    """Input of the encoder: groups of windows, in the order of the places."""
    pairs: list[AudioTextPair]
    """Usable ones, in the order of the sequences."""
    cut: list[Cut]
    """Parts of pairs that were left out."""
    skipped: list[SkippedPair]
    """Unusable pairs."""
    num_shared: int = 0
    """Tokens that the backbone reads once for all rows."""

    @property
    def num_pairs(self) -> int:
        """Usable ones."""
        return len(self.pairs)

    def inputs(self) -> dict[str, Any]:
        """Return the arguments of `DestaModel.forward`."""
        batch = self.batch
        is_packed = batch.position_ids_BS is not None
        return {
            "mels": self.mels,
            "input_ids_BS": batch.input_ids_BS,
            "attention_mask_BS": None if is_packed else batch.attention_mask_BS,
            "places_P2": batch.places_P2,
            "labels_BS": batch.labels_BS,
            "position_ids_BS": batch.position_ids_BS,
            "num_shared": self.num_shared,
        }


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
        self.packing = config.packing
        self.group_windows = config.group_windows and loaded.model.config.window == "tight"
        self.longest_shareable = loaded.model.longest_shareable if config.share_prefix else 0

    def __call__(self, pairs: Sequence[AudioTextPair | SkippedPair]) -> MicroBatch:
        """Read the audio of the pairs and join them into one batch.

        Where none is usable the batch holds no label: the processes of a run go in step.
        """
        read = [self.reader.read(pair) for pair in pairs]
        examples = [r for r in read if isinstance(r, Example)]
        skipped = [r for r in read if isinstance(r, SkippedPair)]
        return replace(
            self._join(
                [example.tokens for example in examples] or [self._nothing()],
                [window for example in examples for window in example.windows],
            ),
            pairs=[example.pair for example in examples],
            cut=[part for example in examples for part in example.cut],
            skipped=skipped,
        )

    def silence(self) -> MicroBatch:
        """Return a batch of no pair: a moment of silence, and a label behind it."""
        num_audio = self.layout.num_query_tokens
        tokens = Tokens(
            ids=[*[self.layout.placeholder_id] * num_audio, *self._nothing().ids],
            spans=[Span(0, num_audio, 0)],
            num_context=num_audio + 1,
        )
        return self._join([tokens], [SILENCE])

    def _join(self, sequences: list[Tokens], windows: list[NDArray[np.float32]]) -> MicroBatch:
        """Lay sequences side by side, or packed, with the sounds in them."""
        batch = (
            collate_packed(sequences)
            if self.packing
            else collate(sequences, pad_id=self.layout.pad_id)
        )
        groups = self._groups(windows)
        mels = [self.mel([windows[i] for i in group]) for group in groups] or [self.mel([SILENCE])]
        if windows:
            by_window = batch.places_P2.view(len(windows), -1, 2)
            order = [place for group in groups for place in group]
            batch = replace(batch, places_P2=by_window[order].flatten(0, 1))
        can_share = not self.packing and batch.input_ids_BS.shape[1] <= self.longest_shareable
        return MicroBatch(
            batch,
            mels,
            pairs=[],
            cut=[],
            skipped=[],
            num_shared=num_shared(sequences) if can_share else 0,
        )

    def _groups(self, windows: list[NDArray[np.float32]]) -> list[list[int]]:
        if self.group_windows:
            return similar_lengths([len(window) for window in windows])
        return [list(range(len(windows)))] if windows else []

    def _nothing(self) -> Tokens:
        return Tokens(ids=[self.layout.pad_id] * 2, spans=[], num_context=2)


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
        packing=config.packing,
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
    for micro_batch in loader:
        yield micro_batch, positions.popleft()
