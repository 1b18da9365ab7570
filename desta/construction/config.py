"""Recipe of a data set."""

import math
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Literal

from desta.config import suggest
from desta.construction.description import DescriptionConfig
from desta.construction.duplicates import DUPLICATE
from desta.construction.filters import FILTERS, FIRST_WORDS
from desta.construction.groups import GroupsConfig
from desta.errors import ConfigError
from desta.generators.config import EngineConfig, LocalEngine
from desta.model.backbone.sampling import Sampling
from desta.model.config import Dtype, Quantization
from desta.records import DOMAINS, Domain, Split
from desta.renamed import filter_id


@dataclass(frozen=True, kw_only=True)
class ClipsConfig:
    """Clips of one corpus, and their selection."""

    path: Path
    """`clips.jsonl`, written by `desta describe`."""
    root: Path
    """Folder that the audio paths in it are relative to."""
    where: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Attribute -> accepted values; other clips are left out."""
    min_seconds: float = 0.0
    """Shortest clip that is taken: a single word hardly tells its language."""
    per_value: Mapping[str, int] = field(default_factory=dict)
    """Attribute -> limit of clips per value, drawn by seed."""
    prompts_per_clip: int = 1
    """Different prompts about each clip, fewer where fewer suit it; training can read their pairs
    as one sequence (`data.questions_per_clip`)."""
    ask_for: tuple[str, ...] | None = None
    """Attributes that prompts may ask for; null for all attributes of a clip."""
    groups: tuple[GroupsConfig, ...] = ()
    """Pairs about several clips, with prompts of `multi.txt`."""

    def __post_init__(self) -> None:
        for name, count in {"prompts_per_clip": self.prompts_per_clip, **self.per_value}.items():
            if count < 1:
                raise ConfigError(f"{name} = {count} leaves nothing", fix="give 1 or more")
        if not 0 <= self.min_seconds < math.inf:
            raise ConfigError(f"min_seconds = {self.min_seconds}", fix="give 0 or more")


_DRAWN = (
    "clips",
    "split",
    "system",
    "systems",
    "description",
    "withhold",
    "kinds",
    "ask_evenly",
    "unknown_share",
)
"""Keys that choose and word prompts."""
NEED_METADATA = frozenset(
    {"misses_attribute", "begins_with_other", "invents_attribute", "states_other_value"}
)
"""Filters that compare a response with the metadata of the clip."""


@dataclass(frozen=True, kw_only=True)
class ConstructConfig:
    """Recipe of a data set."""

    clips: tuple[ClipsConfig, ...] = ()
    """Corpora; none with `regenerate`."""
    regenerate: Path | None = None
    """Data set, with or without a manifest, whose prompts get new responses. Everything else stays,
    so nothing that chooses or words prompts may be set."""
    backbone: str
    """Hub id, zoo name, directory or GGUF file of the model that writes the responses, and is later
    trained on them."""
    sampling: Sampling
    """Sampling of the responses (published: temperature 0.05, top-p 1.0)."""
    dtype: Dtype = "auto"
    """Number format of the backbone; `auto` is bfloat16 where the device is fast in it."""
    backbone_dtype: Dtype = "bfloat16"
    """Number format that its weights are rounded to; must be the same in training."""
    backbone_quantization: Quantization | None = None
    """Store its weights in 8 bits, or on a GPU in 4, to save memory; responses change slightly."""
    engine: EngineConfig = field(default_factory=LocalEngine)
    """Engine that runs it: in this process, vLLM, an endpoint, or scripted responses."""
    split: Split = "train"
    system: str = (
        "You can hear the audio between <start_audio> and <end_audio>. "
        "Listen closely and respond directly to what you are asked."
    )
    """System prompt, also in training; empty for none."""
    systems: Literal["text", "pool"] = "text"
    """`pool` draws a system prompt for every pair from `system.txt`; `text` uses `system`."""
    description: DescriptionConfig = field(default_factory=DescriptionConfig)
    withhold: float = 0.0
    """Share of pairs without transcription, which must rely on the sound alone."""
    prompts: Path | None = None
    """Folder with custom prompt pools; null for those of this package."""
    kinds: Mapping[Domain, Mapping[str, float]] = field(default_factory=dict)
    """Domain -> kind of prompt -> weight; in other domains all prompts are equally likely."""
    ask_evenly: bool = False
    """Draw the attributes that prompts of a kind are about equally often, however many prompts each
    has in the pool."""
    unknown_share: float = 0.0
    """Share of clips whose last prompt asks for an unknown attribute, so that the model learns to
    say that it is unknown."""
    filters: tuple[str, ...] = (
        "empty",
        "cut_off",
        "repeats_itself",
        "talks_about_text",
        "has_reasoning_mark",
    )
    """Ids of filters in order; a response is counted under the first that drops it."""
    first_words: int = FIRST_WORDS
    """Words of a response among which the filter `begins_with_other` looks for what was asked."""
    max_same: int = 5
    """Different kinds of clips that may get the same response to a prompt; further ones count as
    `duplicate`."""
    max_dropped_share: float = 0.5
    """Share of dropped items above which the run fails."""
    batch_size: int = 64
    """Requests sent to the engine at once; only the local engine runs them as one batch."""
    seed: int = 0
    shard_rows: int = 10_000

    def __post_init__(self) -> None:
        object.__setattr__(self, "filters", tuple(map(filter_id, self.filters)))
        known = [*FILTERS, DUPLICATE]
        for name in self.filters:
            if name not in known:
                raise ConfigError(f'unknown filter "{name}"', fix=suggest(name, known))
        for domain in self.kinds:
            if domain not in DOMAINS:
                raise ConfigError(f'unknown domain "{domain}"', fix=suggest(domain, DOMAINS))
        for name in ("batch_size", "shard_rows", "max_same", "first_words"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} = {getattr(self, name)}", fix="give 1 or more")
        for name in ("withhold", "unknown_share", "max_dropped_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(
                    f"{name} = {getattr(self, name)} is not a share", fix="give 0 to 1"
                )
        if self.regenerate is not None:
            self._check_regenerate()
        elif not self.clips:
            raise ConfigError("clips names no corpus", fix="list one `path` and `root` or more")

    def _check_regenerate(self) -> None:
        defaults = {
            f.name: f.default if f.default_factory is MISSING else f.default_factory()
            for f in fields(self)
        }
        if drawn := [name for name in _DRAWN if getattr(self, name) != defaults[name]]:
            raise ConfigError(
                f"regenerate keeps prompts and descriptions as they are, and {drawn[0]} is set",
                fix=f"take {', '.join(drawn)} out of the recipe",
            )
        if blind := [name for name in self.filters if name in NEED_METADATA]:
            raise ConfigError(
                f'the filter "{blind[0]}" needs the metadata of clips, which rows do not hold',
                fix="take it out of the recipe's filters",
            )
