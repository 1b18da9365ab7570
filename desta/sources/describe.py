"""A corpus -> `clips.jsonl`: recordings measured, split, and what was left out counted."""

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from desta.audio import Note
from desta.errors import DataError
from desta.files import write_atomic
from desta.isolation import HALF, error_of, holds_half, printable
from desta.paths import check_folder, check_local
from desta.records import NO_TRANSCRIPTION, SPLITS, Clip, Split
from desta.sources.attributes import measure
from desta.sources.base import Metadata, Skipped, Source
from desta.sources.files import inside
from desta.sources.splits import SHARES, assign_splits, normalise

T = TypeVar("T")
R = TypeVar("R")

CLIPS = "clips.jsonl"
SUMMARY = "describe.json"

_MAX_VALUES = 200  # an attribute with more values (a speaker's number) is counted, not listed
_BATCH = 256  # recordings measured at once


@dataclass(frozen=True, kw_only=True)
class Left:
    """Recordings left out for one reason."""

    reason: str
    count: int
    example: str
    """Id of the first of them."""
    broken: bool


@dataclass(frozen=True, kw_only=True)
class Description:
    """A corpus as clips."""

    source: Source
    clips: tuple[Clip, ...]
    skipped: tuple[Left, ...]
    """The most frequent reason first."""
    noted: tuple[Left, ...]
    """What is odd about recordings that are kept."""
    shared: int
    """Voices, texts and recordings in several splits (texts only of clips whose voice is not
    known); more than 0 only where the corpus splits itself."""

    def summary(self) -> dict[str, Any]:
        """Return counts by split, domain and attribute, hours, and what was left out."""
        names = dict.fromkeys(name for clip in self.clips for name in clip.attributes)
        return {
            "source": self.source.name,
            "title": self.source.title,
            "licence": self.source.licence,
            "clips": len(self.clips),
            "hours": round(sum(clip.duration for clip in self.clips) / 3600, 4),
            "longest_seconds": max(clip.duration for clip in self.clips),
            "splits": {split: sum(c.split == split for c in self.clips) for split in SPLITS},
            "shared_between_splits": self.shared,
            "domains": dict(Counter(clip.domain for clip in self.clips)),
            "attributes": {name: self._values(name) for name in names},
            "skipped": [
                {"reason": s.reason, "count": s.count, "example": s.example, "broken": s.broken}
                for s in self.skipped
            ],
            "noted": [
                {"reason": n.reason, "count": n.count, "example": n.example} for n in self.noted
            ],
        }

    def _values(self, name: str) -> dict[str, Any]:
        """Return value -> clips in each split; of an attribute with many values, their number."""
        having = [clip for clip in self.clips if name in clip.attributes]
        totals = Counter(clip.attributes[name] for clip in having)
        if len(totals) > _MAX_VALUES:
            return {"values": len(totals), "clips": len(having)}
        by_split = Counter((clip.attributes[name], clip.split) for clip in having)
        return {
            value: {split: by_split[value, split] for split in SPLITS}
            for value, _ in totals.most_common()
        }


def describe(
    source: Source,
    root: Path,
    *,
    max_broken_share: float = 0.05,
    shares: Sequence[float] = SHARES,
    seed: int = 0,
    held_out: Split | None = None,
    on_progress: Callable[[int], None] = lambda done: None,
) -> Description:
    """Read a corpus, open every recording, and decide its split.

    Args:
        source: `find_source(name)` or `custom_source(recipe)`.
        root: folder of the corpus; paths in the clips are relative to it.
        max_broken_share: share of recordings that may be missing or unreadable.
        shares: of train, validation and test.
        seed: of the splits.
        held_out: the split of every clip, to keep a whole corpus apart; None splits it.
        on_progress: told how many recordings are done, after each.

    Raises:
        DataError: the root or the corpus is not there, it holds no clip, or too much is broken.
    """
    check_local(root)
    if not root.is_dir():
        raise DataError(f"{root} is not a folder", fix="give the folder of the corpus")
    opened: list[_Opened] = []
    skipped: list[Skipped] = []
    seen: set[str] = set()
    for done, item in enumerate(_in_parallel(partial(_open, root, source), source.read(root)), 1):
        if isinstance(item, Skipped):
            skipped.append(item)
        elif item.clip.id in seen:
            skipped.append(Skipped(id=item.clip.id, reason="listed twice", broken=True))
        else:
            seen.add(item.clip.id)
            opened.append(item)
        on_progress(done)
    left = _count(skipped)
    _check(root, source, len(opened), left, max_broken_share)

    drawn = assign_splits(
        [item.words for item in opened],
        [item.sha256 for item in opened],
        [item.group for item in opened],
        shares=shares,
        seed=seed,
    )
    clips = [
        replace(item.clip, split=held_out or item.split or split)
        for item, split in zip(opened, drawn, strict=True)
    ]
    noted = [
        Skipped(id=item.clip.id, reason=note.reason, broken=False)
        for item in opened
        for note in item.notes
    ]
    return Description(
        source=source,
        clips=tuple(clips),
        skipped=left,
        noted=_count(noted),
        shared=_count_shared(opened, clips),
    )


def write_description(description: Description, out: Path) -> None:
    """Write `clips.jsonl` and `describe.json`, each whole or not at all.

    Args:
        description: what `describe` returned.
        out: folder, made where it is missing.
    """
    check_folder(out)
    out.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps(clip.to_json(), ensure_ascii=False) for clip in description.clips)
    write_atomic(out / CLIPS, "".join(f"{line}\n" for line in lines).encode())
    summary = json.dumps(description.summary(), ensure_ascii=False, indent=2)
    write_atomic(out / SUMMARY, f"{summary}\n".encode())


@dataclass(frozen=True, kw_only=True)
class _Opened:
    """A clip that waits for its split."""

    clip: Clip
    sha256: str
    group: str | None
    split: Split | None
    notes: tuple[Note, ...]

    @property
    def words(self) -> str:
        return "" if self.clip.transcription == NO_TRANSCRIPTION else self.clip.transcription


def _open(root: Path, source: Source, item: Metadata | Skipped) -> _Opened | Skipped:
    """Open the recording that the metadata speak of."""
    if isinstance(item, Skipped):
        return replace(item, id=printable(f"{source.name}/{item.id}"))
    id = f"{source.name}/{item.id}"
    if printable(id + item.audio) != id + item.audio:  # no shard could hold it
        return Skipped(id=printable(id), reason="its name is not UTF-8", broken=True)
    audio = inside(root, item.audio)
    if audio is None:  # links are followed on purpose
        return Skipped(id=id, reason="the recording lies outside the root", broken=True)
    try:
        measured = measure(root / audio)
    except Exception as error:
        return Skipped(id=id, reason=error_of(error, id).reason, broken=True)
    if any(segment.start >= measured.duration for segment in item.segments):
        return Skipped(id=id, reason="a segment starts after the end", broken=True)
    segments = tuple(
        replace(segment, end=min(segment.end, measured.duration)) for segment in item.segments
    )
    clip = Clip(
        id=id,
        source=source.name,
        audio=audio,
        duration=measured.duration,
        domain=item.domain,
        segments=segments,
        attributes=item.attributes,
    )
    if holds_half(json.dumps(clip.to_json(), ensure_ascii=False)):
        return Skipped(id=id, reason=f"what is told of it {HALF}", broken=True)
    return _Opened(
        clip=clip,
        sha256=measured.sha256,
        group=item.group,
        split=item.split,
        notes=measured.notes,
    )


def _in_parallel(function: Callable[[T], R], items: Iterator[T]) -> Iterator[R]:
    """Map in order on all cores (decoding releases the interpreter), a batch at a time."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        while batch := list(islice(items, _BATCH)):
            yield from pool.map(function, batch)


def _count(skipped: Sequence[Skipped]) -> tuple[Left, ...]:
    groups: dict[tuple[str, bool], list[str]] = {}
    for item in skipped:
        groups.setdefault((item.reason, item.broken), []).append(item.id)
    left = [
        Left(reason=reason, count=len(ids), example=ids[0], broken=broken)
        for (reason, broken), ids in groups.items()
    ]
    return tuple(sorted(left, key=lambda item: -item.count))


def _check(
    root: Path, source: Source, kept: int, left: Sequence[Left], max_broken_share: float
) -> None:
    broken = [item for item in left if item.broken]
    num_broken = sum(item.count for item in broken)
    if num_broken > max_broken_share * (kept + num_broken):
        worst = broken[0]
        raise DataError(
            f"{source.name}: {num_broken} of {kept + num_broken} recordings are broken, more than "
            f'{max_broken_share:.0%}; {worst.count} times "{worst.reason}", as {worst.example}',
            fix="mend or remove them, or allow a larger share",
        )
    if not kept:
        raise DataError(
            f"{source.name}: no recordings are left in {root}",
            fix=f"left out: {left[0].reason}, as {left[0].example}"
            if left
            else "check that this folder is the root of the corpus",
        )


def _count_shared(opened: Sequence[_Opened], clips: Sequence[Clip]) -> int:
    splits: dict[str, set[Split]] = {}
    for item, clip in zip(opened, clips, strict=True):
        splits.setdefault(item.sha256, set()).add(clip.split)
        if shared := item.group or normalise(item.words):
            splits.setdefault(shared, set()).add(clip.split)
    return sum(len(found) > 1 for found in splits.values())
