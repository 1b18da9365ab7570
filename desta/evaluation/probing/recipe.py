"""Recipe of a probe: which backbones, by which engine, how much is asked."""

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self, cast, get_args

from desta.errors import ConfigError
from desta.generators.config import EngineConfig, GeneratorConfig, LocalEngine
from desta.model.config import Dtype, Quantization


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """A backbone to probe, perhaps with quantized weights."""

    name: str
    """As it was given: `MODEL`, `MODEL:int8` or `MODEL:nf4`."""
    model: str
    """Hub id, zoo name, directory or GGUF file."""
    quantization: Quantization | None = None

    @classmethod
    def parse(cls, name: str) -> Self:
        """Return the backbone of a name.

        >>> Backbone.parse("models/tiny:int8").quantization
        'int8'
        """
        model, colon, how = name.rpartition(":")
        if colon and how in get_args(Quantization):
            return cls(name=name, model=model, quantization=cast(Quantization, how))
        return cls(name=name, model=name)

    @property
    def folder(self) -> str:
        """Name of the folder of its answers."""
        return re.sub(r"[^\w.-]+", "_", self.name).strip("_") or "_"


@dataclass(frozen=True, kw_only=True)
class ProbeRecipe:
    """Recipe of a probe."""

    models: tuple[str, ...]
    """Backbones; `MODEL:int8` has its weights quantized."""
    questions: Path | None = None
    """File of other questions; null: those of the benchmark `probe`."""
    limit: int | None = None
    """Questions to draw by their ids; null: all."""
    descriptions: int = 300
    """Descriptions that the backbone responds to."""
    engine: EngineConfig = field(default_factory=LocalEngine)
    dtype: Dtype = "auto"
    """Number format of the backbones; `auto` is bfloat16 where the device is fast in it."""
    backbone_dtype: Dtype = "bfloat16"
    """Number format that their weights are rounded to, as in construction."""
    batch_size: int = 16

    def __post_init__(self) -> None:
        for name in ("limit", "descriptions", "batch_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name} = {value} leaves nothing to do", fix="give 1 or more")
        if not self.models:
            raise ConfigError("models names no backbone", fix="name one or more")
        [(folder, count)] = Counter(one.folder for one in self.backbones).most_common(1)
        if count > 1:
            raise ConfigError(
                f"{count} of the models have one folder, {folder}",
                fix="name every model once, and in one way",
            )

    @property
    def backbones(self) -> tuple[Backbone, ...]:
        """The backbones, in the order of `models`."""
        return tuple(map(Backbone.parse, self.models))

    def generator(self, backbone: Backbone) -> GeneratorConfig:
        """Return the settings by which a backbone is loaded."""
        return GeneratorConfig(
            backbone=backbone.model,
            engine=self.engine,
            dtype=self.dtype,
            backbone_dtype=self.backbone_dtype,
            backbone_quantization=backbone.quantization,
        )
