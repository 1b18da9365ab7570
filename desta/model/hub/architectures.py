"""Configurations of well-known encoders and backbones, to plan a model without a network."""

from pathlib import Path
from typing import Any

from transformers import (
    AutoConfig,
    HubertConfig,
    LlamaConfig,
    PretrainedConfig,
    Qwen2Config,
    Qwen3Config,
    Wav2Vec2Config,
    WavLMConfig,
    WhisperConfig,
)

from desta.errors import CheckpointError
from desta.model.hub.load import Part, check_no_adapter
from desta.model.hub.zoo import UNLOADABLE


def _whisper(dim: int, layers: int, heads: int, **overrides: Any) -> WhisperConfig:
    sizes: dict[str, Any] = {
        "d_model": dim,
        "encoder_layers": layers,
        "decoder_layers": layers,
        "encoder_attention_heads": heads,
        "decoder_attention_heads": heads,
        "encoder_ffn_dim": 4 * dim,
        "decoder_ffn_dim": 4 * dim,
    }
    return WhisperConfig(**sizes | overrides)


def _llama3(
    hidden: int, ffn: int, layers: int, heads: int, *, rope_factor: float, tied: bool
) -> LlamaConfig:
    """Return a Llama 3.1 or 3.2, which differ in how far positions are stretched."""
    return LlamaConfig(
        hidden_size=hidden,
        intermediate_size=ffn,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=8,
        vocab_size=128256,
        max_position_embeddings=131072,
        rms_norm_eps=1e-5,
        rope_parameters={
            "rope_type": "llama3",
            "rope_theta": 500000.0,
            "factor": rope_factor,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192,
        },
        tie_word_embeddings=tied,
    )


def _llama31_8b() -> LlamaConfig:
    return _llama3(4096, 14336, 32, 32, rope_factor=8.0, tied=False)


def smollm2_135m() -> LlamaConfig:
    """Return the configuration of SmolLM2-135M-Instruct."""
    return LlamaConfig(
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
        vocab_size=49152,
        max_position_embeddings=8192,
        rms_norm_eps=1e-5,
        rope_parameters={"rope_type": "default", "rope_theta": 100000.0},
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=2,
    )


def _qwen25(
    hidden: int,
    ffn: int,
    layers: int,
    heads: int,
    keys: int,
    *,
    vocabulary: int = 151936,
    tied: bool = True,
) -> Qwen2Config:
    return Qwen2Config(
        hidden_size=hidden,
        intermediate_size=ffn,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=keys,
        vocab_size=vocabulary,
        max_position_embeddings=32768,
        rms_norm_eps=1e-6,
        rope_parameters={"rope_type": "default", "rope_theta": 1000000.0},
        tie_word_embeddings=tied,
    )


def _qwen3_8b() -> Qwen3Config:
    return Qwen3Config(
        hidden_size=4096,
        intermediate_size=12288,
        num_hidden_layers=36,
        num_attention_heads=32,
        num_key_value_heads=8,
        head_dim=128,
        vocab_size=151936,
        max_position_embeddings=40960,
        rms_norm_eps=1e-6,
        rope_parameters={"rope_type": "default", "rope_theta": 1000000.0},
        tie_word_embeddings=False,
    )


ARCHITECTURES = {
    "openai/whisper-tiny": lambda: _whisper(384, 4, 6),
    "openai/whisper-base": lambda: _whisper(512, 6, 8),
    "openai/whisper-small": lambda: _whisper(768, 12, 12),
    "openai/whisper-medium": lambda: _whisper(1024, 24, 16),
    "openai/whisper-large-v3": lambda: _whisper(1280, 32, 20, num_mel_bins=128, vocab_size=51866),
    "openai/whisper-large-v3-turbo": lambda: _whisper(
        1280, 32, 20, num_mel_bins=128, vocab_size=51866, decoder_layers=4
    ),
    "distil-whisper/distil-large-v3": lambda: _whisper(
        1280, 32, 20, num_mel_bins=128, vocab_size=51866, decoder_layers=2
    ),
    "facebook/wav2vec2-base": Wav2Vec2Config,  # the defaults of transformers, as the next two
    "facebook/hubert-base-ls960": HubertConfig,
    "microsoft/wavlm-base-plus": WavLMConfig,
    "meta-llama/Llama-3.1-8B-Instruct": _llama31_8b,
    "DeSTA-ntu/Llama-3.1-8B-Instruct": _llama31_8b,
    "meta-llama/Llama-3.2-1B-Instruct": lambda: _llama3(
        2048, 8192, 16, 32, rope_factor=32.0, tied=True
    ),
    "meta-llama/Llama-3.2-3B-Instruct": lambda: _llama3(
        3072, 8192, 28, 24, rope_factor=32.0, tied=True
    ),
    "HuggingFaceTB/SmolLM2-135M-Instruct": smollm2_135m,
    "Qwen/Qwen2.5-Coder-0.5B-Instruct": lambda: _qwen25(896, 4864, 24, 14, 2),
    "Qwen/Qwen2.5-0.5B-Instruct": lambda: _qwen25(896, 4864, 24, 14, 2),
    "Qwen/Qwen2.5-1.5B-Instruct": lambda: _qwen25(1536, 8960, 28, 12, 2),
    "Qwen/Qwen2.5-3B-Instruct": lambda: _qwen25(2048, 11008, 36, 16, 2),
    "Qwen/Qwen2.5-7B-Instruct": lambda: _qwen25(
        3584, 18944, 28, 28, 4, vocabulary=152064, tied=False
    ),
    "Qwen/Qwen3-8B": _qwen3_8b,
}
"""Model id -> function that returns its configuration."""


def architecture(name: str) -> PretrainedConfig:
    """Return the configuration of a model: from its directory, from the table, or from the Hub.

    Raises:
        CheckpointError: none of the three has it.
    """
    if name in ARCHITECTURES and not Path(name).is_dir():
        return ARCHITECTURES[name]()
    try:
        source, options = Part(name).source
        return AutoConfig.from_pretrained(source, trust_remote_code=False, **options)
    except UNLOADABLE as error:
        check_no_adapter(Path(name))
        raise CheckpointError(
            f'"{name}" is neither a model directory, nor a model known offline, nor on the Hub',
            fix=f"give a directory with a config.json, or one of {', '.join(ARCHITECTURES)}",
        ) from error
