"""Backbones converted from GGUF files, there and back."""

from pathlib import Path
from typing import Any

import pytest
import torch
from gguf.quants import dequantize, quantize
from tokenizers.pre_tokenizers import ByteLevel
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen2Tokenizer,
)

from desta.errors import CheckpointError
from desta.model.hub.gguf_files import convert_gguf
from support.llamas import TABLE_TYPES, write_gguf

CONTROL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
TEMPLATE = (
    "{% for m in messages %}"
    "{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
TOKENIZER: dict[str, Any] = {
    "merges": ["h e", "Ġ w"],
    "control": CONTROL,
    "template": TEMPLATE,
    "unknown": 0,
}


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> tuple[LlamaForCausalLM, Path]:
    """A tiny Llama, and the GGUF file of it."""
    tokens = [*CONTROL, *sorted(ByteLevel.alphabet()), "he", "Ġw"]
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokens),
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=64,
            rope_parameters={"rope_type": "default", "rope_theta": 5000.0},
            rms_norm_eps=1e-4,
            tie_word_embeddings=True,
            bos_token_id=1,
            eos_token_id=2,
            pad_token_id=2,
        )
    ).eval()
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    write_gguf(path, model, tokens, **TOKENIZER)
    return model, path


def test_llama_survives_gguf_and_back(llama: tuple[LlamaForCausalLM, Path], tmp_path: Path) -> None:
    model, file = llama
    ids = torch.randint(3, 200, (2, 9))

    convert_gguf(file, tmp_path)
    back = AutoModelForCausalLM.from_pretrained(tmp_path)

    assert back.dtype == torch.float32
    assert (back.generation_config.eos_token_id, back.generation_config.pad_token_id) == (2, 2)
    with torch.no_grad():
        torch.testing.assert_close(back(ids).logits, model(ids).logits, rtol=1e-5, atol=1e-6)


def test_a_tokenizer_from_gguf_works_after_being_saved(
    llama: tuple[LlamaForCausalLM, Path], tmp_path: Path
) -> None:
    convert_gguf(llama[1], tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)

    text = "he  was 123,\n\tGrüße 😀 "
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert "he" in tokenizer.tokenize("he was")
    assert "Ġw" in tokenizer.tokenize("he was")
    assert set(tokenizer.all_special_tokens) == set(CONTROL)
    assert tokenizer.unk_token == CONTROL[0]
    assert (tokenizer.eos_token, tokenizer.pad_token) == ("<|im_end|>", "<|im_end|>")
    assert tokenizer.encode("<|im_end|>") == [2]
    assert tokenizer.decode([2], skip_special_tokens=True) == ""
    chat = [{"role": "user", "content": "he"}]
    assert (
        tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        == "<|im_start|>user\nhe<|im_end|>\n<|im_start|>assistant\n"
    )


def test_a_gguf_with_another_tokenizer_is_refused(
    llama: tuple[LlamaForCausalLM, Path], tmp_path: Path
) -> None:
    model, _ = llama
    tokens = [*CONTROL, *map(str, range(model.config.vocab_size - len(CONTROL)))]
    write_gguf(tmp_path / "other.gguf", model, tokens, **TOKENIZER, pre="llama-bpe")

    with pytest.raises(CheckpointError, match="llama-bpe"):
        convert_gguf(tmp_path / "other.gguf", tmp_path / "converted")


QWEN_MERGES = ["h e", "Ġ w", "1 2", "c a", "ca f"]
QWEN_TOKENS = [
    *sorted(ByteLevel.alphabet()),
    *(merge.replace(" ", "") for merge in QWEN_MERGES),
    *CONTROL,
    "<tool_call>",
    "<|fim_prefix|>",
    "[PAD266]",
]


def qwen2(*, tied: bool) -> Qwen2ForCausalLM:
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=len(QWEN_TOKENS),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        rope_parameters={"rope_type": "default", "rope_theta": 5000.0},
        rms_norm_eps=1e-4,
        tie_word_embeddings=tied,
        bos_token_id=QWEN_TOKENS.index("<|endoftext|>"),
        eos_token_id=QWEN_TOKENS.index("<|im_end|>"),
        pad_token_id=QWEN_TOKENS.index("<|endoftext|>"),
    )
    model = Qwen2ForCausalLM(config).eval()
    for name, value in model.named_parameters():
        if name.endswith("bias"):  # zeros would hide a lost or misplaced bias
            torch.nn.init.normal_(value)
    return model


def write_qwen2(path: Path, model: Qwen2ForCausalLM, **options: Any) -> Path:
    write_gguf(
        path,
        model,
        QWEN_TOKENS,
        merges=QWEN_MERGES,
        control=[*CONTROL, "<|fim_prefix|>"],  # so llama.cpp; to Qwen the last one is not special
        template=TEMPLATE,
        pre="qwen2",
        kinds={"<tool_call>": 4, "[PAD266]": 5},
        **options,
    )
    return path


@pytest.mark.parametrize("tied", [False, True])
def test_qwen2_from_gguf_is_the_model_and_what_transformers_reads(
    tied: bool, tmp_path: Path
) -> None:
    model = qwen2(tied=tied)
    file = write_qwen2(tmp_path / "tiny.gguf", model)
    ids = torch.randint(200, (2, 9))

    convert_gguf(file, tmp_path / "converted")
    back = AutoModelForCausalLM.from_pretrained(tmp_path / "converted")
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file=file.name)

    assert back.dtype == torch.float32
    assert back.config.tie_word_embeddings == tied
    assert back.config.rms_norm_eps == pytest.approx(1e-4)
    end, document = (QWEN_TOKENS.index(token) for token in ("<|im_end|>", "<|endoftext|>"))
    assert back.generation_config.eos_token_id == [end, document]
    assert back.generation_config.pad_token_id == document
    with torch.no_grad():
        logits = back(ids).logits
        torch.testing.assert_close(logits, model(ids).logits, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(logits, theirs(ids).logits, rtol=1e-5, atol=1e-6)


def test_a_table_and_a_head_that_are_one_matrix_rounded_twice_become_one_again(
    tmp_path: Path,
) -> None:
    model = qwen2(tied=True)
    convert_gguf(write_qwen2(tmp_path / "a.gguf", model, types=TABLE_TYPES), tmp_path / "converted")

    back = AutoModelForCausalLM.from_pretrained(tmp_path / "converted")

    kind = TABLE_TYPES["output.weight"]  # eight bits, those of the table are five
    rounded = dequantize(quantize(model.lm_head.weight.detach().numpy(), kind), kind)
    assert back.config.tie_word_embeddings
    assert back.lm_head.weight is back.model.embed_tokens.weight
    assert torch.equal(back.lm_head.weight, torch.from_numpy(rounded))


def test_qwen2_tokens_from_gguf_are_those_of_its_own_tokenizer(tmp_path: Path) -> None:
    convert_gguf(write_qwen2(tmp_path / "tiny.gguf", qwen2(tied=True)), tmp_path / "converted")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "converted")
    own = Qwen2Tokenizer(
        {token: i for i, token in enumerate(QWEN_TOKENS[:-1])},
        [tuple(merge.split(" ")) for merge in QWEN_MERGES],
        unk_token=None,
        extra_special_tokens=list(CONTROL),
    )

    text = "he was 1234 cafe\u0301, I'LL\r\n\n  Grüße 😀 <|im_end|>he"
    assert tokenizer.encode(text) == own.encode(text)
    assert tokenizer.tokenize("he 12") == ["he", "Ġ", "1", "2"]  # digits are taken one by one
    assert tokenizer.decode(tokenizer.encode("Grüße  1.5")) == "Grüße  1.5"
    assert (tokenizer.bos_token, tokenizer.unk_token) == (None, None)
    assert (tokenizer.eos_token, tokenizer.pad_token) == ("<|im_end|>", "<|endoftext|>")
    assert set(tokenizer.all_special_tokens) == set(CONTROL)
    assert len(tokenizer) == len(QWEN_TOKENS) - 1  # without the row that is no token
    for token in ("<tool_call>", "<|fim_prefix|>"):
        assert tokenizer.encode(token) == [QWEN_TOKENS.index(token)]
        ids = tokenizer.encode(f"{token}he")
        assert tokenizer.decode(ids, skip_special_tokens=True) == f"{token}he"
    assert tokenizer.model_max_length == 64
    chat = [{"role": "user", "content": "he"}]
    assert tokenizer.apply_chat_template(chat, tokenize=False) == "<|im_start|>user\nhe<|im_end|>\n"
