"""Backbones of many families with random weights, and chat templates of all kinds."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import (
    FalconH1Config,
    Gemma3TextConfig,
    Lfm2Config,
    LlamaConfig,
    MistralConfig,
    Olmo2Config,
    Phi3Config,
    Qwen2Config,
    Qwen3Config,
    Qwen3MoeConfig,
    SmolLM3Config,
)

from desta.inference.conversation import user_message
from desta.model.backbone.sampling import Sampling
from desta.model.config import ConnectorConfig, ModelConfig
from desta.records import LOCATOR, Message

SPECIAL = ["<s>", "</s>", "<pad>", "<|user|>", "<|model|>", "<|system|>", "<|end|>", "<|spare|>"]
ROUNDS = """{{ bos_token }}{% for m in messages %}<|{{ m.role | replace("assistant", "model") }}|>
{{ m.content }}<|end|>
{% endfor %}{% if add_generation_prompt %}<|model|>
{% endif %}"""
ADDED = ["<think>", "</think>", "<|fim_prefix|>", "Blorp"]
"""Added tokens that are not special: one of Qwen3, one of Qwen2.5, and a plain word."""
TEMPLATES = {
    "plain": ROUNDS,
    "default system": """{% if messages[0].role != "system" %}<|system|>
You are a parrot.<|end|>
{% endif %}"""
    + ROUNDS,
    "date": """<|system|>
Today is {{ date_string if date_string is defined else strftime_now("%d %b %Y") }}.<|end|>
"""
    + ROUNDS.replace("m.content", "m.content | trim"),
    "clock": """{% set today = strftime_now("%d %B %Y") %}<|system|>
Today is {{ today }}.<|end|>
"""
    + ROUNDS,
    "no system": """{% if messages[0].role == "system" %}
{{ raise_exception("no system role") }}{% endif %}"""
    + ROUNDS.replace("m.content", "m.content | trim"),
    "alternating": """{% for m in messages %}{% if (m.role == "user") != (loop.index0 % 2 == 0) %}
{{ raise_exception("roles must alternate") }}{% endif %}{% endfor %}"""
    + ROUNDS,
    "deaf": ROUNDS.replace("in messages", 'in messages if m.role != "system"'),
    "thinking": ROUNDS.replace(
        "{% endif %}",
        """{% if enable_thinking is defined and enable_thinking is false %}<think>

</think>

{% endif %}{% endif %}""",
    ),
}
SIZES: dict[str, Any] = {
    "vocab_size": 448,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 2,
}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24}
MIXED = ["sliding_attention", "full_attention"]
FAMILIES: dict[str, tuple[Callable[[], Any], str]] = {
    "llama": (lambda: LlamaConfig(**SIZES), "date"),
    "qwen2.5": (lambda: Qwen2Config(**SIZES, tie_word_embeddings=True), "default system"),
    "qwen3": (lambda: Qwen3Config(**SIZES, head_dim=8), "thinking"),
    "gemma3": (
        lambda: Gemma3TextConfig(**SIZES, head_dim=8, sliding_window=64, layer_types=MIXED),
        "no system",
    ),
    "mistral": (lambda: MistralConfig(**SIZES, sliding_window=None), "alternating"),
    "phi3": (lambda: Phi3Config(**SIZES), "plain"),
    "olmo2": (lambda: Olmo2Config(**SIZES), "plain"),
    "smollm3": (lambda: SmolLM3Config(**SIZES), "clock"),
    "qwen3moe": (lambda: Qwen3MoeConfig(**SIZES, **EXPERTS, head_dim=8), "thinking"),
}
MAMBA = {"mamba_d_ssm": 32, "mamba_n_heads": 4, "mamba_d_head": 8, "mamba_d_state": 8}
LONG = {"rope_type": "longrope", "rope_theta": 1e4, "original_max_position_embeddings": 32}
LONG |= {"short_factor": [1.0] * 4, "long_factor": [4.0] * 4}
SHORT = SIZES | {"max_position_embeddings": 24}
SEPARATE: dict[str, Callable[[], Any]] = {
    "convolutions": lambda: Lfm2Config(**SIZES, layer_types=["conv", "full_attention"]),
    "state space": lambda: FalconH1Config(**SIZES, **MAMBA, mamba_n_groups=1),
    "longrope": lambda: Phi3Config(
        **SIZES, rope_parameters=LONG, original_max_position_embeddings=32
    ),
    "dynamic": lambda: LlamaConfig(
        **SHORT, rope_parameters={"rope_type": "dynamic", "rope_theta": 1e4, "factor": 4.0}
    ),
}
"""Backbones that cannot take rows of different lengths together."""
GREEDY = Sampling(max_new_tokens=6)


def config(backbone: Path, published_tiny: Path, **fields: Any) -> ModelConfig:
    options = {"dtype": "float32", "backbone_dtype": "float32"} | fields
    return ModelConfig(
        backbone=str(backbone),
        encoder=str(published_tiny / "openai" / "whisper-tiny"),
        connector=ConnectorConfig(num_query_tokens=3, num_layers=1, ffn_dim=16),
        **options,
    )


def conversation(content: str, clip: Path | None = None, system: str = "Listen.") -> list[Message]:
    audios = [clip] if clip else []
    question = user_message(content, audios, locator=LOCATOR, texts=["hello"] * len(audios))
    return [Message(role="system", content=system), question]
