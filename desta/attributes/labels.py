"""Kinds of pseudo-labels: attribute, meaning of labels, and default classifier."""

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
class LabelKind:
    """An attribute that classifiers can label, with a default classifier."""

    name: str
    """Name in `--label`."""
    attribute: str
    """Name in seed descriptions."""
    value: Callable[[str], str | None]
    """Label of a classifier -> value of the attribute; None if it is not one."""
    model: str | None = None
    """Default classifier, an id on the Hub; None if none loads without remote code."""
    licence: str = ""
    source: str = ""
    """Training data of the default classifier."""


LABEL_KINDS = {
    kind.name: kind
    for kind in (
        LabelKind(
            name="sex",
            attribute="Gender",
            value=gender_name,
            model="alefiury/wav2vec2-large-xlsr-53-gender-recognition-librispeech",
            licence="Apache-2.0",
            source="LibriSpeech",
        ),
        LabelKind(name="age", attribute="Age", value=age_name),
        LabelKind(
            name="emotion",
            attribute="Emotion",
            value=emotion_name,
            model="superb/wav2vec2-base-superb-er",
            licence="Apache-2.0",
            source="IEMOCAP: happy, sad, angry, neutral",
        ),
        LabelKind(name="accent", attribute="Accent", value=readable),
        LabelKind(
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
    """A requested pseudo-label: its kind and the classifier."""

    kind: LabelKind
    model: str
    """Id on the Hub, or a folder."""

    @classmethod
    def parse(cls, text: str) -> "Label":
        """Parse `NAME` or `NAME=MODEL`.

        Raises:
            ConfigError: the name is unknown, or needs a model.
        """
        name, _, model = text.partition("=")
        kind = LABEL_KINDS.get(name)
        if kind is None:
            raise ConfigError(
                f'"{name}" is not a pseudo-label', fix=suggest(name, list(LABEL_KINDS))
            )
        if not (model or kind.model):
            raise ConfigError(
                f"no classifier is known for {name}",
                fix=f"name one: --label {name}=FOLDER_OR_HUB_ID",
            )
        return cls(kind=kind, model=model or kind.model or "")


class Labeller(Protocol):
    """Source of a pseudo-label, such as `desta.attributes.classifiers.Classifier`."""

    label: Label
    key: str
    """Key of its values in the journal, which depends on its weights."""

    def __call__(self, samples: NDArray[np.float32]) -> tuple[str, float]:
        """Return the value and its probability for a recording, (T,), mono at 16 kHz.

        Raises:
            Unmeasured: the recording has no value.
        """
