"""Batches of token sequences, left-padded or packed.

Shape suffixes: B sequences   S positions   P audio tokens of all sequences
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from desta.audio import SAMPLE_RATE
from desta.data.layout import Tokens

NO_LABEL = -100
"""Label of positions without loss (PyTorch's and the published code's)."""


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
    """Position of every token in its own sequence, of a packed row; None if padded."""

    @property
    def num_labels(self) -> int:
        """Number of positions with loss."""
        return int((self.labels_BS != NO_LABEL).sum())


def collate(sequences: Sequence[Tokens], *, pad_id: int) -> Batch:
    """Pad sequences on the left, so that all of them end at the last position."""
    length = max(len(s.ids) for s in sequences)
    shape = (len(sequences), length)
    input_ids = torch.full(shape, pad_id)
    attention_mask = torch.zeros(shape, dtype=torch.long)
    labels = torch.full(shape, NO_LABEL)
    places = []
    for row, sequence in enumerate(sequences):
        padding = length - len(sequence.ids)
        ids = torch.tensor(sequence.ids)
        input_ids[row, padding:] = ids
        attention_mask[row, padding:] = 1
        labels[row, padding + sequence.num_context :] = ids[sequence.num_context :]
        places += [
            (row, padding + position)
            for span in sequence.spans
            for position in range(span.start, span.start + span.num_audio_tokens)
        ]
    places_P2 = torch.tensor(places, dtype=torch.long).reshape(-1, 2)
    return Batch(input_ids, attention_mask, labels, places_P2)


def collate_packed(sequences: Sequence[Tokens]) -> Batch:
    """Concatenate sequences in one row, without padding; positions restart at each sequence."""
    starts = np.cumsum([0, *(len(s.ids) for s in sequences)])
    ids_S = torch.tensor([token for s in sequences for token in s.ids])
    labels_S = torch.full_like(ids_S, NO_LABEL)
    places = []
    for sequence, start, end in zip(sequences, starts, starts[1:], strict=False):
        labels_S[start + sequence.num_context : end] = ids_S[start + sequence.num_context : end]
        places += [
            (0, start + position)
            for span in sequence.spans
            for position in range(span.start, span.start + span.num_audio_tokens)
        ]
    return Batch(
        input_ids_BS=ids_S[None],
        attention_mask_BS=torch.ones_like(ids_S)[None],
        labels_BS=labels_S[None],
        places_P2=torch.tensor(places, dtype=torch.long).reshape(-1, 2),
        position_ids_BS=torch.cat([torch.arange(len(s.ids)) for s in sequences])[None],
    )


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


def num_shared(sequences: Sequence[Tokens]) -> int:
    """Return the length of the common prefix of all sequences, without audio tokens or labels."""
    latest = min(
        min([s.num_context - 1, *(span.start for span in s.spans)]) for s in sequences
    )  # the last token of the context predicts the first label
    first = sequences[0].ids
    for position in range(latest):
        if any(s.ids[position] != first[position] for s in sequences):
            return position
    return latest
