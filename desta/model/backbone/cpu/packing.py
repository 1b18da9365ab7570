"""Weights in the order in which the processor multiplies them.

oneDNN puts a bfloat16 matrix into its own order before every product. Products of few rows, which
writing token by token is made of, spend most of their time on that. A second copy in that order
saves it, and the conversion of weights in float32 that autocast has computed in bfloat16; the
results are the same bit for bit (docs/decisions/0022).
"""

from collections.abc import Iterable
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional

MAX_BYTES = 1 << 30
"""A second copy of more than this is not worth its memory."""
_FEW_ROWS = 16


def compute_dtype(x: Tensor) -> torch.dtype | None:
    """Return the format of numbers that products with `x` are to be computed in; None on a GPU."""
    if not x.is_cpu:
        return None
    return torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype


def worth_packing(weights: Iterable[Tensor], dtype: torch.dtype | None = None) -> bool:
    """Say whether these weights are few enough, and computed in bfloat16 on a CPU that can.

    Args:
        weights: matrices.
        dtype: what they are computed in; None for the format that they are in.
    """
    weights = list(weights)
    return (
        _can_pack()
        and all(weight.is_cpu and (dtype or weight.dtype) == torch.bfloat16 for weight in weights)
        and sum(weight.numel() * torch.bfloat16.itemsize for weight in weights) <= MAX_BYTES
    )


@lru_cache(maxsize=1)
def _can_pack() -> bool:
    """Say whether this CPU computes in bfloat16, and this PyTorch has operators to pack with.

    They are private: a PyTorch in which they are gone, or called otherwise, computes as usual.
    """
    try:
        if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
            return False
        ones = torch.ones(64, 64, dtype=torch.bfloat16)
        return bool((packed_linear(ones, packed(ones), None) == 64).all())
    except (AttributeError, RuntimeError, TypeError):
        return False


def packed(weight: Tensor) -> Tensor:
    """Return the copy of a weight."""
    return torch.ops.mkldnn._reorder_linear_weight(weight.detach().bfloat16(), _FEW_ROWS)


def packed_linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Multiply by a packed weight; no gradient flows through this."""
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


def pack_linears(modules: Iterable[nn.Module], dtype: torch.dtype | None = None) -> bool:
    """Pack the linear layers among modules, if that is worth it; return whether it was.

    Args:
        modules: layers of any kind.
        dtype: what autocast has them compute in; None for the format that they are in.
    """
    linears = [
        module
        for module in modules
        if type(module) is nn.Linear and type(module.weight) is nn.Parameter  # not in fewer bits
    ]
    wanted = worth_packing((linear.weight for linear in linears), dtype)
    for linear in linears if wanted else ():
        replacement = _Packed(linear)
        replacement.pack()
        linear.forward = replacement.forward  # type: ignore[method-assign,assignment]
    return wanted


class _Packed:
    """Stands in for `forward` of a linear layer; packs again what was moved or trained since."""

    def __init__(self, linear: nn.Linear) -> None:
        self._linear = linear
        self._copies: tuple[tuple[int, ...], Tensor, Tensor | None] | None = None

    def __getstate__(self) -> dict[str, object]:
        return vars(self) | {"_copies": None}  # they can neither be copied nor be written

    def pack(self) -> tuple[tuple[int, ...], Tensor, Tensor | None]:
        """Make the copies, and keep them with what tells that they are of these weights."""
        bias = self._linear.bias
        narrow = None if bias is None else bias.detach().bfloat16()
        self._copies = copies = self._stamp(), packed(self._linear.weight), narrow
        return copies

    def _stamp(self) -> tuple[int, ...]:
        tensors = [x for x in (self._linear.weight, self._linear.bias) if x is not None]
        versions = [0 if x.is_inference() else x._version for x in tensors]
        return *(x.data_ptr() for x in tensors), *versions

    def forward(self, x: Tensor) -> Tensor:
        linear = self._linear
        if linear.training:
            self._copies = None  # not every optimizer counts up the version
        computed_in = {compute_dtype(x)}
        if not torch.is_autocast_enabled("cpu"):
            computed_in.add(linear.weight.dtype)
        if torch.is_grad_enabled() or computed_in != {torch.bfloat16}:
            return functional.linear(x, linear.weight, linear.bias)
        copies = self._copies
        if copies is None or copies[0] != self._stamp():
            copies = self.pack()
        return packed_linear(x.bfloat16(), copies[1], copies[2])
