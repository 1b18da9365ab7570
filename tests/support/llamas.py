"""Llama models and tokenizers in GGUF files, as written by llama.cpp."""

from collections.abc import Collection, Sequence
from pathlib import Path

import gguf
from transformers import LlamaForCausalLM


def write_gguf(
    path: Path,
    model: LlamaForCausalLM,
    tokens: Sequence[str],
    *,
    merges: Sequence[str],
    control: Collection[str],
    template: str,
    unknown: int | None = None,
    pre: str = "smollm",
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
    """
    config = model.config
    writer = gguf.GGUFWriter(path, "llama")
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
    writer.add_token_types([3 if token in control else 1 for token in tokens])
    writer.add_token_merges(merges)
    writer.add_bos_token_id(config.bos_token_id)
    writer.add_eos_token_id(config.eos_token_id)
    writer.add_pad_token_id(config.pad_token_id)
    if unknown is not None:
        writer.add_unk_token_id(unknown)
    writer.add_chat_template(template)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    heads = {
        "q_proj.weight": config.num_attention_heads,
        "k_proj.weight": config.num_key_value_heads,
    }
    for name, value in model.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        for end, count in heads.items():
            if name.endswith(end):  # (half, pair) -> (pair, half), head by head
                parts = value.view(count, 2, -1, value.shape[1])
                value = parts.transpose(1, 2).reshape(value.shape)
        writer.add_tensor(names.get_name(name, (".weight",)), value.contiguous().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
