"""Weights in the order in which the processor multiplies them.

oneDNN puts a bfloat16 matrix into its own order before every product. Products of few rows, which
writing token by token is made of, spend most of their time on that. A second copy in that order
saves it; the results are the same bit for bit (docs/decisions/0022).
"""

from collections.abc import Iterable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

MAX_BYTES = 1 << 30
"""A second copy of more than this is not worth its memory."""
_FEW_ROWS = 16


def worth_packing(weights: Iterable[Tensor]) -> bool:
    """Say whether these weights are in bfloat16 on a CPU that computes in it, and few enough."""
    weights = list(weights)
    return (
        torch.ops.mkldnn._is_mkldnn_bf16_supported()
        and all(weight.is_cpu and weight.dtype == torch.bfloat16 for weight in weights)
        and sum(weight.numel() * weight.element_size() for weight in weights) <= MAX_BYTES
    )


def packed(weight: Tensor) -> Tensor:
    """Return the copy of a weight."""
    return torch.ops.mkldnn._reorder_linear_weight(weight.detach(), _FEW_ROWS)


def packed_linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Multiply by a packed weight; no gradient flows through this."""
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


def pack_linears(modules: Iterable[nn.Module]) -> bool:
    """Pack the linear layers among frozen modules, if that is worth it; return whether it was."""
    linears = [
        module
        for module in modules
        if type(module) is nn.Linear and type(module.weight) is nn.Parameter  # not in fewer bits
    ]
    wanted = worth_packing(linear.weight for linear in linears)
    for linear in linears if wanted else ():
        call = partial(_forward, linear, linear.weight.data_ptr(), packed(linear.weight))
        linear.forward = call  # type: ignore[method-assign]
    return wanted


def _forward(linear: nn.Linear, address: int, copy: Tensor, x: Tensor) -> Tensor:
    weight = linear.weight
    if torch.is_grad_enabled() or x.dtype != weight.dtype or weight.data_ptr() != address:
        return functional.linear(x, weight, linear.bias)
    return packed_linear(x, copy, linear.bias)
