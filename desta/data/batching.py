"""Sequences -> padded tensors.

Shape suffixes: B sequences   S positions   P audio tokens of all sequences
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from desta.data.layout import Tokens

NO_LABEL = -100
"""Label of positions without loss (PyTorch's and the published code's)."""


@dataclass(frozen=True)
class Batch:
    """What the model reads: left-padded ids, and the audio they speak of."""

    input_ids_BS: Tensor
    attention_mask_BS: Tensor
    """1 at tokens, 0 at padding."""
    labels_BS: Tensor
    """The response and its end token; `NO_LABEL` elsewhere."""
    places_P2: Tensor
    """Row and padded position of every audio token."""
    windows: list[NDArray[np.float32]]
    """Audio of all windows (16 kHz, at most 30 s each), in the order of the places."""

    @property
    def num_labels(self) -> int:
        """Positions that carry loss."""
        return int((self.labels_BS != NO_LABEL).sum())


def collate(
    sequences: Sequence[Tokens], windows: Sequence[NDArray[np.float32]], *, pad_id: int
) -> Batch:
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
    return Batch(input_ids, attention_mask, labels, places_P2, list(windows))
