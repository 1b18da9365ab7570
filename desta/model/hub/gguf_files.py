"""Conversion of backbones from GGUF files, in any quantization that `gguf` reads.

A converted directory holds what `save_pretrained` writes: safetensors in float32, tokenizer and
generation config.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gguf import GGUFReader
from gguf.quants import dequantize
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen2Tokenizer,
)

from desta.errors import CheckpointError
from desta.model.hub.weights import fill


@dataclass(frozen=True, kw_only=True)
class _Family:
    """Architecture of GGUF."""

    config: type[PretrainedConfig]
    model: type[PreTrainedModel]
    pre_tokenizer: str
    """The `tokenizer.ggml.pre` whose tokenizer can be built here."""
    rotates_pairs: bool
    """Whether the rows of queries and keys lie as pairs that are rotated, not as two halves."""


_FAMILIES = {
    "llama": _Family(
        config=LlamaConfig, model=LlamaForCausalLM, pre_tokenizer="smollm", rotates_pairs=True
    ),
    "qwen2": _Family(
        config=Qwen2Config, model=Qwen2ForCausalLM, pre_tokenizer="qwen2", rotates_pairs=False
    ),
}
_OUTER = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
}
_LAYER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_CONTROL, _USER_DEFINED, _UNUSED = 3, 4, 5  # `tokenizer.ggml.token_type`
_OF_CODE = {
    *(f"<|fim_{what}|>" for what in ("prefix", "middle", "suffix", "pad")),
    "<|repo_name|>",
    "<|file_sep|>",
}
"""Tokens that llama.cpp takes for control tokens by their looks; to Qwen they are not special."""
_MAX_ROUNDING = 0.1
"""Relative distance up to which two matrices are one, rounded twice; 5 bits are off by 0.04."""


def convert_gguf(file: Path, target: Path) -> None:
    """Convert a GGUF file to a directory with dequantized weights, in float32.

    float32 because a dequantized weight (scale times level plus offset) does not fit the eight
    bits of bfloat16's mantissa, and greedy text changes when it is rounded
    (`scripts/proof_of_conversion.py`).

    Raises:
        CheckpointError: the file is of another architecture, has another tokenizer, or is not
            complete.
    """
    reader = GGUFReader(file)
    fields = {name: field.contents() for name, field in reader.fields.items()}
    found, tokenizer = (fields.get(k) for k in ("general.architecture", "tokenizer.ggml.pre"))
    if found not in _FAMILIES or tokenizer != _FAMILIES[found].pre_tokenizer:
        known = (f"{name} with {family.pre_tokenizer}" for name, family in _FAMILIES.items())
        raise CheckpointError(
            f"{file} holds {found} with tokenizer {tokenizer}, not {' or '.join(known)}",
            fix="convert SmolLM, SmolLM2, Qwen2 or Qwen2.5",
        )
    tensors = {
        t.name: torch.from_numpy(np.array(dequantize(t.data, t.tensor_type)))
        for t in reader.tensors
    }
    model_from_gguf(fields, tensors).save_pretrained(target)
    tokenizer_from_gguf(fields).save_pretrained(target)


def model_from_gguf(fields: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> PreTrainedModel:
    """Build a model from the metadata and the dequantized tensors of a GGUF file.

    llama.cpp rounds a matrix that serves as embedding table and as head twice, the head in more
    bits: where both are the same but for that, the head is taken for both.

    Raises:
        CheckpointError: a tensor is missing, unknown or of a wrong shape.
    """
    architecture = fields["general.architecture"]
    family = _FAMILIES[architecture]
    size = {
        name.removeprefix(f"{architecture}."): value
        for name, value in fields.items()
        if name.startswith(f"{architecture}.")
    }
    heads = {"attn_q": size["attention.head_count"], "attn_k": size["attention.head_count_kv"]}
    table, head = (tensors.get(f"{name}.weight") for name in ("token_embd", "output"))
    tied = head is None or (table is not None and _same_but_rounded(table, head))
    config = family.config(
        vocab_size=len(fields["tokenizer.ggml.tokens"]),
        hidden_size=size["embedding_length"],
        intermediate_size=size["feed_forward_length"],
        num_hidden_layers=size["block_count"],
        num_attention_heads=heads["attn_q"],
        num_key_value_heads=heads["attn_k"],
        max_position_embeddings=size["context_length"],
        rms_norm_eps=size["attention.layer_norm_rms_epsilon"],
        rope_parameters={"rope_type": "default", "rope_theta": size["rope.freq_base"]},
        tie_word_embeddings=tied,
        bos_token_id=fields["tokenizer.ggml.bos_token_id"],
        eos_token_id=fields["tokenizer.ggml.eos_token_id"],
        pad_token_id=fields["tokenizer.ggml.padding_token_id"],
    )
    state = {}
    for name, value in tensors.items():
        path, _, parameter = name.rpartition(".")
        layer, target = None, _OUTER.get(path)
        if match := re.fullmatch(r"blk\.(\d+)\.(\w+)", path):
            layer = match[2]
            target = f"model.layers.{match[1]}.{_LAYER[layer]}" if layer in _LAYER else None
        if target is None:
            raise CheckpointError(f'a backbone has no tensor "{name}"', fix="convert another model")
        if family.rotates_pairs and layer in heads:
            value = _halves_from_pairs(value, heads[layer])
        state[f"{target}.{parameter}"] = value
    if tied and table is not None:
        one = table if head is None else head
        state |= {"model.embed_tokens.weight": one, "lm_head.weight": one}
    model: PreTrainedModel = fill(family.model, config, state)
    ends = dict.fromkeys([config.eos_token_id, config.pad_token_id])  # of a turn, of a document
    if len(ends) > 1 and model.generation_config is not None:
        model.generation_config.eos_token_id = list(ends)
    return model


def _same_but_rounded(one: Tensor, other: Tensor) -> bool:
    """Return whether two matrices are the same one, quantized in two ways."""
    return one.shape == other.shape and bool((one - other).norm() < _MAX_ROUNDING * other.norm())


def _halves_from_pairs(weight: Tensor, heads: int) -> Tensor:
    """Reorder each head's rows: adjacent rows are rotated in GGUF, halves in transformers."""
    rows, columns = weight.shape
    pairs = weight.view(heads, rows // heads // 2, 2, columns)
    return pairs.transpose(1, 2).reshape(rows, columns)


def tokenizer_from_gguf(fields: Mapping[str, Any]) -> PreTrainedTokenizerFast:
    """Build the tokenizer (byte-level BPE) of SmolLM or of Qwen2 from GGUF metadata."""
    tokens = fields["tokenizer.ggml.tokens"]
    kinds = fields["tokenizer.ggml.token_type"]
    # rows of the embedding table beyond the vocabulary are tokens of no text
    vocabulary = {token: i for i, token in enumerate(tokens) if kinds[i] != _UNUSED}
    pairs = (merge.partition(" ") for merge in fields["tokenizer.ggml.merges"])
    merges = [(left, right) for left, _, right in pairs]

    def named(role: str) -> str:
        return str(tokens[fields[f"tokenizer.ggml.{role}_token_id"]])

    added = [token for token, i in vocabulary.items() if kinds[i] in (_CONTROL, _USER_DEFINED)]
    special = [t for t in added if kinds[vocabulary[t]] == _CONTROL and t not in _OF_CODE]
    options = {
        "eos_token": named("eos"),
        "pad_token": named("padding"),
        "extra_special_tokens": special,
        "chat_template": fields["tokenizer.chat_template"],
        "model_max_length": fields[f"{fields['general.architecture']}.context_length"],
        "clean_up_tokenization_spaces": False,
    }
    if fields["tokenizer.ggml.pre"] == "qwen2":
        tokenizer = Qwen2Tokenizer(vocabulary, merges, unk_token=None, **options)
    else:
        tokenizer = PreTrainedTokenizerFast(
            tokenizer_object=_smollm(vocabulary, merges),
            bos_token=named("bos"),
            unk_token=named("unknown"),
            **options,
        )
    others = [AddedToken(token, normalized=False) for token in added if token not in special]
    tokenizer.add_tokens(others)  # parsed in text as well, but not special
    return tokenizer


def _smollm(vocabulary: dict[str, int], merges: list[tuple[str, str]]) -> Tokenizer:
    """Return a byte-level BPE that takes digits one by one."""
    backend = Tokenizer(models.BPE(vocabulary, merges))
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    return backend
