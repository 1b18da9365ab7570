"""Batches of token sequences, left-padded or packed.

Shape suffixes: B sequences   S positions   P audio tokens of all sequences
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from desta.audio import SAMPLE_RATE
from desta.data.layout import Tokens
from desta.data.trees import Tree
from desta.model.config import NO_LABEL


@dataclass(frozen=True)
class Batch:
    """Input of the backbone: ids, left-padded or packed, and the positions of audio tokens."""

    input_ids_BS: Tensor
    attention_mask_BS: Tensor
    """1 for tokens, 0 for padding."""
    labels_BS: Tensor
    """The response and its end token; `NO_LABEL` elsewhere."""
    places_P2: Tensor
    """Row and position of every audio token, window after window."""
    position_ids_BS: Tensor | None = None
    """Position of every token in its own conversation, of packed rows and trees; None if the mask
    tells it."""
    branches_BS: Tensor | None = None
    """Number of the branch of every token (`desta.data.trees`); None without trees."""

    @property
    def num_labels(self) -> int:
        """Number of positions with loss."""
        return int((self.labels_BS != NO_LABEL).sum())

    def targets(self) -> dict[str, Any]:
        """Return the arguments of `DestaModel.loss_sum` beside the embeddings."""
        # transformers finds the borders of packed rows where there is no mask.
        is_packed = self.position_ids_BS is not None and self.branches_BS is None
        return {
            "attention_mask_BS": None if is_packed else self.attention_mask_BS,
            "labels_BS": self.labels_BS,
            "position_ids_BS": self.position_ids_BS,
            "branches_BS": self.branches_BS,
        }


def collate(sequences: Sequence[Tokens | Tree], *, pad_id: int) -> Batch:
    """Pad sequences on the left, so that all of them end at the last position."""
    padding = [max(len(s.ids) for s in sequences) - len(s.ids) for s in sequences]

    def padded(rows: Iterable[list[int]], fill: int) -> Tensor:
        both = zip(padding, rows, strict=True)
        return torch.tensor([[fill] * num_padding + row for num_padding, row in both])

    has_trees = any(isinstance(s, Tree) for s in sequences)
    return Batch(
        input_ids_BS=padded((s.ids for s in sequences), pad_id),
        attention_mask_BS=padded(([1] * len(s.ids) for s in sequences), 0),
        labels_BS=padded((s.labels for s in sequences), NO_LABEL),
        places_P2=_places(sequences, [(row, start) for row, start in enumerate(padding)]),
        position_ids_BS=padded((s.positions for s in sequences), 0) if has_trees else None,
        branches_BS=padded((s.branches for s in sequences), 0) if has_trees else None,
    )


def collate_packed(sequences: Sequence[Tokens | Tree]) -> Batch:
    """Concatenate sequences in one row, without padding; positions restart at each sequence."""

    def joined(rows: Iterable[list[int]]) -> Tensor:
        return torch.tensor([[value for row in rows for value in row]])

    starts = np.cumsum([0, *(len(s.ids) for s in sequences[:-1])]).tolist()
    has_trees = any(isinstance(s, Tree) for s in sequences)
    input_ids_BS = joined(s.ids for s in sequences)
    return Batch(
        input_ids_BS=input_ids_BS,
        attention_mask_BS=torch.ones_like(input_ids_BS),
        labels_BS=joined(s.labels for s in sequences),
        places_P2=_places(sequences, [(0, start) for start in starts]),
        position_ids_BS=joined(s.positions for s in sequences),
        branches_BS=joined(s.branches for s in sequences) if has_trees else None,
    )


def _places(sequences: Sequence[Tokens | Tree], starts: Sequence[tuple[int, int]]) -> Tensor:
    """Return row and position of every audio token of sequences that start at these places."""
    places = [
        (row, start + position)
        for sequence, (row, start) in zip(sequences, starts, strict=True)
        for span in sequence.spans
        for position in range(span.start, span.start + span.num_audio_tokens)
    ]
    return torch.tensor(places, dtype=torch.long).reshape(-1, 2)


def similar_lengths(lengths: Sequence[int], *, max_size: int | None = None) -> list[list[int]]:
    """Group audio windows of similar length, so that groups need little padding.

    Args:
        lengths: lengths of the windows, in samples.
        max_size: largest group; None for no limit.

    Returns:
        Groups of indices; lengths in a group differ by at most a second, or a quarter of the
        longest.
    """
    groups: list[list[int]] = []
    for place in sorted(range(len(lengths)), key=lengths.__getitem__):
        least = lengths[place] - max(SAMPLE_RATE, lengths[place] // 4)
        full = groups and len(groups[-1]) == max_size
        if groups and not full and lengths[groups[-1][0]] >= least:
            groups[-1].append(place)
        else:
            groups.append([place])
    return groups


def num_shared(sequences: Sequence[Tokens | Tree]) -> int:
    """Return the length of the common prefix of all sequences, without audio tokens or labels."""
    latest = min(min([s.num_stem, *(span.start for span in s.spans)]) for s in sequences)
    first = sequences[0].ids
    for position in range(latest):
        if any(s.ids[position] != first[position] for s in sequences):
            return position
    return latest
