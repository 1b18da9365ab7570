"""Measurements as Markdown and JSON."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from measure.settings import PUBLISHED

SAMPLES = "training, samples/s"
MEMORY = "training, peak memory above the weights, GiB"
SHARE = "training, share of the matrix-product peak, %"
_HIGHER_IS_BETTER = ("answers/s", SAMPLES, SHARE)


@dataclass(frozen=True, kw_only=True)
class Record:
    """Values of one measure with one of the settings."""

    seconds: int
    """Length of the clips."""
    settings: str
    measure: str
    values: list[float] = field(default_factory=list)
    """One value per round."""

    @property
    def median(self) -> float:
        """Median over rounds, which is the figure shown."""
        return median(self.values)


class Records:
    """All records of one device, in order."""

    def __init__(self, records: Iterable[Record] = ()) -> None:
        self._by_key = {(r.seconds, r.settings, r.measure): r for r in records}

    def add(self, seconds: int, settings: str, measure: str, value: float) -> None:
        """Add the value of a round."""
        key = seconds, settings, measure
        if key not in self._by_key:
            self._by_key[key] = Record(seconds=seconds, settings=settings, measure=measure)
        self._by_key[key].values.append(value)

    def all(self) -> list[Record]:
        """Return every record."""
        return list(self._by_key.values())

    def get(self, seconds: int, settings: str, measure: str) -> Record:
        """Return one record."""
        return self._by_key[seconds, settings, measure]

    def rows(self) -> list[dict[str, Any]]:
        """Return rows that compare the last settings of every measure with the published ones."""
        last: dict[tuple[int, str], Record] = {}
        for record in self._by_key.values():
            last[record.seconds, record.measure] = record
        rows = []
        measures = list(dict.fromkeys(measure for _, measure in last))
        for (seconds, measure), ours in sorted(
            last.items(), key=lambda item: (measures.index(item[0][1]), item[0][0])
        ):
            published = self.get(seconds, PUBLISHED, measure)
            pairs = zip(published.values, ours.values, strict=True)
            gains = [gain(measure, before, after) for before, after in pairs]
            rows.append(
                {
                    "measure": measure,
                    "seconds": seconds,
                    "published": published.median,
                    "ours": ours.median,
                    "ratio": gain(measure, published.median, ours.median),
                    "lowest": min(gains),
                    "highest": max(gains),
                }
            )
        return rows


def gain(measure: str, before: float, after: float) -> float:
    """Return the factor by which a measure improved.

    >>> gain("answers/s, 4 at a time", 1.0, 3.0), gain("first token, s", 3.0, 1.0)
    (3.0, 3.0)
    """
    if before <= 0 or after <= 0:  # memory below the resolution
        return float("nan")
    return after / before if measure.startswith(_HIGHER_IS_BETTER) else before / after


def comparison(rows: Sequence[dict[str, Any]]) -> str:
    """Return the table of published settings and ours; figures are medians of rounds."""
    lines = [
        "| | clips of | published settings | ours | times better (lowest to highest) |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        ratio = f"{row['ratio']:.2f} ({row['lowest']:.2f} to {row['highest']:.2f})"
        figures = f"{row['published']:.3g} | {row['ours']:.3g}"
        lines.append(f"| {row['measure']} | {row['seconds']} s | {figures} | {ratio} |")
    return "\n".join(lines)


def ladder(records: Sequence[Record]) -> str:
    """Return the table of levers, with the gain over the line before in parentheses.

    Args:
        records: records of one length; all settings have the same measures.
    """
    cells = {(r.settings, r.measure): r.median for r in records}
    settings = list(dict.fromkeys(name for name, _ in cells))
    measures = list(dict.fromkeys(measure for _, measure in cells))
    lines = [f"| {' | '.join(['one lever after the other', *measures])} |"]
    lines.append("|---" * (len(measures) + 1) + "|")
    for name, before in zip(settings, [None, *settings], strict=False):
        line = [name]
        for measure in measures:
            value = cells[name, measure]
            times = ""
            if before is not None:
                times = f" ({gain(measure, cells[before, measure], value):.2f}x)"
            line.append(f"{value:.3g}{times}")
        lines.append(f"| {' | '.join(line)} |")
    return "\n".join(lines)


def report(device: str, figures: dict[str, Any]) -> str:
    """Return all tables of one device from its figures in the JSON file."""
    records = [Record(**record) for record in figures["records"]]
    rung = figures["ladder_seconds"]
    parts = [f"### {device}: {figures['processor']}", comparison(figures["rows"])]
    for prefixes in (("training",), ("first token", "transcribing"), ("answers/s",)):
        chosen = [r for r in records if r.seconds == rung and r.measure.startswith(prefixes)]
        if chosen:
            parts += [f"Clips of {rung} s, {prefixes[0]}:", ladder(chosen)]
    return "\n\n".join(parts)
