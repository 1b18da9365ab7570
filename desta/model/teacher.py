"""The backbone that reads what the model hears: a free teacher.

Shape suffixes: T sequences   S positions
"""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Teacher:
    """Responses after descriptions in words, in the order in which a batch has them after audio."""

    input_ids_TS: Tensor
    """Left-padded."""
    attention_mask_TS: Tensor
    """1 for tokens, 0 for padding."""
    labels_TS: Tensor
    """The response and its end token; `NO_LABEL` elsewhere."""
    share: float
    """Share of the loss that is learnt from it."""
