"""Which pseudo-labels there are: an attribute, how its labels read, and who is asked by default."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from desta.config import suggest
from desta.errors import ConfigError
from desta.sources.base import readable
from desta.sources.glossary import age_name, emotion_name, gender_name
from desta.sources.languages import language_of_label


@dataclass(frozen=True, kw_only=True)
class Kind:
    """An attribute that classifiers can say, and the one that is asked unless told otherwise."""

    name: str
    """What `--label` calls it."""
    attribute: str
    """What descriptions call it."""
    value: Callable[[str], str | None]
    """The label of a classifier -> the value of the attribute; None for what is none."""
    model: str | None = None
    """Its id on the Hub; None where no classifier is known that loads without code of its own."""
    licence: str = ""
    source: str = ""
    """What it was trained on."""


KINDS = {
    kind.name: kind
    for kind in (
        Kind(
            name="sex",
            attribute="Gender",
            value=gender_name,
            model="alefiury/wav2vec2-large-xlsr-53-gender-recognition-librispeech",
            licence="Apache-2.0",
            source="LibriSpeech",
        ),
        Kind(name="age", attribute="Age", value=age_name),
        Kind(
            name="emotion",
            attribute="Emotion",
            value=emotion_name,
            model="superb/wav2vec2-base-superb-er",
            licence="Apache-2.0",
            source="IEMOCAP: happy, sad, angry, neutral",
        ),
        Kind(name="accent", attribute="Accent", value=readable),
        Kind(
            name="language",
            attribute="Language",
            value=language_of_label,
            model="facebook/mms-lid-126",
            licence="CC-BY-NC-4.0",
            source="126 languages of MMS, FLEURS, VoxLingua107 and others",
        ),
    )
}


@dataclass(frozen=True, kw_only=True)
class Label:
    """One pseudo-label that is asked for: an attribute and the model that says it."""

    kind: Kind
    model: str
    """Id on the Hub, or a folder."""

    @classmethod
    def parse(cls, text: str) -> "Label":
        """Read `NAME` or `NAME=MODEL`.

        Raises:
            ConfigError: the name is unknown, or needs a model.
        """
        name, _, model = text.partition("=")
        kind = KINDS.get(name)
        if kind is None:
            raise ConfigError(f'"{name}" is no pseudo-label', fix=suggest(name, list(KINDS)))
        if not (model or kind.model):
            raise ConfigError(
                f"no classifier is known for {name}",
                fix=f"name one: --label {name}=FOLDER_OR_HUB_ID",
            )
        return cls(kind=kind, model=model or kind.model or "")


class Labeller(Protocol):
    """Who says a pseudo-label; `desta.attributes.classifiers.Classifier` is one."""

    label: Label
    key: str
    """What its values are kept under: other weights, another key."""

    def __call__(self, samples: NDArray[np.float32]) -> tuple[str, float]:
        """Return the value and its probability for a recording, (T,), mono at 16 kHz.

        Raises:
            Unmeasured: it has none.
        """
