"""Loss of audio tokens that are to be the embeddings of words.

Shape suffixes:
    P audio tokens   E backbone width   V tokens that compete
"""

import torch
from torch import Tensor
from torch.nn import functional

from desta.model.config import NO_LABEL

_SHARPNESS = 20.0
"""How much likelier the right token is at its own embedding than one at the usual distance, as a
logarithm."""


def word_loss_sum(audio_PE: Tensor, labels_P: Tensor, table_VE: Tensor, ids_V: Tensor) -> Tensor:
    """Return the summed cross-entropy of the labelled audio tokens.

    A token is the likelier the nearer its embedding lies: its logit is minus the squared distance,
    so that the loss is small only where audio tokens lie at the embeddings of their words.

    Args:
        audio_PE: audio tokens.
        labels_P: token ids, `NO_LABEL` where none is known.
        table_VE: embeddings of the tokens that compete.
        ids_V: their ids, ascending.
    """
    table_VE = table_VE.to(audio_PE.dtype)
    # Twice the summed variance is the mean squared distance of two embeddings.
    scale = 2 * table_VE.var(dim=0, correction=0).sum() / _SHARPNESS
    distances_PV = (
        audio_PE.square().sum(dim=-1, keepdim=True)
        - 2 * audio_PE @ table_VE.T
        + table_VE.square().sum(dim=-1)
    )
    is_labelled_P = labels_P != NO_LABEL
    return functional.cross_entropy(
        -distances_PV[is_labelled_P] / scale,
        torch.searchsorted(ids_V, labels_P[is_labelled_P]),
        reduction="sum",
    )
