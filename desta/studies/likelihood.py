"""How likely a backbone finds responses: nats a token, given the description and the prompt."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch.nn import functional

from desta.construction.messages import described_messages
from desta.data.batching import collate
from desta.data.layout import Tokens
from desta.model.backbone import lm_head
from desta.model.backbone.chat import encode_conversation, encode_text, end_id
from desta.model.backbone.decoding import pad_id
from desta.model.config import NO_LABEL
from desta.records import AudioTextPair

_AT_ONCE = 8


def nats_per_token(backbone: Any, tokenizer: Any, pairs: Sequence[AudioTextPair]) -> list[float]:
    """Return the mean cross-entropy of the tokens of each response, its end token included.

    The backbone reads the seed descriptions in the places of the clips, as the writer did.

    Args:
        backbone: a causal language model.
        tokenizer: its tokenizer.
        pairs: their clips are described.
    """
    return [value for group in _groups(pairs) for value in _nats(backbone, tokenizer, group)]


def _groups(pairs: Sequence[AudioTextPair]) -> Iterator[Sequence[AudioTextPair]]:
    for start in range(0, len(pairs), _AT_ONCE):
        yield pairs[start : start + _AT_ONCE]


@torch.no_grad()
def _nats(backbone: Any, tokenizer: Any, pairs: Sequence[AudioTextPair]) -> list[float]:
    batch = collate([_tokens(tokenizer, pair) for pair in pairs], pad_id=pad_id(tokenizer))
    device = backbone.get_input_embeddings().weight.device
    mask_BS = batch.attention_mask_BS.to(device)
    hidden_BSE = backbone.get_decoder()(
        input_ids=batch.input_ids_BS.to(device),
        attention_mask=mask_BS,
        position_ids=(mask_BS.cumsum(dim=-1) - 1).clamp(min=0),
        use_cache=False,
    ).last_hidden_state
    targets_BS = batch.labels_BS[:, 1:].to(device)
    labelled_BS = targets_BS != NO_LABEL
    logits_NV = lm_head.logits(backbone, hidden_BSE[:, :-1][labelled_BS]).float()
    losses_N = functional.cross_entropy(logits_NV, targets_BS[labelled_BS], reduction="none")
    return [float(part.mean()) for part in losses_N.split(labelled_BS.sum(dim=-1).tolist())]


def _tokens(tokenizer: Any, pair: AudioTextPair) -> Tokens:
    messages = described_messages(pair)
    assert messages is not None, "construction describes every clip"
    context = encode_conversation(tokenizer, messages)
    response = [*encode_text(tokenizer, pair.response), end_id(tokenizer)]
    return Tokens(ids=[*context, *response], spans=[], num_context=len(context))
