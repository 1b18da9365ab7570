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
    """Return the summed loss of the labelled audio tokens: cross-entropy plus squared distance.

    In the cross-entropy a token is the likelier the nearer its embedding lies: the logit is minus
    the squared distance. What lies across all embeddings cancels out of it, so that an audio token
    may be nearest to its word and still far from it; the squared distance to the word, in units of
    that of two words on average, draws it there.

    Args:
        audio_PE: audio tokens.
        labels_P: token ids, `NO_LABEL` where none is known.
        table_VE: embeddings of the tokens that compete.
        ids_V: their ids, ascending.
    """
    table_VE = table_VE.to(audio_PE.dtype)
    is_labelled_P = labels_P != NO_LABEL
    audio_PE = audio_PE[is_labelled_P]
    words_P = torch.searchsorted(ids_V, labels_P[is_labelled_P])
    # Twice the summed variance is the mean squared distance of two embeddings.
    unit = 2 * table_VE.var(dim=0, correction=0).sum()
    distances_PV = (
        audio_PE.square().sum(dim=-1, keepdim=True)
        - 2 * audio_PE @ table_VE.T
        + table_VE.square().sum(dim=-1)
    ) / unit
    likelihood = functional.cross_entropy(-_SHARPNESS * distances_PV, words_P, reduction="sum")
    return likelihood + distances_PV.gather(1, words_P[:, None]).sum()
