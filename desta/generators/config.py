"""Text generation engines: the `engine` section of a recipe, by `kind`."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from desta.errors import ConfigError
from desta.model.config import AUTO, Dtype, Quantization


@dataclass(frozen=True, kw_only=True)
class LocalEngine:
    """The backbone in this process, by transformers."""

    kind: Literal["local"] = "local"
    device: str = AUTO
    """Device: auto (cuda, else mps, else cpu), cpu, cuda, cuda:1, ..."""


@dataclass(frozen=True, kw_only=True)
class VllmEngine:
    """The backbone in this process, by vLLM with its prefix cache."""

    kind: Literal["vllm"] = "vllm"
    max_length: int = 4096
    """Longest conversation with its response, in tokens; at most the context of the backbone."""
    num_gpus: int = 1
    """GPUs for tensor parallelism."""
    gpu_memory: float = 0.9
    """Share of a GPU's memory for weights and cache, in (0, 1]."""

    def __post_init__(self) -> None:
        for name in ("max_length", "num_gpus"):
            if getattr(self, name) < 1:
                raise ConfigError(f"engine.{name} = {getattr(self, name)}", fix="give 1 or more")
        if not 0 < self.gpu_memory <= 1:
            raise ConfigError(
                f"engine.gpu_memory = {self.gpu_memory} is outside (0, 1]", fix="give 0.9"
            )


@dataclass(frozen=True, kw_only=True)
class OpenAIEngine:
    """An endpoint with OpenAI's chat completions API."""

    base_url: str
    """URL before `/chat/completions`, for example `http://localhost:8000/v1`."""
    kind: Literal["openai"] = "openai"
    model: str | None = None
    """Model name at the endpoint; null means the backbone of the recipe."""
    key_variable: str = "OPENAI_API_KEY"
    """Environment variable with the API key; unset if the endpoint needs none."""
    tokenizer: str | None = None
    """Directory or Hub id of a tokenizer to count tokens; null counts words."""
    concurrency: int = 16
    """Most concurrent requests."""
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    """A request counts as its conversation plus the longest response it may get."""
    timeout: float = 120.0
    """Seconds after which a request is aborted and sent again."""
    max_retries: int = 8
    """Most retries of a request; the waits double from half a second to a minute."""
    input_price: float = 0.0
    """Price of a million input tokens, in any currency."""
    output_price: float = 0.0
    """Price of a million output tokens."""
    token_limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """Field for the longest response; OpenAI's newer models accept only the second."""
    pin_fingerprint: bool = True
    """Make the endpoint's `system_fingerprint` part of the revision; false if it differs from
    request to request."""
    extra_body: Mapping[str, Any] = field(default_factory=dict)
    """More fields of every request, for example `chat_template_kwargs`."""

    def __post_init__(self) -> None:
        if not self.base_url.startswith(("http://", "https://")):
            raise ConfigError(
                f'engine.base_url = "{self.base_url}" is no URL of an endpoint',
                fix="give for example http://localhost:8000/v1",
            )
        positive = ("concurrency", "timeout", "requests_per_minute", "tokens_per_minute")
        for name in positive:
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ConfigError(f"engine.{name} = {value}", fix="give more than 0")
        for name in ("max_retries", "input_price", "output_price"):
            if getattr(self, name) < 0:
                raise ConfigError(f"engine.{name} = {getattr(self, name)}", fix="give 0 or more")
        reserved = {"model", "messages", "temperature", "top_p", "stop", "seed", "stream", "n"}
        if taken := sorted({*reserved, self.token_limit} & set(self.extra_body)):
            raise ConfigError(
                f'engine.extra_body sets "{taken[0]}", which the recipe sets elsewhere',
                fix="remove it from extra_body",
            )
        try:
            json.dumps(self.extra_body)
        except TypeError as error:
            raise ConfigError(
                f"engine.extra_body cannot be sent: {error}", fix="put such values in quotes"
            ) from error


@dataclass(frozen=True, kw_only=True)
class ScriptedEngine:
    """No model, but fixed responses: to test a recipe, or the pipeline at scale."""

    kind: Literal["scripted"] = "scripted"
    answer: str | None = "A scripted answer."
    """Text of every response; null repeats the last message."""


EngineConfig = LocalEngine | VllmEngine | OpenAIEngine | ScriptedEngine


@dataclass(frozen=True, kw_only=True)
class GeneratorConfig:
    """A text generator: a backbone, its engine and its number formats."""

    backbone: str
    """Hub id, zoo name, directory or GGUF file."""
    engine: EngineConfig = field(default_factory=LocalEngine)
    dtype: Dtype = "auto"
    backbone_dtype: Dtype = "bfloat16"
    backbone_quantization: Quantization | None = None
