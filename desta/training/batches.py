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
from desta.data.sampling import BucketSampler, ClipSampler, Position
from desta.data.trees import Tree, join
from desta.model.checkpoint import Loaded
from desta.records import AudioTextPair
from desta.training.config import DataConfig

SILENCE = np.zeros(SAMPLE_RATE // 10, dtype=np.float32)
"""What is heard, to no effect, where a batch has no clip."""

Group = Sequence[AudioTextPair | SkippedPair]
"""Pairs about one clip that are read as one sequence; mostly a single pair."""


@dataclass(frozen=True)
class MicroBatch:
    """What one forward pass reads, and what is counted of it."""

    batch: Batch
    mels: list[Any]
    """What the encoder reads: groups of windows, in the order of the places."""
    groups: list[list[AudioTextPair]]
    """Usable pairs, in the order of the sequences."""
    cut: list[Cut]
    """Parts of pairs that were left out."""
    skipped: list[SkippedPair]
    """Unusable pairs."""
    num_shared: int = 0
    """Tokens that the backbone reads once for all rows."""

    @property
    def pairs(self) -> list[AudioTextPair]:
        """Usable pairs of all groups."""
        return [pair for group in self.groups for pair in group]

    @property
    def num_pairs(self) -> int:
        """Usable ones."""
        return sum(map(len, self.groups))

    def inputs(self) -> dict[str, Any]:
        """Return the arguments of `DestaModel.forward`."""
        return {
            "mels": self.mels,
            "input_ids_BS": self.batch.input_ids_BS,
            "places_P2": self.batch.places_P2,
            "num_shared": self.num_shared,
            **self.batch.targets(),
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

    def __call__(self, groups: Sequence[Group]) -> MicroBatch:
        """Read the audio of the pairs and join them into one batch.

        Where none is usable the batch holds no label: the processes of a run go in step.
        """
        read = [self.reader.read_all(group) for group in groups]
        found = [[r for r in group if isinstance(r, Example)] for group in read]
        usable = [group for group in found if group]
        joined = [join([e.tokens for e in group], [e.windows for e in group]) for group in usable]
        return replace(
            self._join(
                [sequence for sequence, _ in joined] or [self._nothing()],
                [window for _, windows in joined for window in windows],
            ),
            groups=[[example.pair for example in group] for group in usable],
            cut=[part for group in usable for example in group for part in example.cut],
            skipped=[r for group in read for r in group if isinstance(r, SkippedPair)],
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

    def _join(
        self, sequences: Sequence[Tokens | Tree], windows: list[NDArray[np.float32]]
    ) -> MicroBatch:
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
            groups=[],
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
    positions: deque[Position] = deque()

    def own_batches() -> Iterator[list[list[int]]]:
        batches = _batches(config, rows, collator, start=start, seed=seed)
        while True:
            turn = list(islice(batches, num_processes))
            positions.append(turn[-1][1])
            yield turn[process][0]

    loader: DataLoader[Any] = DataLoader(
        _Groups(rows),  # type: ignore[arg-type]  # has __getitem__ and __len__
        batch_sampler=own_batches(),  # type: ignore[arg-type]  # any iterable of groups will do
        collate_fn=collator,
        num_workers=config.num_workers,
        generator=torch.Generator().manual_seed(0),  # not the one that dropout draws from
    )
    for micro_batch in loader:
        yield micro_batch, positions.popleft()


def _batches(
    config: DataConfig, rows: PairDataset, collator: Collator, *, start: Position, seed: int
) -> Iterator[tuple[list[list[int]], Position]]:
    """Yield the groups of rows of every micro-batch, each with the position after it."""
    options: dict[str, Any] = {
        "token_budget": config.token_budget,
        "chunk_rows": config.chunk_rows,
        "packing": config.packing,
        "seed": seed,
    }
    if config.questions_per_clip > 1:
        yield from ClipSampler(
            rows.clip_numbers(collator.layout.locator),
            lambda group: collator.reader.length(*(rows[row] for row in group)),
            rows_per_clip=config.questions_per_clip,
            **options,
        ).batches(start)
    alone = BucketSampler(len(rows), lambda row: collator.reader.length(rows[row]), **options)
    for batch, position in alone.batches(start):
        yield [[row] for row in batch], position


class _Groups:
    """Random access to several rows at once."""

    def __init__(self, rows: PairDataset) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, group: list[int]) -> Group:
        return [self._rows[row] for row in group]
