"""Fused embeddings -> token ids, by transformers' generate.

Shape suffixes: B sequences   S positions   E backbone width
"""

from typing import Any

import torch
from torch import Tensor

from desta.llm.base import Sampling
from desta.llm.decoding import generation_config
from desta.model.desta import DestaModel


@torch.no_grad()
def generate(
    model: DestaModel,
    tokenizer: Any,
    embeddings_BSE: Tensor,
    attention_mask_BS: Tensor,
    sampling: Sampling,
    *,
    streamer: Any = None,
) -> list[list[int]]:
    """Continue sequences.

    Args:
        model: its backbone writes.
        tokenizer: the backbone's.
        embeddings_BSE: what the backbone reads, left-padded.
        attention_mask_BS: 1 at tokens, 0 at padding.
        sampling: how tokens are chosen; draws from PyTorch's generator above temperature 0.
        streamer: a `transformers` streamer that is fed token by token (one sequence only).

    Returns:
        New token ids of each sequence, end token included, padding removed.
    """
    config = generation_config(model.llm_model, tokenizer, sampling)
    ids_BN = model.llm_model.generate(
        inputs_embeds=embeddings_BSE,
        attention_mask=attention_mask_BS.to(model.device),
        generation_config=config,
        streamer=streamer,
    )
    return [_until_end(row, config.eos_token_id) for row in ids_BN.tolist()]


def _until_end(ids: list[int], ends: list[int]) -> list[int]:
    """Cut what follows the first end token: padding, where others in the batch were longer."""
    for position, token in enumerate(ids):
        if token in ends:
            return ids[: position + 1]
    return ids
