"""Measurements and labels of one clip; the part that runs in many processes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from desta.attributes.signal import MEASURES, Recording, Unmeasured
from desta.isolation import error_of
from desta.records import Clip
from desta.sources.files import load_clip

NO_VALUE = "the measured value is not a number"
NO_SPEECH = "it is not a speech clip"


@dataclass(kw_only=True)
class Raw:
    """Findings of one clip."""

    values: dict[str, float | str] = field(default_factory=dict)
    """Measure, or attribute, model and revision of a classifier -> value."""
    missing: dict[str, str] = field(default_factory=dict)
    """The same names -> reason why there is no value."""
    scores: dict[str, float] = field(default_factory=dict)
    """Classifier -> probability of its label."""
    broken: str | None = None
    """Reason why the recording cannot be read."""

    def is_settled(self, name: str) -> bool:
        """Return whether the name needs no further work."""
        return self.broken is not None or name in self.values or name in self.missing


def measure_clip(root: Path, clip: Clip, names: Sequence[str]) -> Raw:
    """Measure one clip; the recording is only opened if a measure applies to it."""
    if clip.domain != "speech":
        return Raw(missing=dict.fromkeys(names, NO_SPEECH))
    try:
        recording = Recording(clip=clip, audio=load_clip(root, clip))
    except Exception as error:
        return Raw(broken=error_of(error, clip.id).reason)
    raw = Raw()
    for name in names:
        try:
            value = round(MEASURES[name].of(recording), 4)
        except Unmeasured as reason:
            raw.missing[name] = str(reason)
        except Exception as error:
            raw.missing[name] = error_of(error, clip.id).reason
        else:
            if math.isfinite(value):
                raw.values[name] = value
            else:
                raw.missing[name] = NO_VALUE
    return raw
