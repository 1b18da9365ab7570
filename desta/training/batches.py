"""Pairs -> a stream of micro-batches that can be taken up at any place."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from desta.audio import SAMPLE_RATE
from desta.audio.augment.draw import Draw, augment
from desta.data.batching import Batch, collate, collate_packed, num_shared, similar_lengths
from desta.data.dataset import Change, Cut, Example, ExampleReader, PairDataset, SkippedPair
from desta.data.layout import Layout, Span, Tokens
from desta.data.protected import changing_kinds
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
    draws: list[Draw | None] = field(default_factory=list)
    """Draw of the augmentation of each usable pair; None: as recorded."""

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
        self.augment = config.augment
        self.mel = loaded.model.mel
        self.packing = config.packing
        self.group_windows = config.group_windows and loaded.model.config.window == "tight"
        self.longest_shareable = loaded.model.longest_shareable if config.share_prefix else 0

    def __call__(
        self,
        pairs: Sequence[AudioTextPair | SkippedPair],
        draws: Sequence[Draw | None] | None = None,
    ) -> MicroBatch:
        """Read the audio of the pairs and join them into one batch.

        Where none is usable the batch holds no label: the processes of a run go in step.

        Args:
            pairs: the pairs.
            draws: draw of the augmentation of each; by default clips stay as recorded.
        """
        draws = draws or [None] * len(pairs)
        read = [
            self.reader.read(pair, change=self._change(pair, draw))
            for pair, draw in zip(pairs, draws, strict=True)
        ]
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
            draws=[d for r, d in zip(read, draws, strict=True) if isinstance(r, Example)],
        )

    def join_visits(self, visits: Sequence["Visit"]) -> MicroBatch:
        """Join pairs that come with their draws."""
        return self([pair for pair, _ in visits], [draw for _, draw in visits])

    def _change(self, pair: AudioTextPair | SkippedPair, draw: Draw | None) -> Change | None:
        """Return the augmentation of the clips of a pair; None for none.

        All clips of a pair are changed alike, so that they can still be compared.
        """
        if self.augment is None or draw is None or isinstance(pair, SkippedPair):
            return None
        without = changing_kinds(pair, self.augment.changes)
        return partial(augment, config=self.augment, draw=draw, without=without)

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


Visit = tuple[AudioTextPair | SkippedPair, Draw]
"""A pair with the draw of its augmentation, which depends on the place in the stream alone."""


class _Visits:
    """Random access to pairs by row and draw."""

    def __init__(self, rows: PairDataset) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, place: tuple[int, Draw]) -> Visit:
        row, draw = place
        return self._rows[row], draw


def stream(
    config: DataConfig,
    rows: PairDataset,
    collator: Collator,
    *,
    start: Position,
    seed: int,
    process: int,
    num_processes: int,
    draw_epoch: Callable[[np.random.Generator], NDArray[np.int64]] | None = None,
) -> Iterator[tuple[MicroBatch, Position]]:
    """Yield micro-batches without end, each with the position at which the next step begins.

    The processes share one stream: of every `num_processes` batches, each takes its own. Clips are
    augmented by seed and place in this stream alone.
    """
    sampler = BucketSampler(
        len(rows),
        lambda row: collator.reader.length(rows[row]),
        token_budget=config.token_budget,
        chunk_rows=config.chunk_rows,
        packing=config.packing,
        seed=seed,
        draw_epoch=draw_epoch,
    )
    positions: deque[Position] = deque()

    def own_batches() -> Iterator[list[tuple[int, Draw]]]:
        batches = sampler.batches(start)
        while True:
            turn = list(islice(batches, num_processes))
            positions.append(turn[-1][1])
            batch, after = turn[process]
            number = (seed, after.epoch, after.chunk, after.batch)
            yield [(row, (*number, place)) for place, row in enumerate(batch)]

    loader: DataLoader[Any] = DataLoader(
        _Visits(rows),  # type: ignore[arg-type]  # has __getitem__ and __len__
        batch_sampler=own_batches(),  # type: ignore[arg-type]  # any iterable of places will do
        collate_fn=collator.join_visits,
        num_workers=config.num_workers,
        generator=torch.Generator().manual_seed(0),  # not the one that dropout draws from
    )
    for micro_batch in loader:
        yield micro_batch, positions.popleft()
