"""Model configuration: the `model` section of a recipe and the fields of `config.json`."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from desta.config import build_config
from desta.errors import CheckpointError, ConfigError
from desta.records import LOCATOR

Window = Literal["30s", "tight"]
Dtype = Literal["auto", "float32", "bfloat16", "float16"]
Quantization = Literal["int8", "nf4"]

NO_LABEL = -100
"""Label of positions without loss (PyTorch's and the published code's)."""
SHIPPED = "desta-tiny"
"""Name of the trained model inside this package; a folder of that name is `./desta-tiny`."""
AUTO = "auto"
"""Device name that means the best device of the machine that can run the model."""

FORMAT = 1
"""Number of the checkpoint format written here; the published checkpoints carry none."""


@dataclass(frozen=True, kw_only=True)
class ConnectorConfig:
    """Q-Former between the frozen encoder and the frozen backbone (paper section III)."""

    num_query_tokens: int = 64
    """Query tokens per window of audio; each becomes one token of the backbone."""
    num_layers: int = 6
    """Q-Former depth."""
    target_layers: tuple[int, ...] | None = None
    """0-based encoder layers the connector reads; None means the last of each quarter."""
    ffn_dim: int = 3072
    """Width of the feed-forward layers (published: BERT's default, whatever the encoder)."""
    normalise_frames: bool = True
    """Normalise every encoder frame to mean 0 and variance 1 before the Q-Former. The upper layers
    of Whisper hold a few values hundreds of times larger than the rest, which drown the content of
    a frame (docs/decisions/0010). Published: off."""
    dropout: float = 0.1
    """Dropout of attention and hidden states during training."""

    def __post_init__(self) -> None:
        for name in ("num_query_tokens", "num_layers", "ffn_dim"):
            if getattr(self, name) < 1:
                raise ConfigError(
                    f"connector.{name} = {getattr(self, name)} is too small", fix="give 1 or more"
                )
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"connector.dropout = {self.dropout} is outside [0, 1)", fix="0.1")
        layers = self.target_layers
        if layers is not None and (not layers or list(layers) != sorted(set(layers))):
            raise ConfigError(
                f"connector.target_layers = {list(layers)} is empty, repeated or unsorted",
                fix="give ascending 0-based encoder layers, for example [7, 15, 23, 31]",
            )

    def layers_of(self, encoder_depth: int) -> tuple[int, ...]:
        """Return the target layers for an encoder of this depth.

        The default is the last layer of each quarter, which gives the published choices:
        depth 4 -> 0..3, 12 -> 2, 5, 8, 11, 24 -> 5, 11, 17, 23, 32 -> 7, 15, 23, 31.
        """
        if self.target_layers is None:
            return tuple(
                sorted({max(math.ceil(q * encoder_depth / 4) - 1, 0) for q in range(1, 5)})
            )
        if self.target_layers[-1] >= encoder_depth:
            raise ConfigError(
                f"connector.target_layers = {list(self.target_layers)}, "
                f"but the encoder has {encoder_depth} layers",
                fix=f"give layers from 0 to {encoder_depth - 1}",
            )
        return self.target_layers


@dataclass(frozen=True, kw_only=True)
class LoraConfig:
    """LoRA of the backbone, trained with the connector; defaults are the published values."""

    rank: int = 16
    alpha: float = 16
    """The update is scaled by alpha / rank."""
    dropout: float = 0.1
    targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj")
    """Names of the linear layers that are updated."""

    def __post_init__(self) -> None:
        if self.rank < 1 or not self.targets:
            raise ConfigError("lora.rank is below 1, or lora.targets is empty", fix="rank: 16")
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"lora.dropout = {self.dropout} is outside [0, 1)", fix="0.1")


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """A frozen encoder, a trained connector and a frozen backbone."""

    backbone: str
    """Hub id, directory or GGUF file of a causal language model with a chat template."""
    encoder: str
    """Hub id or directory of a Whisper, wav2vec 2.0, HuBERT or WavLM model."""
    transcriber: str | None = None
    """Hub id or directory of the Whisper model that transcribes; None means the encoder itself,
    if it is one."""
    connector: ConnectorConfig = field(default_factory=ConnectorConfig)
    lora: LoraConfig | None = None
    """Low-rank updates of the backbone; None leaves it as it is."""
    window: Window = "tight"
    """`30s`: every clip padded to 30 s, as published. `tight`: true length with a key mask."""
    placeholder_token: str | None = None
    """Token whose id marks the positions of audio tokens; None picks an unused one."""
    audio_locator: str = LOCATOR
    """Text that marks a clip in a message."""
    dtype: Dtype = "auto"
    """Compute dtype of the frozen encoder and backbone; `auto` is bfloat16 where the device has it.
    The connector is kept in float32."""
    backbone_dtype: Dtype = "bfloat16"
    """Dtype that the backbone's weights are rounded to before they are used in `dtype`; the
    connector is trained against these weights, so every later use rounds them in the same way."""
    backbone_quantization: Quantization | None = None
    """Store the backbone's weights in 8 bits (CUDA or CPU) or 4 bits (CUDA) to save memory; answers
    change a little. The connector is not quantized."""

    def __post_init__(self) -> None:
        if not self.audio_locator:
            raise ConfigError("audio_locator is empty", fix="<|AUDIO|>")


# Our names <-> the published names in config.json (reference: DeSTA2.5-Audio, 5503dfc).
_PUBLISHED_TOP = {
    "llm_model_id": "backbone",
    "encoder_model_id": "encoder",
    "audio_locator": "audio_locator",
    "placeholder_token": "placeholder_token",
}
# Fields that the published code does not write.
_TOP = _PUBLISHED_TOP | {
    "encoder_window": "window",
    "desta_dtype": "dtype",
    "desta_backbone_dtype": "backbone_dtype",
    "desta_backbone_quantisation": "backbone_quantization",
    "desta_transcriber": "transcriber",
}
_CONNECTOR = {
    "qformer_num_hidden_layers": "num_layers",
    "prompt_size": "num_query_tokens",
    "target_layer_ids": "target_layers",
    "qformer_intermediate_size": "ffn_dim",  # this and the next are not in published files
    "qformer_dropout": "dropout",
    "qformer_normalise_frames": "normalise_frames",
}


def to_published(config: ModelConfig, target_layers: tuple[int, ...]) -> dict[str, Any]:
    """Return the fields of `config.json`: the published ones, then our own."""
    return {
        "architectures": ["DeSTA25AudioModel"],
        "model_type": "desta25",
        **{name: getattr(config, ours) for name, ours in _PUBLISHED_TOP.items()},
        "connector_mode": "qformer_1",
        "qformer_num_hidden_layers": config.connector.num_layers,
        "prompt_size": config.connector.num_query_tokens,
        "target_layer_ids": list(target_layers),
        "use_lora": config.lora is not None,
        **({} if config.lora is None else {"desta_lora": asdict(config.lora)}),
        "encoder_window": config.window,
        "qformer_intermediate_size": config.connector.ffn_dim,
        "qformer_dropout": config.connector.dropout,
        "qformer_normalise_frames": config.connector.normalise_frames,
        "desta_dtype": config.dtype,
        "desta_backbone_dtype": config.backbone_dtype,
        "desta_backbone_quantisation": config.backbone_quantization,
        "desta_transcriber": config.transcriber,
        "desta_format": FORMAT,
    }


def from_published(fields: Mapping[str, Any], *, where: str) -> ModelConfig:
    """Return the configuration in the fields of `config.json`; unknown fields are ignored.

    Without `encoder_window` (a published checkpoint) clips are padded to 30 s, as published.

    Raises:
        CheckpointError: a field is missing or invalid, or the checkpoint has another connector or a
            newer format.
    """
    missing = [k for k in ("llm_model_id", "encoder_model_id") if not fields.get(k)]
    if missing:
        raise CheckpointError(
            f"{where}/config.json lacks {', '.join(missing)}",
            fix="give the directory of a model written by `desta train` or by the published code",
        )
    written = fields.get("desta_format", 0)
    if not isinstance(written, int) or written > FORMAT:
        raise CheckpointError(
            f"{where} has checkpoint format {written}, newer than {FORMAT}", fix="update desta"
        )
    mode = fields.get("connector_mode", "qformer_1")
    if mode != "qformer_1":
        raise CheckpointError(
            f'{where}: connector_mode "{mode}" is unknown', fix='only "qformer_1" can be loaded'
        )
    connector = {ours: fields[k] for k, ours in _CONNECTOR.items() if fields.get(k) is not None}
    connector.setdefault("num_layers", 2)  # the default of the published configuration class
    connector.setdefault("normalise_frames", False)  # published checkpoints lack the field
    top = {ours: fields[k] for k, ours in _TOP.items() if fields.get(k) is not None}
    top.setdefault("window", "30s")
    if fields.get("use_lora"):
        top["lora"] = fields.get("desta_lora", {})  # without it: the published values
    try:
        return build_config(
            ModelConfig, {**top, "connector": connector}, where=f"{where}/config.json"
        )
    except ConfigError as error:
        message = error.message
        for name, ours in {**_TOP, **{k: f"connector.{v}" for k, v in _CONNECTOR.items()}}.items():
            message = message.replace(f'"{ours}"', f'"{name}"')
        raise CheckpointError(message, fix=error.fix) from error
