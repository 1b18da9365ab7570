"""Loss of audio tokens that are to be the embeddings of words."""

import torch

from desta.model.config import NO_LABEL
from desta.model.word_loss import word_loss_sum

torch.manual_seed(0)
TABLE_VE = torch.randn(7, 64)
IDS_V = torch.tensor([3, 8, 20, 21, 40, 55, 90])


def loss(audio_PE: torch.Tensor, *labels: int) -> float:
    return word_loss_sum(audio_PE, torch.tensor(labels), TABLE_VE, IDS_V).item()


def test_the_loss_vanishes_at_the_embedding_of_the_word_alone() -> None:
    assert loss(TABLE_VE[[2]], 20) < 1e-3
    assert loss(TABLE_VE[[3]], 20) > 5
    assert loss(3 * TABLE_VE[[3]], 20) > loss(TABLE_VE[[3]], 20)


def test_what_lies_across_all_words_counts_although_the_right_one_is_nearest() -> None:
    across = torch.linalg.qr(TABLE_VE.T, mode="complete").Q[:, -1:].T  # right-angled to every word
    near, far = TABLE_VE[[2]], TABLE_VE[[2]] + 30 * across

    assert torch.cdist(far, TABLE_VE).argmin() == 2
    assert loss(far, 20) > loss(near, 20) + 5


def test_its_sharpness_does_not_depend_on_the_scale_of_the_embeddings() -> None:
    audio_PE = TABLE_VE.mean(dim=0, keepdim=True)
    small = word_loss_sum(0.01 * audio_PE, torch.tensor([20]), 0.01 * TABLE_VE, IDS_V)

    assert torch.allclose(small, torch.tensor(loss(audio_PE, 20)), rtol=1e-3)


def test_unlabelled_tokens_have_neither_loss_nor_gradient() -> None:
    audio_PE = torch.zeros(3, 64, requires_grad=True)

    word_loss_sum(audio_PE, torch.tensor([NO_LABEL, 8, NO_LABEL]), TABLE_VE, IDS_V).backward()

    assert audio_PE.grad is not None
    assert audio_PE.grad[[0, 2]].eq(0).all()
    assert audio_PE.grad[1].ne(0).any()
    assert loss(torch.zeros(0, 64)) == 0
