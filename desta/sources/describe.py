"""Description of a corpus as `clips.jsonl`: measures recordings, assigns splits, counts skips."""

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

from desta import audio
from desta.audio import AudioError, AudioNote
from desta.errors import DataError
from desta.files import sha256, write_atomic
from desta.isolation import HALF, error_of, holds_half, printable
from desta.paths import check_folder, check_local
from desta.reasons import Reasons
from desta.records import NO_TRANSCRIPTION, SPLITS, Clip, Split
from desta.sources.base import Metadata, Skipped, Source
from desta.sources.files import inside
from desta.sources.splits import assign_splits, plain_words

T = TypeVar("T")
R = TypeVar("R")

CLIPS = "clips.jsonl"
SUMMARY = "describe.json"

_MAX_VALUES = 200  # attributes with more values (such as speaker numbers) are not listed
_BATCH = 256  # recordings measured at once


@dataclass(frozen=True, kw_only=True)
class Description:
    """A corpus as clips."""

    source: Source
    clips: tuple[Clip, ...]
    skipped: Reasons[str]
    """Skipped recordings."""
    broken: Reasons[str]
    """Those of them that are damaged, not left out on purpose."""
    noted: Reasons[str]
    """Notes about recordings that are kept."""
    shared: int
    """Voices, texts and recordings in several splits (texts only of clips of unknown voices); above
    0 only if the corpus prescribes splits."""

    def summary(self) -> dict[str, Any]:
        """Return counts by split, domain and attribute, hours, and skipped recordings."""
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
                {**row, "broken": row["reason"] in self.broken} for row in self.skipped.table()
            ],
            "noted": self.noted.table(),
        }

    def _values(self, name: str) -> dict[str, Any]:
        """Return value -> clips per split; for an attribute with many values only their number."""
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
    seed: int = 0,
    held_out: Split | None = None,
    on_progress: Callable[[int], None] = lambda done: None,
) -> Description:
    """Read a corpus, measure every recording, and assign its split.

    Args:
        source: `find_source(name)` or `custom_source(recipe)`.
        root: folder of the corpus; paths in the clips are relative to it.
        max_broken_share: share of recordings that may be missing or unreadable.
        seed: seed of the splits.
        held_out: the split of every clip, to keep a whole corpus apart; None splits it.
        on_progress: called with the number of finished recordings.

    Raises:
        DataError: the root or the corpus is missing, no clip is left, or too much is broken.
    """
    check_local(root)
    if not root.is_dir():
        raise DataError(f"{root} is not a folder", fix="give the folder of the corpus")
    opened: list[_Opened] = []
    skipped, broken = Reasons[str](), Reasons[str]()
    seen: set[str] = set()
    for done, item in enumerate(_in_parallel(partial(_open, root, source), source.read(root)), 1):
        if not isinstance(item, Skipped) and item.clip.id in seen:
            item = Skipped(id=item.clip.id, reason="listed twice", broken=True)
        if isinstance(item, Skipped):
            skipped.add(item.reason, item.id)
            if item.broken:
                broken.add(item.reason, item.id)
        else:
            seen.add(item.clip.id)
            opened.append(item)
        on_progress(done)
    _check(root, source, len(opened), skipped, broken, max_broken_share)

    drawn = assign_splits(
        [item.words for item in opened],
        [item.sha256 for item in opened],
        [item.group for item in opened],
        seed=seed,
    )
    clips = [
        replace(item.clip, split=held_out or item.split or split)
        for item, split in zip(opened, drawn, strict=True)
    ]
    return Description(
        source=source,
        clips=tuple(clips),
        skipped=skipped,
        broken=broken,
        noted=Reasons.of((note.reason, item.clip.id) for item in opened for note in item.notes),
        shared=_count_shared(opened, clips),
    )


def write_description(description: Description, out: Path) -> None:
    """Write `clips.jsonl` and `describe.json`, each atomically.

    Args:
        description: from `describe`.
        out: folder, created if missing.
    """
    check_folder(out)
    out.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps(clip.to_json(), ensure_ascii=False) for clip in description.clips)
    write_atomic(out / CLIPS, "".join(f"{line}\n" for line in lines).encode())
    summary = json.dumps(description.summary(), ensure_ascii=False, indent=2)
    write_atomic(out / SUMMARY, f"{summary}\n".encode())


@dataclass(frozen=True, kw_only=True)
class _Opened:
    """A clip without its split."""

    clip: Clip
    sha256: str
    group: str | None
    split: Split | None
    notes: tuple[AudioNote, ...]

    @property
    def words(self) -> str:
        return "" if self.clip.transcription == NO_TRANSCRIPTION else self.clip.transcription


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Facts about a recording."""

    duration: float
    """Seconds of decoded samples, rounded to a microsecond."""
    sha256: str
    """SHA-256 of the file, equal for copies under different names."""
    notes: tuple[AudioNote, ...] = ()
    """Notes about the recording."""


def measure_recording(path: Path) -> Measured:
    """Decode all of a recording and return the facts about it.

    Raises:
        AudioError: it cannot be read to its end.
    """
    duration, notes = audio.measure_audio(path)
    try:
        digest = sha256(path)
    except OSError as error:  # it was readable a moment ago
        raise AudioError(str(path), "vanished", fix="leave the corpus alone meanwhile") from error
    return Measured(duration=round(duration, 6), sha256=digest, notes=notes)


def _open(root: Path, source: Source, item: Metadata | Skipped) -> _Opened | Skipped:
    """Measure the recording of an item, and return its clip."""
    if isinstance(item, Skipped):
        return replace(item, id=printable(f"{source.name}/{item.id}"))
    id = f"{source.name}/{item.id}"
    if printable(id + item.audio) != id + item.audio:  # cannot be stored in a shard
        return Skipped(id=printable(id), reason="its name is not UTF-8", broken=True)
    place = inside(root, item.audio)
    if place is None:  # symbolic links may lead outside on purpose
        return Skipped(id=id, reason="the recording lies outside the root", broken=True)
    try:
        measured = measure_recording(root / place)
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
        audio=place,
        duration=measured.duration,
        domain=item.domain or source.domains[0],
        segments=segments,
        attributes={name: value for name, value in item.attributes.items() if value},
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
    """Map in order, a batch at a time, on all cores: decoding releases the interpreter lock."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        while batch := list(islice(items, _BATCH)):
            yield from pool.map(function, batch)


def _check(
    root: Path,
    source: Source,
    kept: int,
    skipped: Reasons[str],
    broken: Reasons[str],
    max_broken_share: float,
) -> None:
    if broken.total > max_broken_share * (kept + broken.total):
        reason, worst = broken.most_common()[0]
        raise DataError(
            f"{source.name}: {broken.total} of {kept + broken.total} recordings are broken, more "
            f'than {max_broken_share:.0%}; {worst.count} times "{reason}", as {worst.example}',
            fix="repair or remove them, or allow a larger share",
        )
    if not kept:
        left = [f"left out: {reason}, as {n.example}" for reason, n in skipped.most_common()]
        raise DataError(
            f"{source.name}: no recordings are left in {root}",
            fix=left[0] if left else "check that this folder is the root of the corpus",
        )


def _count_shared(opened: Sequence[_Opened], clips: Sequence[Clip]) -> int:
    splits: dict[str, set[Split]] = {}
    for item, clip in zip(opened, clips, strict=True):
        splits.setdefault(item.sha256, set()).add(clip.split)
        if shared := item.group or plain_words(item.words):
            splits.setdefault(shared, set()).add(clip.split)
    return sum(len(found) > 1 for found in splits.values())
