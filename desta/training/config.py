"""Recipe of a training run."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from desta.audio.augment.config import AugmentConfig
from desta.config import suggest
from desta.errors import ConfigError
from desta.model.config import AUTO, ModelConfig


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Training and validation data."""

    train: tuple[Path, ...]
    """Data set directories."""
    validation: tuple[Path, ...] = ()
    """Data set directories for the validation loss; none means no validation."""
    audio_root: Path = Path()
    """Directory that the audio paths of the pairs are relative to."""
    token_budget: int = 2048
    """Tokens of a micro-batch, padding included."""
    batch_rows: int | None = None
    """Most pairs of a micro-batch. With a `token_budget` that never binds, every step reads equally
    many pairs, however long their responses are; null for no limit."""
    chunk_rows: int = 1024
    """Rows that are sorted by length together: more means less padding, but batches of similar
    pairs; with few pairs set it to a few batches' worth."""
    packing: bool = False
    """Pack the pairs of a micro-batch into one row instead of padding them: no token is wasted, but
    attention is computed over the whole row (docs/decisions/0013)."""
    share_prefix: bool = True
    """Compute the common prefix of the pairs of a micro-batch once and without gradient; ignored
    with packing, LoRA or fsdp2."""
    questions_per_clip: int = 1
    """Most pairs about a clip that are read as one sequence, in which the clip and all else that
    they begin with stand once; 1 reads every pair by itself. `prompts_per_clip` in the recipe of
    the data says how many a clip has. Ignored with a backbone that cannot."""
    group_windows: bool = True
    """Encode the clips of a micro-batch in groups of similar length, so that a long one does not
    pad the others; ignored with fsdp2."""
    max_text_tokens: int = 100
    """Transcriptions are cut after this many tokens (published: 100)."""
    max_tokens: int = 512
    """Sequences are cut before the end token of the response beyond this length."""
    num_workers: int = 0
    """Processes that read audio; 0 reads in the training process."""
    max_skipped_share: float = 0.02
    """Largest share of unusable pairs, in training or validation data, before the run stops."""
    augment: AugmentConfig | None = None
    """Augmentation of the training clips; null for none. A pair never gets a kind that changes what
    it states or asks (docs/guides/training.md)."""
    balance: tuple[str, ...] = ()
    """Attributes that are drawn equally often, as are the values of each: a pair counts for the one
    whose value its response names first. Pairs that name none keep their share."""
    balance_weights: Mapping[str, float] = field(default_factory=dict)
    """Attribute of `balance` -> how often it is drawn, where 1 is as often as the others."""

    def __post_init__(self) -> None:
        if not self.train:
            raise ConfigError("data.train is empty", fix="name the directory of a data set")
        for name, weight in self.balance_weights.items():
            if name not in self.balance:
                raise ConfigError(
                    f'data.balance_weights names "{name}", which data.balance does not',
                    fix=suggest(name, self.balance),
                )
            if not 0 < weight < math.inf:
                raise ConfigError(
                    f'data.balance_weights."{name}" = {weight} is no weight', fix="give more than 0"
                )
        _check_least(self, "data.", chunk_rows=1, max_text_tokens=0, max_tokens=1, num_workers=0)
        _check_least(self, "data.", questions_per_clip=1)
        if self.batch_rows is not None:
            _check_least(self, "data.", batch_rows=1)
        _check_range(self, "data.", "max_skipped_share", "from 0 to 1", lambda v: 0 <= v <= 1)


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """AdamW with warm-up and cosine decay (published values as defaults)."""

    learning_rate: float = 1e-4
    beta1: float = 0.9
    beta2: float = 0.98
    weight_decay: float = 0.01
    warmup_steps: int = 2000
    clip_norm: float = 1.0
    """Gradients are scaled down to this global norm."""

    def __post_init__(self) -> None:
        _check_least(self, "optim.", warmup_steps=0)
        for name in ("learning_rate", "clip_norm"):
            _check_range(self, "optim.", name, "a number above 0", lambda v: 0 < v < math.inf)
        for name in ("beta1", "beta2"):
            _check_range(self, "optim.", name, "at least 0 and below 1", lambda v: 0 <= v < 1)
        _check_range(self, "optim.", "weight_decay", "0 or more", lambda v: 0 <= v < math.inf)


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Recipe of a training run: model, data, optimiser, validation, checkpoints."""

    model: ModelConfig
    data: DataConfig
    steps: int
    """Optimiser steps of the whole run."""
    distillation: float = 0.0
    """Share of the loss, in [0, 1], that is the Kullback-Leibler divergence from the backbone that
    reads the seed description to the model that hears, on the tokens of the response; the rest is
    the cross-entropy of the written response. 0 is as published."""
    words: tuple[str, ...] = ()
    """Attributes whose words, read off the descriptions in this order, the audio tokens learn to
    be, without the backbone: a first stage, from which another run can `start`. Empty to learn
    responses (docs/decisions/0045)."""
    start: Path | None = None
    """Trained model from whose connector the run starts; null for an untrained one."""
    optim: OptimConfig = field(default_factory=OptimConfig)
    accumulate: int = 1
    """Micro-batches of a step, per process."""
    device: str = AUTO
    """Device: auto (cuda, else mps, else cpu), cpu, cuda, cuda:1, ...; each of several processes
    uses its own GPU."""
    precision: Literal["auto", "bf16", "no"] = "auto"
    """Mixed precision of the connector; `auto` is bf16 where the device has it."""
    gradient_checkpointing: bool = False
    """Recompute the layers of the backbone in the backward pass: a third slower, in a fraction of
    the memory."""
    strategy: Literal["ddp", "fsdp2"] = "ddp"
    """Distribution of the model over processes: `ddp` replicates it, `fsdp2` shards it. Even with
    `fsdp2` the whole model must fit on every device while it is loaded."""
    validate_every: int = 500
    """Steps between validations."""
    validation_rows: int = 256
    """Pairs of a validation, the same ones every time."""
    num_samples: int = 4
    """Responses generated at every validation."""
    save_every: int = 500
    """Steps between checkpoints from which a run can be resumed."""
    seed: int = 0

    def __post_init__(self) -> None:
        _check_least(self, "", steps=1, accumulate=1, validate_every=1, save_every=1)
        _check_least(self, "", validation_rows=1, num_samples=0)
        _check_range(self, "", "distillation", "from 0 to 1", lambda v: 0 <= v <= 1)
        _check_range(self, "", "seed", "from 0 to 2**32 - 1", lambda v: 0 <= v < 2**32)
        if self.words and self.model.lora is not None:
            raise ConfigError(
                "words are learnt without the backbone, and model.lora would train it",
                fix="leave model.lora to the run that starts from this one",
            )
        if self.distillation and (self.words or self.model.lora is not None):
            raise ConfigError(
                f"distillation learns from the frozen backbone, which "
                f"{'words leave out' if self.words else 'model.lora changes'}",
                fix="set distillation: 0, or leave the other out",
            )
        if self.data.token_budget < self.data.max_tokens:
            raise ConfigError(
                f"data.token_budget = {self.data.token_budget} is below "
                f"data.max_tokens = {self.data.max_tokens}",
                fix="raise token_budget: a batch must hold the longest sequence",
            )


def _check_least(config: Any, where: str, **least: int) -> None:
    """Raise ConfigError for values below a minimum; `where` is the prefix of their names."""
    for name, smallest in least.items():
        value = getattr(config, name)
        if value < smallest:
            raise ConfigError(
                f"{where}{name} = {value} is too small", fix=f"give {smallest} or more"
            )


def _check_range(
    config: Any, where: str, name: str, wanted: str, holds: Callable[[float], bool]
) -> None:
    """Raise ConfigError for the value of a field outside its range, or NaN."""
    value = getattr(config, name)
    if not holds(value):
        raise ConfigError(f"{where}{name} = {value} is not {wanted}", fix=f"give {wanted}")
