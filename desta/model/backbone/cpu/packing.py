"""Copies of weights in the layout in which the processor multiplies them.

oneDNN reorders a bfloat16 matrix before every product, which takes most of the time of products
with few rows, as in decoding. A second copy in that layout saves the reordering, and the conversion
from float32 under autocast; the results are bit-identical (docs/decisions/0022).
"""

from collections.abc import Iterable
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional

MAX_BYTES = 1 << 30
"""Weights above this size are not copied."""
_FEW_ROWS = 16


def compute_dtype(x: Tensor) -> torch.dtype | None:
    """Return the dtype in which products with `x` are computed; None on a GPU."""
    if not x.is_cpu:
        return None
    return torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype


def worth_packing(weights: Iterable[Tensor], dtype: torch.dtype | None = None) -> bool:
    """Return whether weights are small enough, and computed in bfloat16 on a CPU with support.

    Args:
        weights: matrices.
        dtype: compute dtype; None means that of the weights.
    """
    weights = list(weights)
    return (
        _can_pack()
        and all(weight.is_cpu and (dtype or weight.dtype) == torch.bfloat16 for weight in weights)
        and sum(weight.numel() * torch.bfloat16.itemsize for weight in weights) <= MAX_BYTES
    )


@lru_cache(maxsize=1)
def _can_pack() -> bool:
    """Return whether this CPU computes in bfloat16, and this PyTorch has operators to pack with.

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
    """Return a packed copy of a weight."""
    return torch.ops.mkldnn._reorder_linear_weight(weight.detach().bfloat16(), _FEW_ROWS)


def packed_linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Multiply by a packed weight; no gradient flows through this."""
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


def pack_linears(modules: Iterable[nn.Module], dtype: torch.dtype | None = None) -> bool:
    """Pack the linear layers among modules where that pays; return whether it was done.

    Args:
        modules: layers of any kind.
        dtype: compute dtype under autocast; None means that of the weights.
    """
    linears = [
        module
        for module in modules
        if type(module) is nn.Linear and type(module.weight) is nn.Parameter  # not quantized
    ]
    wanted = worth_packing((linear.weight for linear in linears), dtype)
    for linear in linears if wanted else ():
        replacement = _Packed(linear)
        replacement.pack()
        linear.forward = replacement.forward  # type: ignore[method-assign,assignment]
    return wanted


class _Packed:
    """Replacement of a linear layer's `forward`; packs again after a move or a training step."""

    def __init__(self, linear: nn.Linear) -> None:
        self._linear = linear
        self._copies: tuple[tuple[int, ...], Tensor, Tensor | None] | None = None

    def __getstate__(self) -> dict[str, object]:
        return vars(self) | {"_copies": None}  # packed tensors can be neither copied nor pickled

    def pack(self) -> tuple[tuple[int, ...], Tensor, Tensor | None]:
        """Make the copies, and store them with the stamp of the weights."""
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
            self._copies = None  # not every optimizer increments the version
        computed_in = {compute_dtype(x)}
        if not torch.is_autocast_enabled("cpu"):
            computed_in.add(linear.weight.dtype)
        if torch.is_grad_enabled() or computed_in != {torch.bfloat16}:
            return functional.linear(x, linear.weight, linear.bias)
        copies = self._copies
        if copies is None or copies[0] != self._stamp():
            copies = self.pack()
        return packed_linear(x.bfloat16(), copies[1], copies[2])
