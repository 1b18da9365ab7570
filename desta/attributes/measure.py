"""clips.jsonl -> clips.jsonl with more attributes, each with its origin.

Attributes of the corpus are never overwritten; measurements and labels that differ from them are
counted. Clips are read from the disk again for every step, so that memory stays small.
"""

import json
import math
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from desta.attributes.collect import collect
from desta.attributes.corpus import Corpus
from desta.attributes.findings import Findings
from desta.attributes.journal import MeasurementJournal
from desta.attributes.labels import Label, Labeller
from desta.attributes.raw import Raw
from desta.attributes.signal import MEASURES
from desta.attributes.thresholds import Thresholds, fit
from desta.config import suggest
from desta.errors import ConfigError, DataError
from desta.files import atomic_file, write_atomic
from desta.paths import check_folder
from desta.reasons import Reasons
from desta.records import CORPUS, MEASURED, MODEL_ORIGIN, Clip
from desta.sources.glossary import gender_name, noise_level

CLIPS = "clips.jsonl"
JOURNAL = "measured.ndjson"
FORMAT = "measured 1"
"""Raised whenever the meaning of a value changes."""
THRESHOLDS = "thresholds.json"
SUMMARY = "measure.json"
_RATIO = "Signal-to-noise ratio"

_Values = dict[str | None, "array[float]"]
"""Sex -> values of its clips, in the order of the clips."""


@dataclass(kw_only=True)
class _Range:
    """Number of values, and their range."""

    count: int = 0
    lowest: float = math.inf
    highest: float = -math.inf

    def add(self, value: float) -> None:
        self.count += 1
        self.lowest = min(self.lowest, value)
        self.highest = max(self.highest, value)


@dataclass(kw_only=True)
class MeasureSummary:
    """Summary of a call: values found, missing and differing."""

    clips: int = 0
    values: dict[str, Counter[str]] = field(default_factory=dict)
    """Attribute -> value -> number of clips that got it."""
    ranges: dict[str, _Range] = field(default_factory=dict)
    """Measure -> what was measured, in its unit."""
    missing: Reasons[tuple[str, str]] = field(default_factory=Reasons)
    """Clips without a value, by attribute and reason."""
    compared: Counter[str] = field(default_factory=Counter)
    """Attribute -> clips that had a value already."""
    differing: Reasons[tuple[str, str, str]] = field(default_factory=Reasons)
    """Clips with another value, by attribute, value of the clip and value found."""
    broken: Reasons[str] = field(default_factory=Reasons)
    """Recordings that cannot be read."""

    def summary(self) -> dict[str, Any]:
        """Return the summary as JSON."""
        return {
            "clips": self.clips,
            "attributes": {name: dict(found.most_common()) for name, found in self.values.items()},
            "measured": {
                name: {
                    "unit": MEASURES[name].unit,
                    "clips": found.count,
                    "lowest": found.lowest,
                    "highest": found.highest,
                }
                for name, found in self.ranges.items()
            },
            "missing": self.missing.rows("attribute", "reason"),
            "broken": self.broken.rows(),
            "compared": dict(self.compared),
            "differing": self.differing.rows("attribute", "kept", "found"),
        }


@dataclass(frozen=True)
class _Wanted:
    """Requested measures and labels."""

    measures: Sequence[str]
    classifiers: Sequence[Labeller]
    thresholds: Thresholds | None = None
    """Thresholds of an earlier call; None finds new ones."""

    @property
    def labels(self) -> list[Label]:
        """Labels of the classifiers."""
        return [classifier.label for classifier in self.classifiers]

    @property
    def worded(self) -> list[str]:
        """Measures whose values become words by thresholds."""
        return [name for name in self.measures if MEASURES[name].words]


def measure(
    clips: Path,
    root: Path,
    out: Path,
    *,
    measures: Sequence[str] = tuple(MEASURES),
    classifiers: Sequence[Labeller] = (),
    thresholds: Path | None = None,
    max_broken_share: float = 0.05,
    workers: int | None = None,
) -> MeasureSummary:
    """Measure and label clips; write `clips.jsonl`, `thresholds.json` and `measure.json`.

    The raw findings are kept in `measured.ndjson` for later calls.

    Args:
        clips: a `clips.jsonl`, which may be the one in `out`.
        root: folder that its paths are relative to.
        out: folder, created if missing.
        measures: names from `MEASURES`.
        classifiers: classifiers for pseudo-labels.
        thresholds: thresholds of an earlier call; None finds new ones.
        max_broken_share: share of recordings that may be unreadable.
        workers: number of processes, by default one per core.

    Raises:
        ConfigError: a name is unknown or given twice.
        DataError: clips or thresholds cannot be read, too few clips have a value for percentiles,
            or too many recordings are broken. Measurements are kept for the next call.
    """
    check_folder(out)
    wanted = _Wanted(measures, classifiers)
    check_measures(measures, wanted.labels)
    if thresholds is not None:
        given = Thresholds.read(thresholds)
        given.require(wanted.worded, thresholds)
        wanted = replace(wanted, thresholds=given)
    corpus = Corpus(clips, root)
    out.mkdir(parents=True, exist_ok=True)
    with MeasurementJournal(out / JOURNAL, FORMAT) as journal:  # locked until all is written
        found = collect(
            corpus, journal, measures=measures, classifiers=classifiers, workers=workers
        )
        return _write(corpus, found, out, wanted, max_broken_share)


def _write(
    corpus: Corpus, found: Findings, out: Path, wanted: _Wanted, max_broken_share: float
) -> MeasureSummary:
    """Write clips with the attributes that follow from the findings, thresholds and summary."""
    worded = wanted.worded

    def labelled(tally: MeasureSummary) -> Iterator[tuple[Clip, Raw]]:
        for clip, raw in zip(corpus, found, strict=True):
            yield _with_labels(_without(clip, wanted), raw, wanted.classifiers, tally), raw

    tally = MeasureSummary(clips=len(corpus))
    values: dict[str, _Values] = {name: {} for name in worded}
    reasons: dict[str, Counter[str]] = {name: Counter() for name in worded}
    for clip, raw in labelled(tally):
        if raw.broken is not None:
            tally.broken.add(raw.broken, clip.id)
        for name in worded:
            if name in raw.values:
                group = values[name].setdefault(_sex(clip), array("d"))
                group.append(float(raw.values[name]))
            if reason := raw.broken or raw.missing.get(name):
                reasons[name][reason] += 1
    _check_broken(tally, max_broken_share)
    borders = wanted.thresholds or fit(values, reasons)
    with atomic_file(out / CLIPS) as file:
        for clip, raw in labelled(MeasureSummary()):  # the labels are counted already
            done = _with_measures(clip, raw, wanted.measures, borders, tally)
            file.write(f"{json.dumps(done.to_json(), ensure_ascii=False)}\n".encode())
        borders.write(out / THRESHOLDS)
        summary = json.dumps(tally.summary(), ensure_ascii=False, indent=2)
        write_atomic(out / SUMMARY, f"{summary}\n".encode())
    return tally


def check_measures(measures: Sequence[str], labels: Sequence[Label]) -> None:
    """Raise ConfigError if a measure is unknown, a name is repeated, or nothing is requested."""
    for name in measures:
        if name not in MEASURES:
            raise ConfigError(f'"{name}" cannot be measured', fix=suggest(name, list(MEASURES)))
    names = [*measures, *(label.kind.name for label in labels)]
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise ConfigError(f'"{twice[0]}" is asked for twice', fix="name it once")
    if not names:
        raise ConfigError(
            "nothing is to be measured", fix=f"give --attributes {','.join(MEASURES)}, or --label"
        )


def _check_broken(tally: MeasureSummary, max_share: float) -> None:
    if tally.broken.total > max_share * tally.clips:
        reason, worst = tally.broken.most_common()[0]
        raise DataError(
            f"{tally.broken.total} of {tally.clips} recordings cannot be read, more than "
            f'{max_share:.0%}; {worst.count} times "{reason}", as {worst.example}',
            fix="check --root, repair or remove them, or allow a larger --max-broken-share",
        )


def _without(clip: Clip, wanted: _Wanted) -> Clip:
    """Remove attributes of an earlier call that this one adds again."""
    again = {MEASURES[name].attribute for name in wanted.measures}
    again |= {label.kind.attribute for label in wanted.labels}
    again |= {_RATIO} if "snr" in wanted.measures else set()
    gone = {name for name in again & clip.attributes.keys() if clip.origin(name) != CORPUS}
    if not gone:
        return clip
    return replace(
        clip,
        attributes={n: v for n, v in clip.attributes.items() if n not in gone},
        origins={n: o for n, o in clip.origins.items() if n not in gone},
    )


def _with_labels(
    clip: Clip, raw: Raw, classifiers: Sequence[Labeller], tally: MeasureSummary
) -> Clip:
    for classifier in classifiers:
        key, attribute = classifier.key, classifier.label.kind.attribute
        if key in raw.values:
            found = {attribute: str(raw.values[key])}
            clip = _add(clip, found, f"{MODEL_ORIGIN}{classifier.label.model}", tally)
        elif key in raw.missing:
            tally.missing.add((attribute, raw.missing[key]), clip.id)
    return clip


def _with_measures(
    clip: Clip, raw: Raw, measures: Sequence[str], thresholds: Thresholds, tally: MeasureSummary
) -> Clip:
    sex = _sex(clip)
    found: dict[str, str] = {}
    for name in measures:
        attribute = MEASURES[name].attribute
        if name in raw.missing:
            tally.missing.add((attribute, raw.missing[name]), clip.id)
        if name not in raw.values:
            continue
        value = float(raw.values[name])
        tally.ranges.setdefault(name, _Range()).add(value)
        if MEASURES[name].words:
            found[attribute] = thresholds.word(name, value, sex)
        else:
            found |= {attribute: noise_level(value), _RATIO: f"{round(value)}dB"}
    return _add(clip, found, MEASURED, tally)


def _add(clip: Clip, found: Mapping[str, str], origin: str, tally: MeasureSummary) -> Clip:
    """Add attributes; existing ones are kept, and differences counted."""
    new = {name: value for name, value in found.items() if name not in clip.attributes}
    for name, value in found.items():
        if name in new:
            tally.values.setdefault(name, Counter())[value] += 1
            continue
        tally.compared[name] += 1
        kept = clip.attributes[name]
        if kept.casefold() != value.casefold():
            tally.differing.add((name, kept, value), clip.id)
    return replace(
        clip,
        attributes={**clip.attributes, **new},
        origins={**clip.origins, **dict.fromkeys(new, origin)},
    )


def _sex(clip: Clip) -> str | None:
    return gender_name(clip.attributes.get("Gender"))
