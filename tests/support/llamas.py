"""Llama and Qwen2 models and their tokenizers in GGUF files, as written by llama.cpp."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import gguf
from gguf import GGMLQuantizationType
from gguf.quants import quantize
from transformers import LlamaForCausalLM, Qwen2ForCausalLM

ARCHITECTURES = {"llama": gguf.MODEL_ARCH.LLAMA, "qwen2": gguf.MODEL_ARCH.QWEN2}
TABLE_TYPES = {
    "token_embd.weight": GGMLQuantizationType.Q5_0,
    "output.weight": GGMLQuantizationType.Q8_0,
}
"""How llama.cpp rounds an embedding table and the head that is the same matrix."""


def write_gguf(
    path: Path,
    model: LlamaForCausalLM | Qwen2ForCausalLM,
    tokens: Sequence[str],
    *,
    merges: Sequence[str],
    control: Collection[str],
    template: str,
    unknown: int | None = None,
    pre: str = "smollm",
    kinds: Mapping[str, int] | None = None,
    types: Mapping[str, GGMLQuantizationType] | None = None,
) -> None:
    """Write a model and its tokenizer.

    Args:
        path: the file.
        model: in float32; its configuration names the special tokens.
        tokens: vocabulary, in the order of ids.
        merges: pairs of tokens, separated by a space.
        control: special tokens.
        template: chat template.
        unknown: id of the unknown token.
        pre: llama.cpp's name of the pre-tokenizer.
        kinds: types of tokens that are neither normal nor special.
        types: how tensors are quantized, by their names in GGUF; others are stored in float32. A
            head that is tied is stored if it is named.
    """
    config, kinds, types = model.config, kinds or {}, types or {}
    writer = gguf.GGUFWriter(path, config.model_type)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types([3 if t in control else kinds.get(t, 1) for t in tokens])
    writer.add_token_merges(merges)
    writer.add_bos_token_id(config.bos_token_id)
    writer.add_eos_token_id(config.eos_token_id)
    writer.add_pad_token_id(config.pad_token_id)
    if unknown is not None:
        writer.add_unk_token_id(unknown)
    writer.add_chat_template(template)
    architecture = ARCHITECTURES[config.model_type]
    names = gguf.get_tensor_name_map(architecture, config.num_hidden_layers)
    heads = {
        "q_proj.weight": config.num_attention_heads,
        "k_proj.weight": config.num_key_value_heads,
    }
    for source, value in model.state_dict().items():
        name = names.get_name(source, (".weight", ".bias"))
        assert name is not None
        if name == "output.weight" and config.tie_word_embeddings and name not in types:
            continue
        for end, count in heads.items():
            if config.model_type == "llama" and source.endswith(end):
                # (half, pair) -> (pair, half), head by head
                parts = value.view(count, 2, -1, value.shape[1])
                value = parts.transpose(1, 2).reshape(value.shape)
        stored = value.contiguous().numpy()
        if name in types:
            writer.add_tensor(name, quantize(stored, types[name]), raw_dtype=types[name])
        else:
            writer.add_tensor(name, stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
