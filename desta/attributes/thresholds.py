"""Thresholds that turn numbers into words: percentiles per sex, kept in a file.

The same thresholds can be used for another corpus, so that `Very high` means the same in both.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import numpy as np

from desta.attributes.signal import MEASURES
from desta.errors import DataError
from desta.files import write_atomic

FORMAT = 1
PERCENTILES = (10.0, 30.0, 70.0, 90.0)
"""Borders of the five words: the middle one covers 40 % of the clips, the outer ones 10 % each."""
ANY = "any"
"""All speakers: used if the sex is unknown or too rare."""
MIN_CLIPS = 20
"""Least number of clips for percentiles."""


@dataclass(frozen=True, kw_only=True)
class Borders:
    """Borders between the words of one measure, for one sex."""

    borders: tuple[float, ...]
    """Ascending, in the unit of the measure; a value on a border gets the upper word."""
    clips: int
    """Number of clips that they were found on."""


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """Measure -> sex (`Female`, `Male` or `any`) -> borders."""

    groups: Mapping[str, Mapping[str, Borders]]

    def word(self, measure: str, value: float, sex: str | None) -> str:
        """Return the word for a value of a measure with borders."""
        groups = self.groups[measure]
        found = groups.get(sex or ANY) or groups[ANY]
        return MEASURES[measure].words[int(np.searchsorted(found.borders, value, side="right"))]

    def write(self, path: Path) -> None:
        """Write the thresholds to a JSON file."""
        tree = {
            "format": FORMAT,
            "percentiles": PERCENTILES,
            "measures": {
                name: {
                    "unit": MEASURES[name].unit,
                    "words": MEASURES[name].words,
                    "groups": {group: asdict(found) for group, found in groups.items()},
                }
                for name, groups in self.groups.items()
            },
        }
        write_atomic(path, f"{json.dumps(tree, indent=2)}\n".encode())

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read the thresholds that an earlier `desta measure` wrote.

        Raises:
            DataError: the file is missing, or does not hold thresholds.
        """
        if not path.is_file():
            raise DataError(
                f"{path} is not a file",
                fix="give the thresholds.json of an earlier `desta measure`",
            )
        try:
            tree = json.loads(path.read_text(encoding="utf-8"))
            if tree["format"] != FORMAT:
                raise ValueError(f"its format is {tree['format']}, not {FORMAT}")
            groups = {name: _groups(name, found) for name, found in tree["measures"].items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f"{path} holds no thresholds: {error}",
                fix="give the thresholds.json of an earlier `desta measure`",
            ) from error
        return cls(groups=groups)

    def require(self, measures: Iterable[str], where: Path) -> None:
        """Raise DataError if a measure has no borders."""
        for name in measures:
            if name not in self.groups:
                raise DataError(
                    f"{where} has no thresholds of {name}",
                    fix="leave it out of --attributes, or measure it without --thresholds",
                )


def fit(
    values: Mapping[str, Mapping[str | None, Sequence[float]]],
    missing: Mapping[str, Mapping[str, int]],
) -> Thresholds:
    """Compute the borders of every measure.

    Args:
        values: measure -> sex -> values of the clips.
        missing: measure -> reason -> number of clips without a value, for the error message.

    Raises:
        DataError: too few clips have a value.
    """
    groups = {name: _fit(name, found, missing[name]) for name, found in values.items()}
    return Thresholds(groups=groups)


def _fit(
    name: str, values: Mapping[str | None, Sequence[float]], missing: Mapping[str, int]
) -> dict[str, Borders]:
    count = sum(map(len, values.values()))
    if count < MIN_CLIPS:
        commonest = sorted(missing.items(), key=lambda item: -item[1])
        others = ", ".join(f'{count} times "{reason}"' for reason, count in commonest)
        raise DataError(
            f"{count} clips have a value of {name}, too few for percentiles "
            f"({MIN_CLIPS} are needed)" + (f"; the others: {others}" if others else ""),
            fix="give --thresholds of a larger corpus, or leave it out of --attributes",
        )
    groups = {ANY: np.concatenate([np.asarray(own, float) for own in values.values()])}
    for sex in sorted(filter(None, values)):
        if len(own := np.asarray(values[sex], float)) >= MIN_CLIPS:
            groups[sex] = own
    return {
        group: Borders(
            borders=tuple(float(b) for b in np.percentile(own, PERCENTILES).round(4)),
            clips=len(own),
        )
        for group, own in groups.items()
    }


def _groups(name: str, measure: Mapping[str, Any]) -> dict[str, Borders]:
    """Check and return the borders of one measure in a file."""
    if name not in MEASURES:
        raise ValueError(f"{name!r} is no measure")
    if tuple(measure["words"]) != MEASURES[name].words:
        raise ValueError(f"the words of {name} are others")
    groups = {
        group: Borders(borders=tuple(float(b) for b in found["borders"]), clips=found["clips"])
        for group, found in measure["groups"].items()
    }
    if ANY not in groups:
        raise ValueError(f"{name} has no group {ANY!r}")
    for group, found in groups.items():
        if len(found.borders) != len(PERCENTILES) or any(a > b for a, b in pairwise(found.borders)):
            raise ValueError(f"the borders of {name} for {group} are not four ascending numbers")
    return groups
