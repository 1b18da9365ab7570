"""Check of a backbone before the first step: all fast ways to compute its loss must agree.

They are exact for the tested backbones; another one may differ in an unknown way.
"""

import math
from typing import Any

import torch

from desta.data.batching import Batch, collate, collate_packed
from desta.data.layout import Tokens
from desta.errors import ConfigError
from desta.model.backbone import lm_head
from desta.model.desta import DestaModel

_TEXTS = ([1, 2, 3, 4, 5], [1, 2, 6, 7])
_COMMON = 2  # tokens of the common prefix; the next one is the last without loss
_TOLERANCE = 1e-4  # relative, in float32; coarser formats: 3 %


@torch.no_grad()
def selfcheck(model: DestaModel, name: str, *, packing: bool, share_prefix: bool) -> None:
    """Compare the losses of two short texts, computed in all ways that the run will use.

    Raises:
        CheckpointError: the loss is not that of the backbone's own logits.
        ConfigError: packing or a shared prefix changes the loss.
    """
    lm_head.check_logits(model.llm_model, name)
    texts = [Tokens(ids=ids, spans=[], num_context=_COMMON + 1) for ids in _TEXTS]
    embedding = model.llm_model.get_input_embeddings().weight
    tolerance = _TOLERANCE if embedding.dtype == torch.float32 else 3e-2

    def loss(batch: Batch, **options: Any) -> float:
        embeddings_BSE = model.embed(batch.input_ids_BS, None, batch.places_P2)
        mask_BS = batch.attention_mask_BS if batch.position_ids_BS is None else None
        options["position_ids_BS"] = batch.position_ids_BS
        return model.loss_sum(embeddings_BSE, mask_BS, batch.labels_BS, **options).item()

    alone = sum(loss(collate([text], pad_id=0)) for text in texts)
    ways = {}
    if packing:
        ways["packing"] = loss(collate_packed(texts))
    elif share_prefix and model.longest_shareable >= len(_TEXTS[0]):
        ways["share_prefix"] = loss(collate(texts, pad_id=0), num_shared=_COMMON)
    for way, found in ways.items():
        if not math.isclose(found, alone, rel_tol=tolerance):
            raise ConfigError(
                f'backbone "{name}" gives a loss of {found:.4f} with data.{way}, '
                f"{alone:.4f} without",
                fix=f"set data.{way}: false",
            )
