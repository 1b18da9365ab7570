"""Attention without gradient on the CPU, by PyTorch's kernel where that is faster.

Shape suffixes: B sequences   S positions   K key positions   H heads
    G key/value heads   D width of a head
"""

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional


def kernel_is_fast(x: Tensor) -> bool:
    """Return whether PyTorch's kernel is faster than two products and a softmax.

    In bfloat16 on processors with AMX it is two to four times faster; elsewhere it can be eight
    times slower (docs/decisions/0022).
    """
    return x.is_cpu and x.dtype == torch.bfloat16 and _has_amx()


@lru_cache(maxsize=1)
def _has_amx() -> bool:
    return bool(torch.cpu.get_capabilities().get("amx_tile", False))


def attend_by_kernel(
    q_BHSD: Tensor, k_BGKD: Tensor, v_BGKD: Tensor, mask_B1SK: Tensor | None, scaling: float
) -> Tensor:
    """Attend with grouped heads; a position that attends to nothing gets zeros.

    Args:
        q_BHSD: queries; H is a multiple of G.
        k_BGKD: keys; the last S of their K positions are those of the queries.
        v_BGKD: values.
        mask_B1SK: True where attention is allowed, or a term added to the scores; None is causal.
        scaling: factor of the scores.
    """
    num_positions, num_read = q_BHSD.shape[2], k_BGKD.shape[2]
    if num_positions == 1:  # heads that read the same keys are positions of one head
        q_BGND = q_BHSD.view(len(q_BHSD), k_BGKD.shape[1], -1, q_BHSD.shape[3])
        heard_BGND = functional.scaled_dot_product_attention(
            q_BGND, k_BGKD, v_BGKD, attn_mask=mask_B1SK, scale=scaling
        )
        return heard_BGND.view(q_BHSD.shape)
    if mask_B1SK is None and num_positions < num_read:
        mask_B1SK = _causal_mask(num_positions, num_read)
    return functional.scaled_dot_product_attention(
        q_BHSD,
        k_BGKD,
        v_BGKD,
        attn_mask=mask_B1SK,
        is_causal=mask_B1SK is None,
        scale=scaling,
        enable_gqa=True,
    )


@lru_cache(maxsize=8)
def future_mask(num_positions: int, num_keys: int) -> Tensor:
    """Return a mask (S, K) that is True at keys behind the position of the query."""
    ahead = torch.ones(num_positions, num_keys, dtype=torch.bool)
    return ahead.triu(num_keys - num_positions + 1)


@lru_cache(maxsize=8)
def _causal_mask(num_positions: int, num_keys: int) -> Tensor:
    return future_mask(num_positions, num_keys).logical_not()
