"""Pairs -> a stream of micro-batches that can be taken up at any place."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from desta.audio import SAMPLE_RATE
from desta.audio.augment.draw import Draw, augment
from desta.construction.messages import described_messages
from desta.data.batching import Batch, collate, collate_packed, num_shared, similar_lengths
from desta.data.dataset import Change, Cut, Example, ExampleReader, PairDataset, SkippedPair
from desta.data.layout import Layout, Span, Tokens
from desta.data.protected import changing_kinds
from desta.data.sampling import BucketSampler, ClipSampler, DrawEpoch, Position
from desta.data.trees import Tree, join
from desta.data.words import Words
from desta.model.backbone.chat import encode_conversation
from desta.model.checkpoint import Loaded
from desta.model.config import NO_LABEL
from desta.model.teacher import Teacher
from desta.records import AudioTextPair
from desta.training.config import DataConfig

SILENCE = np.zeros(SAMPLE_RATE // 10, dtype=np.float32)
"""Silence to encode, without effect, where a batch has no clip."""

PairGroup = Sequence[AudioTextPair | SkippedPair]
"""Pairs about one clip that are read as one sequence; mostly a single pair."""


@dataclass(frozen=True)
class MicroBatch:
    """Input of one forward pass, and its counts."""

    batch: Batch
    mels: list[Any]
    """Input of the encoder: groups of windows, in the order of the places."""
    groups: list[list[AudioTextPair]]
    """Usable pairs, in the order of the sequences."""
    cut: list[Cut]
    """Parts of pairs that were left out."""
    skipped: list[SkippedPair]
    """Unusable pairs."""
    num_shared: int = 0
    """Tokens that the backbone reads once for all rows."""
    words_V: Tensor | None = None
    """Token ids that compete for the audio tokens, where the labels are there."""
    teacher: Teacher | None = None
    """The same responses for the backbone that reads the descriptions, where it is learnt from."""
    draws: list[Draw | None] = field(default_factory=list)
    """Draw of the augmentation of each group; None: as recorded."""

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
            "words_V": self.words_V,
            "teacher": self.teacher,
            **self.batch.targets(),
        }


class Collator:
    """Pairs -> micro-batch; runs in the reader processes where there are any."""

    def __init__(
        self,
        config: DataConfig,
        loaded: Loaded,
        words: Words | None = None,
        *,
        distillation: float = 0.0,
    ) -> None:
        """Create a collator.

        Args:
            config: the recipe's.
            loaded: the model.
            words: labels of the audio tokens, in place of those of the responses.
            distillation: share of the loss that is learnt from the backbone that reads.
        """
        self.words = words
        self.distillation = distillation
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
        self, groups: Sequence[PairGroup], draws: Sequence[Draw | None] | None = None
    ) -> MicroBatch:
        """Read the audio of the pairs and join them into one batch.

        Where none is usable the batch holds no label: the processes of a run go in step.

        Args:
            groups: the pairs.
            draws: draw of the augmentation of each group; by default clips stay as recorded.
        """
        draws = draws or [None] * len(groups)
        read = [
            [
                self._told(each)
                for each in self.reader.read_all(group, change=self._change(group, draw))
            ]
            for group, draw in zip(groups, draws, strict=True)
        ]
        found = [[r for r in group if isinstance(r, Example)] for group in read]
        usable = [group for group in found if group]
        joined = [join([e.tokens for e in group], [e.windows for e in group]) for group in usable]
        described = [
            self._word_labels(group[0].pair, len(windows))
            for group, (_, windows) in zip(usable, joined, strict=True)
        ]
        return replace(
            self._join(
                [sequence for sequence, _ in joined] or [self._nothing()],
                [window for _, windows in joined for window in windows],
                [labels for window_labels in described for labels in window_labels],
                self._teacher(self._in_words(e) for group in usable for e in group),
            ),
            groups=[[example.pair for example in group] for group in usable],
            cut=[part for group in usable for example in group for part in example.cut],
            skipped=[r for group in read for r in group if isinstance(r, SkippedPair)],
            draws=[draw for group, draw in zip(found, draws, strict=True) if group],
        )

    def join_visits(self, visits: Sequence["Visit"]) -> MicroBatch:
        """Join groups that come with their draws."""
        return self([group for group, _ in visits], [draw for _, draw in visits])

    def _change(self, group: PairGroup, draw: Draw | None) -> Change | None:
        """Return the augmentation of the clips of a group; None for none.

        All clips of a pair are changed alike, so that they can still be compared. A kind that one
        pair must not get is left out for all of its group.
        """
        if self.augment is None or draw is None:
            return None
        without = frozenset[str]().union(
            *(
                changing_kinds(pair, self.augment.changes)
                for pair in group
                if isinstance(pair, AudioTextPair)
            )
        )
        return partial(augment, config=self.augment, draw=draw, without=without)

    def silence(self) -> MicroBatch:
        """Return a batch of no pair: a moment of silence, and a label behind it."""
        num_audio = self.layout.num_query_tokens
        tokens = Tokens(
            ids=[*[self.layout.placeholder_id] * num_audio, *self._nothing().ids],
            spans=[Span(0, num_audio, 0)],
            num_context=num_audio + 1,
        )
        words = [] if self.words is None else [[self.words.filler] * num_audio]
        told = Tokens(ids=self._nothing().ids, spans=[], num_context=1)
        return self._join([tokens], [SILENCE], words, self._teacher([told]))

    def _told(self, read: Example | SkippedPair) -> Example | SkippedPair:
        """Return what was read; a pair that no backbone can read in words is skipped."""
        if self.distillation and isinstance(read, Example) and not described_messages(read.pair):
            return SkippedPair(read.pair.id, "has no seed_description of each of its clips")
        return read

    def _teacher(self, told: Iterable[Tokens]) -> Teacher | None:
        """Return the teacher of responses in words; laid out only where it is learnt from."""
        if not self.distillation:
            return None
        batch = collate([*told] or [self._nothing()], pad_id=self.layout.pad_id)
        ids_TS, mask_TS = batch.input_ids_BS, batch.attention_mask_BS
        return Teacher(ids_TS, mask_TS, batch.labels_BS, share=self.distillation)

    def _in_words(self, example: Example) -> Tokens:
        """Lay out the response after the messages that the backbone read."""
        messages = described_messages(example.pair)
        assert messages is not None, "the pair was skipped"
        context = encode_conversation(self.layout.tokenizer, messages)
        response = example.tokens.ids[example.tokens.num_context :]
        return Tokens(ids=[*context, *response], spans=[], num_context=len(context))

    def _word_labels(self, pair: AudioTextPair, num_windows: int) -> list[list[int]]:
        """Return the labels of the audio tokens of every window of a pair; none if of two clips."""
        if self.words is None:
            return []
        has_one_clip = sum(len(message.audios) for message in pair.messages) == 1
        description = pair.seed_description if has_one_clip else ""
        return [self.words.labels(description)] * num_windows

    def _join(
        self,
        sequences: Sequence[Tokens | Tree],
        windows: list[NDArray[np.float32]],
        word_labels: list[list[int]],
        teacher: Teacher | None,
    ) -> MicroBatch:
        """Lay sequences side by side, or packed, with the sounds in them.

        Args:
            sequences: token sequences.
            windows: audio of their windows.
            word_labels: labels of the audio tokens of every window, where words are learnt.
            teacher: of the same responses, in order.
        """
        batch = (
            collate_packed(sequences)
            if self.packing
            else collate(sequences, pad_id=self.layout.pad_id)
        )
        if self.words is not None:
            batch = replace(batch, labels_BS=_at_places(batch, word_labels))
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
            words_V=None if self.words is None else self.words.ids_V,
            teacher=teacher,
        )

    def _groups(self, windows: list[NDArray[np.float32]]) -> list[list[int]]:
        if self.group_windows:
            return similar_lengths([len(window) for window in windows])
        return [list(range(len(windows)))] if windows else []

    def _nothing(self) -> Tokens:
        return Tokens(ids=[self.layout.pad_id] * 2, spans=[], num_context=2)


def _at_places(batch: Batch, word_labels: list[list[int]]) -> Tensor:
    """Return labels (B, S) that stand at the audio tokens alone."""
    labels_BS = torch.full_like(batch.labels_BS, NO_LABEL)
    rows_P, positions_P = batch.places_P2.unbind(1)
    labels_BS[rows_P, positions_P] = torch.tensor(word_labels, dtype=torch.long).flatten()
    return labels_BS


Visit = tuple[PairGroup, Draw]
"""A group of pairs and its augmentation, drawn from the place in the stream alone."""


class _Visits:
    """Random access to groups of pairs by rows and draw."""

    def __init__(self, rows: PairDataset) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, place: tuple[list[int], Draw]) -> Visit:
        group, draw = place
        return [self._rows[row] for row in group], draw


def stream(
    config: DataConfig,
    rows: PairDataset,
    collator: Collator,
    *,
    start: Position,
    seed: int,
    process: int,
    num_processes: int,
    draw_epoch: DrawEpoch | None = None,
) -> Iterator[tuple[MicroBatch, Position]]:
    """Yield micro-batches without end, each with the position at which the next step begins.

    The processes share one stream: of every `num_processes` batches, each takes its own. Clips are
    augmented by seed and place in this stream alone.
    """
    positions: deque[Position] = deque()

    def own_batches() -> Iterator[list[tuple[list[int], Draw]]]:
        batches = _batches(config, rows, collator, start=start, seed=seed, draw_epoch=draw_epoch)
        while True:
            turn = list(islice(batches, num_processes))
            positions.append(turn[-1][1])
            batch, after = turn[process]
            number = (seed, after.epoch, after.chunk, after.batch)
            yield [(group, (*number, place)) for place, group in enumerate(batch)]

    loader: DataLoader[Any] = DataLoader(
        _Visits(rows),  # type: ignore[arg-type]  # has __getitem__ and __len__
        batch_sampler=own_batches(),  # type: ignore[arg-type]  # any iterable of places will do
        collate_fn=collator.join_visits,
        num_workers=config.num_workers,
        generator=torch.Generator().manual_seed(0),  # not the one that dropout draws from
    )
    for micro_batch in loader:
        yield micro_batch, positions.popleft()


def _batches(
    config: DataConfig,
    rows: PairDataset,
    collator: Collator,
    *,
    start: Position,
    seed: int,
    draw_epoch: DrawEpoch | None,
) -> Iterator[tuple[list[list[int]], Position]]:
    """Return the groups of rows of every micro-batch, each with the position after it."""
    options: dict[str, Any] = {
        "token_budget": config.token_budget,
        "chunk_rows": config.chunk_rows,
        "batch_rows": config.batch_rows,
        "packing": config.packing,
        "seed": seed,
        "draw_epoch": draw_epoch,
    }
    if config.questions_per_clip > 1:
        grouped = ClipSampler(
            rows.clip_numbers(collator.layout.locator),
            lambda group: collator.reader.length(*(rows[row] for row in group)),
            rows_per_clip=config.questions_per_clip,
            **options,
        )
        return grouped.batches(start)
    alone = BucketSampler(len(rows), lambda row: collator.reader.length(rows[row]), **options)
    return (([[row] for row in batch], position) for batch, position in alone.batches(start))
