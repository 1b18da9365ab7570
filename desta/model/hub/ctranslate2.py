"""Conversion of Whisper from CTranslate2 (`model.bin`, binary version 6).

A converted directory holds what `save_pretrained` writes: safetensors, tokenizer, generation
config and the feature extractor.
"""

import json
import re
import struct
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor
from transformers import (
    GenerationConfig,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperTokenizer,
)

from desta.errors import CheckpointError
from desta.model.hub.weights import fill

_CT2_VERSION = 6
_CT2_DTYPES = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}

# CTranslate2 module -> modules of transformers; several if their rows are stacked in it.
_WHISPER_OUTER = {
    "conv1": "conv1",
    "conv2": "conv2",
    "embeddings": "embed_tokens",
    "position_encodings": "embed_positions",
    "layer_norm": "layer_norm",
}
_WHISPER_LAYER = {
    "self_attention/layer_norm": ("self_attn_layer_norm",),
    "self_attention/linear_0": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "self_attention/linear_1": ("self_attn.out_proj",),
    "attention/layer_norm": ("encoder_attn_layer_norm",),
    "attention/linear_0": ("encoder_attn.q_proj",),
    "attention/linear_1": ("encoder_attn.k_proj", "encoder_attn.v_proj"),
    "attention/linear_2": ("encoder_attn.out_proj",),
    "ffn/layer_norm": ("final_layer_norm",),
    "ffn/linear_0": ("fc1",),
    "ffn/linear_1": ("fc2",),
}
_WHISPER_PARAMETERS = {
    "weight": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "encodings": "weight",
}


def convert_whisper(originals: Path, target: Path) -> None:
    """Convert Whisper from CTranslate2; weights keep their type, so none is rounded.

    Args:
        originals: folder with `model.bin`, `config.json` and `tokenizer.json` of CTranslate2.
        target: directory to write.

    Raises:
        CheckpointError: the weights are cut off or not a Whisper model.
    """
    model = whisper_from_ctranslate2(read_ctranslate2(originals / "model.bin"))
    settings = json.loads((originals / "config.json").read_text(encoding="utf-8"))
    file = str(originals / "tokenizer.json")
    special = [t.content for t in Tokenizer.from_file(file).get_added_tokens_decoder().values()]
    tokenizer = WhisperTokenizer(
        tokenizer_file=file, pad_token="<|endoftext|>", extra_special_tokens=special[1:]
    )
    model.generation_config = generation = _generation_config(tokenizer, settings)
    for role in ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id"):
        setattr(model.config, role, getattr(generation, role))
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)
    features = WhisperFeatureExtractor(feature_size=model.config.num_mel_bins)
    features.save_pretrained(target)


def read_ctranslate2(path: Path) -> dict[str, Tensor]:
    """Read every tensor of a CTranslate2 `model.bin`, aliases included.

    The file is little-endian: version (u32), specification (text), its revision (u32), number of
    tensors (u32), then for each its name (text), rank (u8), sizes (u32 each), type (u8), number of
    bytes (u32) and bytes; last the number of aliases (u32) and pairs of names. Text is a u16
    length, the terminating zero counted, and that many bytes.

    Raises:
        CheckpointError: the file is cut off, or of another version or type.
    """
    fix = "delete the file and fetch it again"
    data = memoryview(path.read_bytes())
    position = 0

    def take(size: int) -> memoryview:
        nonlocal position
        position += size
        if position > len(data):
            raise CheckpointError(f"{path} is cut off at byte {len(data)}", fix=fix)
        return data[position - size : position]

    def number(code: str) -> int:
        return int(struct.unpack(f"<{code}", take(struct.calcsize(f"<{code}")))[0])

    def text() -> str:
        return bytes(take(number("H"))[:-1]).decode()

    version = number("I")
    if version != _CT2_VERSION:
        raise CheckpointError(f"{path} has version {version}, not {_CT2_VERSION}", fix=fix)
    text(), number("I")  # specification and its revision, implied by the tensors' names
    tensors = {}
    for _ in range(number("I")):
        name = text()
        shape = [number("I") for _ in range(number("B"))]
        dtype = _CT2_DTYPES.get(code := number("B"))
        if dtype is None:
            raise CheckpointError(f'{path}: tensor "{name}" has unknown type {code}', fix=fix)
        values = np.frombuffer(take(number("I")), dtype=dtype).reshape(shape)
        tensors[name] = torch.from_numpy(values.copy())
    for _ in range(number("I")):
        alias = text()
        tensors[alias] = tensors[text()]
    return tensors


def whisper_from_ctranslate2(tensors: Mapping[str, Tensor]) -> WhisperForConditionalGeneration:
    """Build Whisper from CTranslate2's tensors; sizes follow from their shapes.

    Raises:
        CheckpointError: a tensor is missing, unknown, of a wrong shape, or a bias that Whisper
            lacks is not zero.
    """
    state: dict[str, Tensor] = {}
    for name, value in tensors.items():
        if value.dim() == 0:  # CTranslate2's own switches
            continue
        path, _, kind = name.rpartition("/")
        targets, parameter = _whisper_modules(path), _WHISPER_PARAMETERS.get(kind)
        if not targets or parameter is None:
            raise CheckpointError(f'Whisper has no tensor "{name}"', fix="convert another model")
        for target, rows in zip(targets, value.chunk(len(targets)), strict=True):
            if target.endswith("k_proj") and parameter == "bias":
                if rows.any():  # stacked with the other biases, but Whisper's keys have none
                    raise CheckpointError(
                        f'"{name}" adds a bias to the keys', fix="convert a model without it"
                    )
                continue
            state[f"{target}.{parameter}"] = rows
    try:
        width, mels, _ = tensors["encoder/conv1/weight"].shape
        depth = Counter(
            name.split("/")[0] for name in tensors if name.endswith("/ffn/linear_0/bias")
        )
        ffn = tensors["encoder/layer_0/ffn/linear_0/weight"].shape[0]
        config = WhisperConfig(
            vocab_size=tensors["decoder/embeddings/weight"].shape[0],
            num_mel_bins=mels,
            d_model=width,
            encoder_layers=depth["encoder"],
            decoder_layers=depth["decoder"],
            encoder_attention_heads=int(tensors["encoder/num_heads"]),
            decoder_attention_heads=int(tensors["decoder/num_heads"]),
            encoder_ffn_dim=ffn,
            decoder_ffn_dim=ffn,
            max_source_positions=tensors["encoder/position_encodings/encodings"].shape[0],
            max_target_positions=tensors["decoder/position_encodings/encodings"].shape[0],
            pad_token_id=None,  # the default lies outside small vocabularies
        )
    except KeyError as error:
        raise CheckpointError(
            f"the CTranslate2 model lacks the tensor {error}", fix="convert a Whisper model"
        ) from error
    return fill(WhisperForConditionalGeneration, config, state)


def _whisper_modules(path: str) -> tuple[str, ...]:
    """Return the modules whose rows are stacked in a CTranslate2 module; none if unknown."""
    if path == "decoder/projection":
        return ("proj_out",)
    side, _, rest = path.partition("/")
    if match := re.fullmatch(r"layer_(\d+)/(.+)", rest):
        modules = _WHISPER_LAYER.get(match[2], ())
        return tuple(f"model.{side}.layers.{match[1]}.{module}" for module in modules)
    return (f"model.{side}.{_WHISPER_OUTER[rest]}",) if rest in _WHISPER_OUTER else ()


def _generation_config(tokenizer: Any, settings: Mapping[str, Any]) -> GenerationConfig:
    """Return the configuration that `generate(language=..., task=...)` needs.

    `settings` is CTranslate2's `config.json`.
    """
    ids = tokenizer.get_vocab()
    return GenerationConfig(
        bos_token_id=ids["<|endoftext|>"],
        eos_token_id=ids["<|endoftext|>"],
        pad_token_id=ids["<|endoftext|>"],
        decoder_start_token_id=ids["<|startoftranscript|>"],
        no_timestamps_token_id=ids["<|notimestamps|>"],
        prev_sot_token_id=ids["<|startofprev|>"],
        lang_to_id={tokenizer.convert_ids_to_tokens(i): i for i in settings["lang_ids"]},
        task_to_id={task: ids[f"<|{task}|>"] for task in ("transcribe", "translate")},
        is_multilingual=True,
        task="transcribe",  # without one, transformers leaves it out of the decoder's prompt
        suppress_tokens=settings["suppress_ids"],
        begin_suppress_tokens=settings["suppress_ids_begin"],
        alignment_heads=settings["alignment_heads"],
        max_initial_timestamp_index=50,  # OpenAI's default: speech starts in the first second
        max_length=448,
        return_timestamps=False,
    )
