"""LM head of the backbone, run on labelled positions only: hidden states -> loss.

Shape suffixes:
    N labelled positions   E backbone width   V vocabulary
"""

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


def loss_sum(backbone: Any, hidden_NE: Tensor, targets_N: Tensor) -> Tensor:
    """Return the summed cross-entropy, computed in chunks of positions to bound memory."""
    if torch.is_grad_enabled() and hidden_NE.requires_grad:
        return _LossSum.apply(hidden_NE, targets_N, backbone)  # type: ignore[no-untyped-call]
    total = torch.zeros((), device=hidden_NE.device)
    for hidden_CE, targets_C in _chunks(backbone, hidden_NE, targets_N):
        total = total + _cross_entropy(backbone, hidden_CE, targets_C)
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
    def forward(ctx: Any, hidden_NE: Tensor, targets_N: Tensor, backbone: Any) -> Tensor:
        total = torch.zeros((), device=hidden_NE.device)
        gradient_NE = torch.zeros_like(hidden_NE)
        start = 0
        for hidden_CE, targets_C in _chunks(backbone, hidden_NE, targets_N):
            with torch.enable_grad():
                leaf_CE = hidden_CE.detach().requires_grad_()
                loss = _cross_entropy(backbone, leaf_CE, targets_C)
            (gradient_NE[start : start + len(leaf_CE)],) = torch.autograd.grad(loss, leaf_CE)
            total += loss.detach()
            start += len(leaf_CE)
        ctx.save_for_backward(gradient_NE)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        (gradient_NE,) = ctx.saved_tensors
        return gradient_NE * gradient, None, None


def _chunks(backbone: Any, hidden_NE: Tensor, targets_N: Tensor) -> Any:
    num_rows = max(1, _MAX_LOGITS // backbone.config.get_text_config().vocab_size)
    return zip(hidden_NE.split(num_rows), targets_N.split(num_rows), strict=True)


def _cross_entropy(backbone: Any, hidden_CE: Tensor, targets_C: Tensor) -> Tensor:
    return functional.cross_entropy(logits(backbone, hidden_CE).float(), targets_C, reduction="sum")
