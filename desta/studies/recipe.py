"""Recipe of a study: the recipes that its variants change, and the budget that they share."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

from desta.config import load_recipe
from desta.construction.config import ConstructConfig
from desta.errors import ConfigError
from desta.evaluation.benchmarks.attributes.questions import AttributesData
from desta.evaluation.benchmarks.text import TextData
from desta.evaluation.recipe import EvalRecipe, load_eval_recipe
from desta.training.config import TrainConfig


@dataclass(frozen=True, kw_only=True)
class Speed:
    """Rates of a machine per second, to estimate the time of a study before its first run.

    The defaults are those of two cores, for Whisper-base and a backbone of 135 M parameters.
    """

    write: float = 10.0
    """Responses."""
    first: float = 4.0
    """Pairs of the first stage, which does not run the backbone."""
    train: float = 3.2
    """Pairs of training."""
    answer: float = 3.0
    """Answers of an evaluation."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                raise ConfigError(f"speed.{name} = {value}", fix="give a number above 0")


@dataclass(frozen=True, kw_only=True)
class StudyRecipe:
    """Base recipe of a study.

    The recipes that it names are those of `desta construct`, `desta train` and `desta eval`; what a
    study decides (backbone, data, model, systems, seed) is replaced in them.
    """

    backbone: str
    """Backbone that is trained, and by default writes its own responses."""
    other: str | None = None
    """Another backbone: the stranger of `targets`, the second of `backbone`."""
    construct: Path
    """Recipe of the data set."""
    first: Path | None = None
    """Recipe of a first stage, with `words`, that variants share; null for none."""
    train: Path
    """Training recipe; with `data.batch_rows`, so that every step reads equally many pairs."""
    attributes: Path
    """Recipe of the benchmark `attributes`, with held-out clips."""
    text: Path | None = None
    """Recipe of the benchmark `text`, with prompts without a clip; null for its own."""
    sakura: Path | None = None
    """Folder of SAKURA, scored by rule; null leaves it out."""
    pairs: int
    """Pairs that every variant is trained on: the same clips and prompts, if they have them."""
    instructions: int = 40
    """Questions with an instruction about the form of the answer; 0 leaves them out."""
    likelihoods: int = 200
    """Targets of which the perplexity under the backbone is computed."""
    speed: Speed = field(default_factory=Speed)

    def __post_init__(self) -> None:
        for name, least in {"pairs": 1, "instructions": 0, "likelihoods": 1}.items():
            if getattr(self, name) < least:
                raise ConfigError(
                    f"{name} = {getattr(self, name)} is too small", fix=f"give {least} or more"
                )


@dataclass(frozen=True, kw_only=True)
class Base:
    """The recipes of a study, read: what every variant begins as."""

    study: StudyRecipe
    construct: ConstructConfig
    first: TrainConfig | None
    train: TrainConfig
    attributes: EvalRecipe[AttributesData]
    text: EvalRecipe[TextData]

    @classmethod
    def load(cls, path: Path, overrides: Sequence[str] = ()) -> Self:
        """Read a base recipe and the recipes that it names.

        Raises:
            ConfigError: one is missing or wrong, or a step would not read equally many pairs.
        """
        study = load_recipe(path, StudyRecipe, overrides)
        construct = load_recipe(study.construct, ConstructConfig)
        if construct.regenerate is not None:
            raise ConfigError(
                f"{study.construct} regenerates a data set, and a study draws its own",
                fix="name a recipe with clips",
            )
        first = None if study.first is None else load_recipe(study.first, TrainConfig)
        if first is not None and not first.words:
            raise ConfigError(
                f"{study.first} is no first stage: it has no words", fix="give `words` in it"
            )
        train = load_recipe(study.train, TrainConfig)
        stages = [(study.train, train)] + ([] if first is None else [(study.first, first)])
        for where, config in stages:
            check_batches(where, config)
        return cls(
            study=study,
            construct=replace(construct, backbone=study.backbone),
            first=None if first is None else _on(study.backbone, first),
            train=_on(study.backbone, train),
            attributes=load_eval_recipe(study.attributes, AttributesData),
            text=EvalRecipe(data=TextData())
            if study.text is None
            else load_eval_recipe(study.text, TextData),
        )

    @property
    def other(self) -> str:
        """The other backbone.

        Raises:
            ConfigError: the recipe names none.
        """
        if self.study.other is None:
            raise ConfigError("the study compares two backbones", fix="give --set other=BACKBONE")
        return self.study.other


def _on(backbone: str, config: TrainConfig) -> TrainConfig:
    """Return a training recipe on a backbone; a study validates by its measures alone."""
    return replace(
        config,
        model=replace(config.model, backbone=backbone),
        data=replace(config.data, validation=()),
    )


def check_batches(where: Path | None, config: TrainConfig) -> None:
    """Refuse a recipe whose steps would read more pairs where responses are shorter."""
    data = config.data
    if data.batch_rows is None:
        raise ConfigError(
            f"{where} does not say how many pairs a step reads, and the variants would read "
            "different numbers",
            fix="give data.batch_rows in it",
        )
    needed = data.batch_rows * data.max_tokens * data.questions_per_clip
    if data.token_budget < needed:
        raise ConfigError(
            f"{where}: data.token_budget = {data.token_budget} can cut a batch of "
            f"{data.batch_rows} pairs short",
            fix=f"give {needed}, batch_rows x max_tokens x questions_per_clip: it must never bind",
        )
