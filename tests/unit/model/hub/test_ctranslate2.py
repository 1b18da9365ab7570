"""Whisper converted to CTranslate2 and back."""

import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import WhisperConfig, WhisperForConditionalGeneration

from desta.errors import CheckpointError
from desta.model.hub.ctranslate2 import read_ctranslate2, whisper_from_ctranslate2


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
