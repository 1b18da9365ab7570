"""Collection of measurements and labels of all clips, in a journal that survives `kill -9`.

Borders between words need all numbers, and are found later. So the journal is kept, and a later
call with other measures, more clips or other thresholds only measures what is missing.
"""

import math
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from desta.attributes.corpus import Corpus
from desta.attributes.findings import Findings
from desta.attributes.journal import MeasurementJournal
from desta.attributes.labels import Labeller
from desta.attributes.raw import NO_SPEECH, Raw, measure_clip
from desta.attributes.signal import Unmeasured
from desta.audio import AudioError
from desta.errors import DataError, need
from desta.isolation import NO_NUMBER, error_of
from desta.progress import progress_bar
from desta.records import Clip
from desta.sources.files import load_clip

_BATCH = 64  # clips per journal entry


def collect(
    corpus: Corpus,
    journal: MeasurementJournal,
    *,
    measures: Sequence[str],
    classifiers: Sequence[Labeller],
    workers: int | None = None,
) -> Findings:
    """Measure and label every clip, or continue where an earlier call was interrupted.

    Args:
        corpus: clips in any order.
        journal: earlier findings; new ones are appended.
        measures: names from `MEASURES`; measured on all cores.
        classifiers: run one after the other in this process.
        workers: number of processes, by default one per core; 1 measures in this process.

    Raises:
        DataError: the journal is damaged, the clips change meanwhile, or a process was killed.
        MissingExtraError: a package is missing.
    """
    for name, package in (("pitch", "parselmouth"), ("loudness", "pyloudnorm")):
        if name in measures:  # fail before the work, not in every process
            need(package, extra="measure", to=f"measure {name}")
    found = Findings(corpus.keys, [*measures, *(classifier.key for classifier in classifiers)])
    for batch in journal.records():
        found.add({key: Raw(**record) for key, record in batch.items()})
    _extend(found, "measuring", journal, _measured(corpus, found, measures, workers))
    for classifier in classifiers:
        name = f"labelling {classifier.label.kind.name}"
        _extend(found, name, journal, _labelled(corpus, found, classifier))
    return found


_Work = tuple[int, int, Iterator[tuple[str, Raw]]]
"""Total number of items, number of finished ones, and findings of the others."""


def _extend(found: Findings, label: str, journal: MeasurementJournal, work: _Work) -> None:
    """Append findings to the journal, a batch at a time."""
    total, done, items = work
    with progress_bar(label, total=total, done=done) as advance:
        while batch := dict(islice(items, _BATCH)):
            journal.append({key: _sparse(raw) for key, raw in batch.items()})
            found.add(batch)
            advance(items=len(batch))


def _sparse(raw: Raw) -> dict[str, Any]:
    return {name: value for name, value in vars(raw).items() if value}


def _measured(
    corpus: Corpus, found: Findings, measures: Sequence[str], workers: int | None
) -> _Work:
    lacking = found.lacking(measures)
    todo = (
        (found.key(number), clip, [name for name in measures if not found[number].is_settled(name)])
        for number, clip in enumerate(corpus)
        if lacking[number]
    )
    num_todo = int(lacking.sum())
    count = min(workers or os.cpu_count() or 1, num_todo)
    return len(corpus), len(corpus) - num_todo, _in_processes(corpus.root, todo, count)


def _in_processes(
    root: Path, todo: Iterable[tuple[str, Clip, list[str]]], count: int
) -> Iterator[tuple[str, Raw]]:
    if count == 0:
        return
    if count == 1:
        yield from ((key, measure_clip(root, clip, names)) for key, clip, names in todo)
        return
    # "spawn": a process forked from one in which PyTorch has threads may hang
    with ProcessPoolExecutor(
        count, mp_context=get_context("spawn"), initializer=torch.set_num_threads, initargs=(1,)
    ) as pool:
        items = iter(todo)
        try:
            while batch := list(islice(items, _BATCH * count)):
                keys, clips, names = zip(*batch, strict=True)
                raws = pool.map(partial(measure_clip, root), clips, names, chunksize=4)
                yield from zip(keys, raws, strict=True)
        except BrokenProcessPool as error:
            raise DataError(
                "a process that measures was killed, most likely because memory ran out, or the "
                'script that called this has no `if __name__ == "__main__"`',
                fix="give the same command again with a smaller --workers",
            ) from error


def _labelled(corpus: Corpus, found: Findings, classifier: Labeller) -> _Work:
    name = classifier.key
    lacking = found.lacking([name])
    num_todo = int(lacking.sum())
    labels = (
        (found.key(number), _label(corpus.root, clip, name, classifier))
        for number, clip in enumerate(corpus if num_todo else ())
        if lacking[number]
    )
    return len(corpus), len(corpus) - num_todo, labels


def _label(root: Path, clip: Clip, name: str, classifier: Labeller) -> Raw:
    if clip.domain != "speech":
        return Raw(missing={name: NO_SPEECH})
    try:
        value, score = classifier(load_clip(root, clip))
    except AudioError as error:
        return Raw(broken=error.reason)
    except Unmeasured as reason:
        return Raw(missing={name: str(reason)})
    except Exception as error:
        return Raw(missing={name: error_of(error, clip.id).reason})
    if not math.isfinite(score):
        return Raw(missing={name: NO_NUMBER})
    return Raw(values={name: value}, scores={name: round(score, 4)})
