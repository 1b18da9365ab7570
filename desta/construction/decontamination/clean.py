"""Decontamination of `clips.jsonl` by name and by sound."""

import json
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from desta.construction.decontamination.fingerprint import MIN_FRAMES, SILENT, audio_fingerprint
from desta.construction.decontamination.test_recordings import (
    BenchmarkRecordings,
    in_batches,
    is_telling,
    plain_name,
)
from desta.errors import ConfigError, DataError, DestaError
from desta.files import UNWRITABLE, atomic_file
from desta.isolation import error_of
from desta.paths import check_output
from desta.reasons import Reasons
from desta.records import Clip, stream_clips
from desta.sources.files import load_clip

BY_NAME = "is named in a benchmark"
BY_SOUND = "is heard in a benchmark"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A clip that is in a benchmark."""

    reason: str
    benchmark: str
    item: str
    """Path of the recording in the benchmark, or its name in a list."""
    errors: float | None = None
    """Share of different bits of the fingerprints; None for a match by name."""


@dataclass(kw_only=True)
class Cleaning:
    """Counts of kept and dropped clips."""

    kept: int = 0
    dropped: Reasons[str] = field(default_factory=Reasons)
    """The example names the benchmark's item too."""
    not_compared: int = 0
    """Number of kept clips that are too short or too quiet to be compared by sound."""


def clean(
    clips: Iterable[Clip],
    root: Path,
    benchmarks: Iterable[BenchmarkRecordings],
    *,
    on_kept: Callable[[Clip], None],
    on_dropped: Callable[[dict[str, Any]], None],
    on_progress: Callable[[int], None] = lambda done: None,
) -> Cleaning:
    """Separate clips that are in a benchmark from those that are not.

    Clips that cannot be read cannot be compared, and are dropped too.

    Args:
        clips: clips, of which only a batch is held in memory.
        root: folder that their paths are relative to.
        benchmarks: from `read_benchmark`.
        on_kept: called with every kept clip, in order.
        on_dropped: called with id, reason and finding of every dropped clip.
        on_progress: called with the number of finished clips.

    Raises:
        DataError: no clip could be read.
    """
    tested = list(benchmarks)
    cleaning = Cleaning()
    readable = False
    with ThreadPoolExecutor() as pool:
        for done, (clip, words) in enumerate(
            in_batches(pool, lambda c: (c, _read_words(root, c)), clips), start=1
        ):
            if isinstance(words, DestaError):
                cleaning.dropped.add(words.reason, clip.id)
                on_dropped({"id": clip.id, "reason": words.reason})
            else:
                readable = True
                if finding := find_in_benchmarks(clip, words, tested):
                    found_as = f"{clip.id} = {finding.benchmark}: {finding.item}"
                    cleaning.dropped.add(finding.reason, found_as)
                    on_dropped({"id": clip.id, **vars(finding)})
                else:
                    cleaning.kept += 1
                    cleaning.not_compared += int((words != SILENT).sum()) < MIN_FRAMES
                    on_kept(clip)
            on_progress(done)
    if not readable:
        raise DataError(
            f"no clip under {root} could be read: {cleaning.dropped or 'there is none'}",
            fix="give the folder that the paths in the clips are relative to",
        )
    return cleaning


def clean_file(
    clips: Path,
    root: Path,
    benchmarks: Iterable[BenchmarkRecordings],
    *,
    out: Path,
    on_progress: Callable[[int], None] = lambda done: None,
) -> Cleaning:
    """Decontaminate a file of clips, and list the dropped ones in a second file.

    Args:
        clips: `clips.jsonl`.
        root: folder that its paths are relative to.
        benchmarks: from `read_benchmark`.
        out: file for the kept clips; dropped ones go to the same name with `.dropped.ndjson`. Both
            are written atomically.
        on_progress: called with the number of finished clips.

    Raises:
        ConfigError: `out` is the input file.
        DataError: the clips cannot be read.
    """
    check_files(clips, out)
    out.parent.mkdir(parents=True, exist_ok=True)
    # The file of kept clips is put in place last: if it exists, the other one does too.
    with atomic_file(out) as kept, atomic_file(_rejects(out)) as lost:

        def write(file: BinaryIO, record: dict[str, Any]) -> None:
            text = f"{json.dumps(record, ensure_ascii=False)}\n"
            file.write(text.encode(errors=UNWRITABLE))

        return clean(
            stream_clips(clips),
            root,
            benchmarks,
            on_kept=lambda clip: write(kept, clip.to_json()),
            on_dropped=lambda record: write(lost, record),
            on_progress=on_progress,
        )


def check_files(clips: Path, out: Path) -> None:
    """Check input and output before benchmarks are read, which takes long.

    Args:
        clips: `clips.jsonl`, whose first line is read.
        out: file for the kept clips.

    Raises:
        ConfigError: `out` is the input file, or a pipe or a device.
        DataError: the clips are missing, or the first line is not a clip.
    """
    if out.resolve() == clips.resolve():
        raise ConfigError(f"{out} would replace what is read", fix="give another --out")
    for path in (out, _rejects(out)):
        check_output(path)
    next(stream_clips(clips))


def _rejects(out: Path) -> Path:
    return out.with_suffix(".dropped.ndjson")


def _read_words(root: Path, clip: Clip) -> NDArray[np.uint32] | DestaError:
    """Return the fingerprint of a clip, (F,), or the error if it cannot be read."""
    try:
        return audio_fingerprint(load_clip(root, clip))
    except Exception as error:
        return error_of(error, clip.id)


def find_in_benchmarks(
    clip: Clip, words: NDArray[np.uint32], benchmarks: Iterable[BenchmarkRecordings]
) -> Finding | None:
    """Return the first benchmark item that is the clip, by name or else by sound; None if none is.

    Args:
        clip: clip, whose id and path give the name.
        words: its fingerprint, (F,).
        benchmarks: benchmarks in order of priority.
    """
    own = {name for name in map(plain_name, (clip.audio, clip.id)) if is_telling(name)}
    for benchmark in benchmarks:
        for name in own & benchmark.names.keys():
            return Finding(reason=BY_NAME, benchmark=benchmark.name, item=benchmark.names[name])
        if match := benchmark.index.find(words):
            return Finding(
                reason=BY_SOUND,
                benchmark=benchmark.name,
                item=benchmark.items[match.item],
                errors=round(match.errors, 4),
            )
    return None
