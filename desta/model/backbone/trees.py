"""Attention of trees: rows in which conversations branch off from what they share.

Shape suffixes: B rows   S positions   K key positions, cached ones included
"""

import torch
from torch import Tensor


def tree_mask(position_ids_BS: Tensor, branches_BS: Tensor, *, num_cached: int = 0) -> Tensor:
    """Return which positions a position sees, (B, 1, S - num_cached, S), as booleans.

    A token sees itself and the tokens before it in the stem and the branch of its own tree.

    Args:
        position_ids_BS: position of every token in its conversation. Where it is 0 a tree begins,
            so that a row can hold several; each token of padding is one of its own.
        branches_BS: number of the branch of every token, 0 in the stem.
        num_cached: length of the beginning that all rows share. Its keys stand in the first
            columns, whatever the rows hold there; elsewhere it is hidden.
    """
    trees_BS = (position_ids_BS == 0).cumsum(dim=-1)
    if num_cached:
        trees_BS = trees_BS.masked_fill(position_ids_BS < num_cached, -1)  # also padding
        trees_BS[:, :num_cached] = trees_BS[:, -1:]
        branches_BS = branches_BS.clone()
        branches_BS[:, :num_cached] = 0
    size = trees_BS.shape[-1]
    before_SK = torch.ones(size, size, dtype=torch.bool, device=trees_BS.device).tril()
    same_BSK = trees_BS[:, num_cached:, None] == trees_BS[:, None]
    branch_BSK = branches_BS[:, None]
    seen_BSK = (branch_BSK == 0) | (branch_BSK == branches_BS[:, num_cached:, None])
    return (before_SK[num_cached:] & same_BSK & seen_BSK)[:, None]
