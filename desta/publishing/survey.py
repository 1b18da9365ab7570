"""Survey of a data set: integrity, faulty rows, contents. Memory stays flat."""

import heapq
import itertools
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from desta.construction.pool import hash64
from desta.construction.regenerate import OTHER_KIND, kinds_of_prompts
from desta.construction.row_checks import (
    Row,
    clips_of,
    descriptions_of,
    find_oddities,
    find_row_fault,
    language_stated,
    seconds_stated,
)
from desta.reasons import Reasons
from desta.records import read_jsonl
from desta.shards import Manifest, shard_paths, verify_shards
from desta.sources.files import inside, is_file

LENGTHS = ("seed_description", "prompt", "response")
"""Texts whose lengths are surveyed, in words."""
OUTSIDE = "has a recording outside the root"
MISSING = "has a recording that is not there"
UNREADABLE_RECORDING = "has a recording that cannot be opened"

_EVERY = 1000  # rows between two progress updates

Sample = tuple[int, str, Row]
"""Random number that the row's content determines, kind of its prompt, row."""


@dataclass(kw_only=True)
class Contents:
    """Contents of a data set directory."""

    directory: Path
    manifest: Manifest | None
    """The manifest, its hashes verified; None in published directories, which have none."""
    num_shards: int
    num_rows: int = 0
    counts: dict[str, Counter[str]] = field(default_factory=dict)
    """Source -> kind of prompt -> rows, of those of use."""
    useless: Reasons[str] = field(default_factory=Reasons)
    """Rows that training cannot use."""
    odd: Reasons[str] = field(default_factory=Reasons)
    """Rows that are of use but unusual; one row may have several reasons."""
    lengths: dict[str, Counter[int]] = field(
        default_factory=lambda: {n: Counter() for n in LENGTHS}
    )
    """Text -> number of words -> rows."""
    languages: Counter[str] = field(default_factory=Counter)
    """Language in the seed description -> rows."""
    num_clips: int = 0
    """Number of different recordings."""
    hours: float = 0.0
    """Their total duration according to the seed descriptions."""
    samples: list[Sample] = field(default_factory=list)
    """Sample rows, in turn from every source and kind of prompt."""

    @property
    def num_useful(self) -> int:
        """Number of rows that training can use if their recordings exist."""
        return sum(kinds.total() for kinds in self.counts.values())

    def to_json(self) -> dict[str, Any]:
        """Return the survey as JSON, without the samples."""
        manifest = self.manifest
        return {
            "directory": str(self.directory),
            "verified": manifest is not None,
            "shards": self.num_shards,
            "rows": self.num_rows,
            "useful": self.num_useful,
            "clips": self.num_clips,
            "hours": round(self.hours, 3),
            "counts": {source: dict(kinds) for source, kinds in sorted(self.counts.items())},
            "useless": self.useless.table(),
            "odd": self.odd.table(),
            "dropped": manifest.dropped.table() if manifest else [],
            "judged": manifest.counts if manifest else {},
            "faithfulness": manifest.faithfulness if manifest else {},
            "words": {name: quantiles(found) for name, found in self.lengths.items()},
            "languages": dict(self.languages.most_common()),
            "backbone": manifest and manifest.backbone,
            "revision": manifest and manifest.revision,
        }


def kept_rows(manifest: Manifest) -> list[dict[str, str]]:
    """Return the rows of a table of kept responses by source and kind of prompt."""
    counts = manifest.counts
    kinds = sorted({kind for of_source in counts.values() for kind in of_source})
    return [
        {"source": source}
        | {
            kind: _of(found.get("kept", 0), sum(found.values()))
            for kind in kinds
            for found in [of_source.get(kind, {})]
        }
        for source, of_source in sorted(counts.items())
    ]


def kept_by(manifest: Manifest, what: Literal["source", "kind of prompt"]) -> list[dict[str, str]]:
    """Return the rows of a table of kept responses by source or by kind of prompt."""
    kept, written = Counter[str](), Counter[str]()
    for source, kinds in manifest.counts.items():
        for kind, found in kinds.items():
            name = source if what == "source" else kind
            kept[name] += found.get("kept", 0)
            written[name] += sum(found.values())
    return [{what: name, "kept": _of(kept[name], written[name])} for name in sorted(written)]


def faithful_rows(manifest: Manifest) -> list[dict[str, str]]:
    """Return the rows of a table of responses that name the right value, of all and of those kept.

    The counts are those of `desta.construction.faithfulness`, by kind of prompt and attribute.
    """
    return [
        {
            "kind of prompt": kind,
            "attribute": name,
            "right before filters": _of(found["right"], found["asked"]),
            "right after filters": _of(found["kept_right"], found["kept"]),
        }
        for kind, attributes in sorted(manifest.faithfulness.items())
        for name, found in sorted(attributes.items())
    ]


def _of(part: int, whole: int) -> str:
    return f"{part:,} of {whole:,} ({part / whole:.0%})" if whole else "-"


def quantiles(counts: Mapping[int, int]) -> dict[str, int]:
    """Return minimum, median, 95th percentile and maximum of counted values.

    >>> quantiles({2: 1, 3: 1, 10: 2})
    {'least': 2, 'median': 3, 'p95': 10, 'most': 10}
    """
    values = sorted(counts)
    if not values:
        return {}
    sums = np.cumsum([counts[value] for value in values])
    median, p95 = (values[int(np.searchsorted(sums, share * sums[-1]))] for share in (0.5, 0.95))
    return {"least": values[0], "median": median, "p95": p95, "most": values[-1]}


def survey_data_set(
    directory: Path,
    *,
    root: Path = Path(),
    prompts: Path | None = None,
    num_samples: int = 0,
    on_progress: Callable[[int], None] = lambda done: None,
) -> Contents:
    """Survey every row of a data set.

    Args:
        directory: shards, with or without a manifest.
        root: folder that the paths of recordings are relative to.
        prompts: folder with the prompt pools; None for those of this package.
        num_samples: number of sample rows to keep.
        on_progress: called with the number of finished rows.

    Raises:
        DataError: a shard is missing or differs from the manifest, or a line is not JSON.
        ConfigError: a prompt pool is broken.
    """
    paths = shard_paths(directory)
    manifest = verify_shards(directory) if Manifest.read(directory) else None
    found = Contents(directory=directory, manifest=manifest, num_shards=len(paths))
    kinds = kinds_of_prompts(prompts)
    locate = lru_cache(maxsize=1 << 16)(lambda path: _place_fault(root, path))
    strata: dict[tuple[str, str], list[tuple[int, int, Row]]] = {}
    rows, clips, seconds = array("Q"), array("Q"), array("f")
    for number, row in enumerate(itertools.chain.from_iterable(map(read_jsonl, paths))):
        name = str(row.get("id") or f"row {number}")
        ticket = hash64(f"{row.get('id')}\0{row.get('prompt')}\0{row.get('dataset')}")
        rows.append(ticket)
        if fault := find_row_fault(row):
            found.useless.add(fault, name)
            continue
        for oddity in find_oddities(row):
            found.odd.add(oddity, name)
        for reason in filter(None, {locate(clip["audio"]) for clip in clips_of(row)}):
            found.odd.add(reason, name)
        source, kind = row.get("dataset") or "", kinds.get(row.get("prompt") or "", OTHER_KIND)
        found.counts.setdefault(source, Counter())[kind] += 1
        _measure(row, found, clips, seconds)
        if num_samples:
            stratum = strata.setdefault((source, kind), [])
            keep = heapq.heappush if len(stratum) < num_samples else heapq.heappushpop
            keep(stratum, (-ticket, number, row))
        if number % _EVERY == 0:
            on_progress(number)
    found.num_rows = len(rows)
    on_progress(found.num_rows)
    found.num_clips, found.hours = _clips_and_hours(clips, seconds)
    _count_repeated(rows, paths, found.odd)
    found.samples = list(itertools.islice(_in_turn(strata), num_samples))
    return found


def _measure(row: Row, found: Contents, clips: "array[int]", seconds: "array[float]") -> None:
    """Count words, languages and recordings; descriptions of several clips have no duration."""
    for name in LENGTHS:
        found.lengths[name][len((row.get(name) or "").split())] += 1
    descriptions = descriptions_of(row)
    found.languages.update(dict.fromkeys(filter(None, map(language_stated, descriptions)), 1))
    paths = [clip["audio"] for clip in clips_of(row)]
    own = descriptions if len(descriptions) == len(paths) else [""] * len(paths)
    for path, description in zip(paths, own, strict=True):
        clips.append(hash64(path or ""))
        seconds.append(seconds_stated(description) or 0.0)


def _place_fault(root: Path, path: str) -> str | None:
    place = inside(root, path)
    if place is None:
        return OUTSIDE
    return None if is_file(root / place) else MISSING


def _clips_and_hours(clips: "array[int]", seconds: "array[float]") -> tuple[int, float]:
    """Return the number of recordings and their hours; the longest stated duration counts."""
    digests, lengths = np.asarray(clips), np.asarray(seconds)
    order = np.lexsort((-lengths, digests))
    _, first = np.unique(digests[order], return_index=True)
    return len(first), float(lengths[order][first].sum(dtype=np.float64)) / 3600


def _count_repeated(rows: "array[int]", paths: list[Path], odd: Reasons[str]) -> None:
    """Count rows that have the id, source and prompt of an earlier one; find the first of them."""
    digests = np.asarray(rows)
    order = np.argsort(digests, kind="stable")
    repeated = order[1:][digests[order][1:] == digests[order][:-1]]
    if len(repeated):
        records = itertools.chain.from_iterable(map(read_jsonl, paths))
        row = next(itertools.islice(records, int(repeated.min()), None))
        name = str(row.get("id") or f"row {repeated.min()}")
        odd.add("asks what another row asks of the same clip", name, len(repeated))


def _in_turn(strata: Mapping[tuple[str, str], list[tuple[int, int, Row]]]) -> Iterator[Sample]:
    """Yield samples from every source and kind in turn."""
    lists = [
        [(-ticket, kind, row) for ticket, _, row in sorted(stratum, reverse=True)]
        for (_, kind), stratum in sorted(strata.items())
    ]
    for layer in itertools.zip_longest(*lists):
        yield from (sample for sample in layer if sample is not None)
