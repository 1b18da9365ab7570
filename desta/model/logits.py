"""Hidden states -> logits, as each family of backbones has it.

Training runs the head on labelled positions alone, past the backbone's own forward pass; what some
families do to logits after the head would be left out without a word.
"""

from typing import Any

import torch
from torch import Tensor

from desta.errors import CheckpointError


def head_logits(backbone: Any, hidden: Tensor) -> Tensor:
    """Return the logits of hidden states, (..., E) -> (..., V)."""
    config = backbone.config.get_text_config()
    logits = backbone.get_output_embeddings()(hidden)
    if getattr(config, "logit_scale", None):  # Cohere
        logits = logits * config.logit_scale
    if getattr(config, "logits_scaling", None):  # Granite
        logits = logits / config.logits_scaling
    if getattr(config, "final_logit_softcapping", None):  # Gemma 2
        logits = torch.tanh(logits / config.final_logit_softcapping)
        logits = logits * config.final_logit_softcapping
    return logits


@torch.no_grad()
def check_head(backbone: Any, *, name: str) -> None:
    """Raise CheckpointError if a backbone does to its logits what `head_logits` does not know."""
    ids = torch.arange(2, device=backbone.device)[None]
    expected = backbone(input_ids=ids, use_cache=False).logits.float()
    hidden = backbone.base_model(input_ids=ids, use_cache=False).last_hidden_state
    found = head_logits(backbone, hidden).float()
    if not torch.allclose(found, expected, rtol=0.02, atol=0.02 * float(expected.std())):
        raise CheckpointError(
            f'"{name}" computes its logits in a way that training does not know',
            fix="use a backbone of another family",
        )
