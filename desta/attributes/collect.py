"""What is found in every clip, as numbers and labels, in a journal that survives `kill -9`.

Borders between words come later: they need all numbers. So the journal stays after the work, and
a later call with other measures, more clips or other thresholds only does what is new.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict
from functools import partial
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from desta.attributes.journal import Journal
from desta.attributes.labels import Labeller
from desta.attributes.raw import NO_SPEECH, Raw, measure_clip
from desta.attributes.signal import Unmeasured
from desta.audio import AudioError
from desta.errors import DataError, need
from desta.progress import progress_bar
from desta.records import Clip
from desta.sources.files import load_clip

JOURNAL = "measured.ndjson"
FORMAT = "measured 1"
"""Raised whenever a value means something else than before."""
_BATCH = 64  # clips between two entries of the journal


def collect(
    clips: Sequence[Clip],
    root: Path,
    out: Path,
    *,
    measures: Sequence[str],
    classifiers: Sequence[Labeller],
    workers: int | None = None,
) -> list[Raw]:
    """Find what is asked for in every clip, or continue where an earlier call was interrupted.

    Args:
        clips: in any order.
        root: folder that their paths are relative to.
        out: folder of the journal.
        measures: names from `MEASURES`; measured on all cores.
        classifiers: asked one after the other in this process.
        workers: processes; as many as there are cores by default; 1 measures in this one.

    Returns:
        One for every clip, in their order.

    Raises:
        DataError: the journal is damaged, or a process was killed.
        MissingExtraError: a package is missing.
    """
    for name, package in (("pitch", "parselmouth"), ("loudness", "pyloudnorm")):
        if name in measures:  # told before the work, not by every process
            need(package, extra="measure", to=f"measure {name}")
    keys = [_key(root, clip) for clip in clips]
    with Journal(out / JOURNAL, FORMAT) as journal:
        found: dict[str, Raw] = {}
        for batch in journal.records:
            for key, record in batch.items():
                found.setdefault(key, Raw()).add(Raw(**record))
        _extend(found, "measuring", journal, _measured(clips, keys, root, found, measures, workers))
        for classifier in classifiers:
            name = f"labelling {classifier.label.kind.name}"
            _extend(found, name, journal, _labelled(clips, keys, root, found, classifier))
    return [found.get(key, Raw()) for key in keys]


def _key(root: Path, clip: Clip) -> str:
    """Return what a value depends on: another recording or other words, another key.

    A recording is known by size and time of change: to hash it is to read the whole corpus, each
    time the command goes on.
    """
    try:
        state = (root / clip.audio).stat()
        stamp = [state.st_size, state.st_mtime_ns]
    except (OSError, ValueError):  # reading it will say why
        stamp = None
    segments = [asdict(s) for s in clip.segments]
    told = [clip.id, clip.audio, stamp, clip.domain, segments]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:32]


_Work = tuple[int, int, Iterator[tuple[str, Raw]]]
"""Items in all, items that were done before, and what is found in the others."""


def _extend(found: dict[str, Raw], label: str, journal: Journal, work: _Work) -> None:
    """Add what is found to the journal, a batch at a time."""
    total, done, items = work
    with progress_bar(label, total=total, done=done) as advance:
        while batch := dict(islice(items, _BATCH)):
            journal.append({key: _sparse(raw) for key, raw in batch.items()})
            for key, raw in batch.items():
                found.setdefault(key, Raw()).add(raw)
            advance(items=len(batch))


def _sparse(raw: Raw) -> dict[str, Any]:
    return {name: value for name, value in asdict(raw).items() if value}


def _measured(
    clips: Sequence[Clip],
    keys: Sequence[str],
    root: Path,
    found: Mapping[str, Raw],
    measures: Sequence[str],
    workers: int | None,
) -> _Work:
    todo = {
        key: (clip, names)
        for key, clip in zip(keys, clips, strict=True)
        if (names := [n for n in measures if key not in found or not found[key].knows(n)])
    }
    return len(clips), len(clips) - len(todo), _in_processes(root, todo, workers)


def _in_processes(
    root: Path, todo: Mapping[str, tuple[Clip, list[str]]], workers: int | None
) -> Iterator[tuple[str, Raw]]:
    if not todo:
        return
    count = min(workers or os.cpu_count() or 1, len(todo))
    if count == 1:
        yield from ((key, measure_clip(root, *work)) for key, work in todo.items())
        return
    # "spawn": a process that is forked off one in which PyTorch has threads may never end
    with ProcessPoolExecutor(
        count, mp_context=get_context("spawn"), initializer=torch.set_num_threads, initargs=(1,)
    ) as pool:
        items = iter(todo.items())
        try:
            while batch := list(islice(items, _BATCH * count)):
                raws = pool.map(
                    partial(measure_clip, root),
                    [clip for _, (clip, _) in batch],
                    [names for _, (_, names) in batch],
                    chunksize=4,
                )
                yield from zip((key for key, _ in batch), raws, strict=True)
        except BrokenProcessPool as error:
            raise DataError(
                "a process that measures was killed, most likely because memory ran out",
                fix="give the same command again with a smaller --workers",
            ) from error


def _labelled(
    clips: Sequence[Clip],
    keys: Sequence[str],
    root: Path,
    found: Mapping[str, Raw],
    classifier: Labeller,
) -> _Work:
    name = classifier.key
    todo = {
        key: clip
        for key, clip in zip(keys, clips, strict=True)
        if key not in found or not found[key].knows(name)
    }

    def work() -> Iterator[tuple[str, Raw]]:
        for key, clip in todo.items():
            yield key, _label(root, clip, name, classifier)

    return len(clips), len(clips) - len(todo), work()


def _label(root: Path, clip: Clip, name: str, classifier: Labeller) -> Raw:
    if clip.domain != "speech":
        return Raw(missing={name: NO_SPEECH})
    try:
        value, score = classifier(load_clip(root, clip))
    except AudioError as error:
        return Raw(broken=error.reason)
    except Unmeasured as reason:
        return Raw(missing={name: str(reason)})
    return Raw(values={name: value}, scores={name: round(score, 4)})
