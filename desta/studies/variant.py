"""A variant: one of the runs that a study compares."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

from desta.construction.config import ConstructConfig
from desta.evaluation.base import MODEL
from desta.records import AudioTextPair
from desta.studies.recipe import Base
from desta.training.config import TrainConfig


class Change(Protocol):
    """Change of pairs after they were chosen; a frozen dataclass, told from others by its text."""

    def __call__(self, pair: AudioTextPair) -> AudioTextPair:
        """Return the pair, changed."""


@dataclass(frozen=True, kw_only=True)
class Variant:
    """Recipes of a run, and what is done between them."""

    name: str
    """Name in tables and folders."""
    about: str
    """Description in a sentence."""
    construct: ConstructConfig
    train: TrainConfig
    num_prompts: int | None = None
    """Most prompts of each domain that are drawn from; None for the whole pool."""
    change: Change | None = None
    """Change of the pairs that are trained on."""
    system: str = MODEL
    """System that answers; another than the model takes the run of the first variant."""

    @property
    def trains(self) -> bool:
        """Whether it has runs of its own."""
        return self.system == MODEL


@dataclass(frozen=True, kw_only=True)
class Family:
    """A study: a question, and the variants that answer it."""

    name: str
    title: str
    """The question."""
    expected: str
    """Prediction of the paper, or of common sense."""
    variants: Callable[[Base], list[Variant]]
    """Base -> variants; every other is compared with the first."""


def variant(base: Base, name: str, about: str, **changes: Any) -> Variant:
    """Return a variant with the recipes of the base, but for `changes`."""
    return replace(
        Variant(name=name, about=about, construct=base.construct, train=base.train), **changes
    )
