"""LM head of the backbone, run on labelled positions only: hidden states -> loss.

Shape suffixes:
    N labelled positions   E backbone width   V vocabulary
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from desta.errors import CheckpointError

_MAX_LOGITS = 1 << 26  # logits alive at once: 256 MiB in float32
_TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-4}  # relative; coarser formats: 3 %


def logits(backbone: Any, hidden_NE: Tensor) -> Tensor:
    """Return the logits (N, V) that the causal language model gives for its last hidden states."""
    config = backbone.config.get_text_config()
    logits_NV = backbone.get_output_embeddings()(hidden_NE)
    logits_NV = logits_NV * (getattr(config, "logit_scale", None) or 1.0)  # Cohere
    logits_NV = logits_NV * (getattr(config, "lm_head_multiplier", None) or 1.0)  # Falcon-H1
    logits_NV = logits_NV / (getattr(config, "logits_scaling", None) or 1.0)  # Granite
    cap = getattr(config, "final_logit_softcapping", None)  # Gemma
    return logits_NV if cap is None else torch.tanh(logits_NV / cap) * cap


def loss_sum(
    backbone: Any,
    hidden_NE: Tensor,
    targets_N: Tensor,
    *,
    teacher_NE: Tensor | None = None,
    share: float = 0.0,
) -> Tensor:
    """Return the summed loss, computed in chunks of positions to bound memory.

    Args:
        backbone: the causal language model.
        hidden_NE: its last hidden states.
        targets_N: token ids that follow.
        teacher_NE: last hidden states to learn from, at the same targets; None for none.
        share: share of the loss, in [0, 1], that is the Kullback-Leibler divergence from the
            teacher's distribution; the rest is the cross-entropy of the targets.
    """
    if torch.is_grad_enabled() and hidden_NE.requires_grad:
        return _LossSum.apply(  # type: ignore[no-untyped-call]
            hidden_NE, targets_N, teacher_NE, share, backbone
        )
    total = torch.zeros((), device=hidden_NE.device)
    for chunk in _chunks(backbone, hidden_NE, targets_N, teacher_NE):
        total = total + _loss(backbone, *chunk, share)
    return total


def check_logits(backbone: Any, name: str) -> None:
    """Check that `logits` gives the backbone's own logits, on two short inputs.

    Raises:
        CheckpointError: they differ.
    """
    device = backbone.get_input_embeddings().weight.device
    ids_12 = torch.tensor([[1, 2]], device=device)
    with torch.no_grad():
        theirs_12V = backbone(input_ids=ids_12, use_cache=False).logits
        hidden_12E = backbone.get_decoder()(input_ids=ids_12, use_cache=False).last_hidden_state
        ours_12V = logits(backbone, hidden_12E)
    tolerance = _TOLERANCE.get(theirs_12V.dtype, 3e-2) * float(theirs_12V.abs().max())
    if not torch.allclose(ours_12V, theirs_12V, rtol=0, atol=tolerance):
        raise CheckpointError(
            f'backbone "{name}" does something to its logits that desta does not know, '
            f"by up to {float((ours_12V - theirs_12V).abs().max()):.3g}",
            fix="train on another backbone, or add its rule to desta/model/backbone/lm_head.py",
        )


class _LossSum(torch.autograd.Function):
    """Loss and gradient of the hidden states in one forward pass; the head is frozen.

    The logits of a chunk are turned into loss and gradient and freed; recomputing them in the
    backward pass would cost a third product with the head.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden_NE: Tensor,
        targets_N: Tensor,
        teacher_NE: Tensor | None,
        share: float,
        backbone: Any,
    ) -> Tensor:
        total = torch.zeros((), device=hidden_NE.device)
        gradient_NE = torch.zeros_like(hidden_NE)
        start = 0
        for hidden_CE, targets_C, teacher_CE in _chunks(backbone, hidden_NE, targets_N, teacher_NE):
            with torch.enable_grad():
                leaf_CE = hidden_CE.detach().requires_grad_()
                loss = _loss(backbone, leaf_CE, targets_C, teacher_CE, share)
            (gradient_NE[start : start + len(leaf_CE)],) = torch.autograd.grad(loss, leaf_CE)
            total += loss.detach()
            start += len(leaf_CE)
        ctx.save_for_backward(gradient_NE)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        (gradient_NE,) = ctx.saved_tensors
        return gradient_NE * gradient, None, None, None, None


def _chunks(
    backbone: Any, hidden_NE: Tensor, targets_N: Tensor, teacher_NE: Tensor | None
) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
    num_rows = max(1, _MAX_LOGITS // backbone.config.get_text_config().vocab_size)
    hidden, targets = hidden_NE.split(num_rows), targets_N.split(num_rows)
    read = [None] * len(hidden) if teacher_NE is None else teacher_NE.split(num_rows)
    yield from zip(hidden, targets, read, strict=True)


def _loss(
    backbone: Any, hidden_CE: Tensor, targets_C: Tensor, teacher_CE: Tensor | None, share: float
) -> Tensor:
    logits_CV = logits(backbone, hidden_CE).float()
    written = functional.cross_entropy(logits_CV, targets_C, reduction="sum")
    if teacher_CE is None:
        return written
    with torch.no_grad():
        wanted_CV = logits(backbone, teacher_CE).float().log_softmax(dim=-1)
    heard_CV = logits_CV.log_softmax(dim=-1)
    divergence = functional.kl_div(heard_CV, wanted_CV, reduction="sum", log_target=True)
    return (1 - share) * written + share * divergence
