"""Check of a backbone before the first step: all fast ways to compute its loss must agree.

They are exact for the tested backbones; another one may differ in an unknown way.
"""

import math

import torch

from desta.data.batching import Batch, collate, collate_packed
from desta.data.layout import Tokens
from desta.data.trees import join
from desta.errors import ConfigError
from desta.model.backbone import lm_head
from desta.model.desta import DestaModel

_TEXTS = ([1, 2, 3, 4, 5], [1, 2, 6, 7])
_COMMON = 2  # tokens of the common prefix; the next one is the last without loss
_SEQUENCES = [Tokens(ids=ids, spans=[], num_context=_COMMON + 1) for ids in _TEXTS]
_TOLERANCE = 1e-4  # relative, in float32; coarser formats: 3 %


def selfcheck(model: DestaModel, name: str, *, packing: bool, share_prefix: bool) -> None:
    """Compare the losses of two short texts, computed in all ways that the run will use.

    Raises:
        CheckpointError: the loss is not that of the backbone's own logits.
        ConfigError: packing or a shared prefix changes the loss.
    """
    lm_head.check_logits(model.llm_model, name)
    alone = sum(_loss(model, collate([text], pad_id=0)) for text in _SEQUENCES)
    ways = {}
    if packing:
        ways["packing"] = _loss(model, collate_packed(_SEQUENCES))
    elif share_prefix and model.longest_shareable >= len(_TEXTS[0]):
        ways["share_prefix"] = _loss(model, collate(_SEQUENCES, pad_id=0), num_shared=_COMMON)
    for way, found in ways.items():
        if not _is_close(model, found, alone):
            raise ConfigError(
                f'backbone "{name}" gives a loss of {found:.4f} with data.{way}, '
                f"{alone:.4f} without",
                fix=f"set data.{way}: false",
            )


def can_branch(model: DestaModel, *, max_tokens: int) -> bool:
    """Return whether conversations that branch off from one stem have the losses of separate ones.

    Args:
        model: the model.
        max_tokens: longest conversation of the run.
    """
    if model.longest_in_tree < max_tokens:
        return False
    tree, _ = join(_SEQUENCES, [[], []])
    alone = sum(_loss(model, collate([text], pad_id=0)) for text in _SEQUENCES)
    try:
        found = _loss(model, collate([tree], pad_id=0))
    except torch.OutOfMemoryError:
        raise
    except Exception:  # attention of its own that refuses the mask
        return False
    return _is_close(model, found, alone)


@torch.no_grad()
def _loss(model: DestaModel, batch: Batch, *, num_shared: int = 0) -> float:
    embeddings_BSE = model.embed(batch.input_ids_BS, None, batch.places_P2)
    return model.loss_sum(embeddings_BSE, **batch.targets(), num_shared=num_shared).item()


def _is_close(model: DestaModel, found: float, expected: float) -> bool:
    dtype = model.llm_model.get_input_embeddings().weight.dtype
    tolerance = _TOLERANCE if dtype == torch.float32 else 3e-2
    return math.isclose(found, expected, rel_tol=tolerance)
