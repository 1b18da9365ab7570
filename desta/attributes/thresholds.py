"""From numbers to words: borders by percentiles, one set for each sex, kept in a file.

The same borders can be used for another corpus, so that `Very high` means the same in both.
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
"""Between the five words: the middle one is for 40 % of the clips, the outer ones for 10 % each."""
ANY = "any"
"""All speakers: for those whose sex is not known, and for a sex that is heard too rarely."""
MIN_CLIPS = 20
"""Fewer have no percentiles worth the name."""


@dataclass(frozen=True, kw_only=True)
class Borders:
    """Where the words of one measure meet, for one sex."""

    borders: tuple[float, ...]
    """In the unit of the measure, ascending; what lies on a border belongs to the upper word."""
    clips: int
    """How many were measured for it."""


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """Measure -> sex (`Female`, `Male` or `any`) -> borders."""

    groups: Mapping[str, Mapping[str, Borders]]

    def word(self, measure: str, value: float, sex: str | None) -> str:
        """Return the word for a value of a measure that has borders."""
        groups = self.groups[measure]
        found = groups.get(sex or ANY) or groups[ANY]
        return MEASURES[measure].words[int(np.searchsorted(found.borders, value, side="right"))]

    def write(self, path: Path) -> None:
        """Write them to a JSON file."""
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
        """Read them from a file that an earlier `desta measure` wrote.

        Raises:
            DataError: it is missing, or not such a file.
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
        """Raise DataError if a measure has no borders here."""
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
    """Find the borders of every measure.

    Args:
        values: measure -> sex -> values of the clips that have one.
        missing: measure -> reason -> clips that have none, for the error.

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
    """Check what a file says of one measure."""
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
