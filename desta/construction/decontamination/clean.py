"""Decontamination: clips that are in the test data of a benchmark, by name or by sound."""

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
    count_dropped,
    in_batches,
    is_telling,
    plain_name,
)
from desta.errors import ConfigError, DataError, DestaError
from desta.files import UNWRITABLE, atomic_file
from desta.isolation import error_of
from desta.paths import check_output
from desta.records import Clip, stream_clips
from desta.shards import Dropped
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
    """Share of unequal bits of the fingerprints; None where the name was enough."""


@dataclass(kw_only=True)
class Cleaning:
    """What became of the clips."""

    kept: int = 0
    dropped: dict[str, Dropped] = field(default_factory=dict)
    """By reason; the example names the benchmark's item too."""
    not_compared: int = 0
    """Kept clips that are too short or too quiet to be compared by sound."""


def clean(
    clips: Iterable[Clip],
    root: Path,
    benchmarks: Iterable[BenchmarkRecordings],
    *,
    on_kept: Callable[[Clip], None],
    on_dropped: Callable[[dict[str, Any]], None],
    on_progress: Callable[[int], None] = lambda done: None,
) -> Cleaning:
    """Sort clips into those that no benchmark tests and those that one does.

    Clips that cannot be read cannot be compared: they are left out and counted as well.

    Args:
        clips: a stream; only a batch of it is held.
        root: folder that their paths are relative to.
        benchmarks: from `read_benchmark`.
        on_kept: told every clip that is kept, in order.
        on_dropped: told id, reason and finding of every other.
        on_progress: told how many clips are done.

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
                count_dropped(cleaning.dropped, words.reason, clip.id)
                on_dropped({"id": clip.id, "reason": words.reason})
            else:
                readable = True
                if finding := find_in_benchmarks(clip, words, tested):
                    count_dropped(
                        cleaning.dropped,
                        finding.reason,
                        f"{clip.id} = {finding.benchmark}: {finding.item}",
                    )
                    on_dropped({"id": clip.id, **vars(finding)})
                else:
                    cleaning.kept += 1
                    cleaning.not_compared += int((words != SILENT).sum()) < MIN_FRAMES
                    on_kept(clip)
            on_progress(done)
    if not readable:
        table = ", ".join(
            f"{r}: {d.count} (first: {d.example})" for r, d in cleaning.dropped.items()
        )
        raise DataError(
            f"no clip under {root} could be read: {table or 'there is none'}",
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
    """Write the clips of a file that no benchmark tests, and beside them those that one does.

    Args:
        clips: `clips.jsonl`.
        root: folder that its paths are relative to.
        benchmarks: from `read_benchmark`.
        out: file for what stays; what does not goes to the same name with `.dropped.ndjson`. Both
            are whole or not there.
        on_progress: told how many clips are done.

    Raises:
        ConfigError: `out` is the file that is read.
        DataError: the clips cannot be read.
    """
    check_files(clips, out)
    out.parent.mkdir(parents=True, exist_ok=True)
    # The file of what stays is in its place last: where it is, the other is as well.
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
    """Make sure that clips can be read and written before benchmarks are read, which takes long.

    Args:
        clips: `clips.jsonl`; its first line is read.
        out: file for what stays.

    Raises:
        ConfigError: `out` is the file that is read, or a pipe or a device.
        DataError: the clips are missing, or begin with what is no clip.
    """
    if out.resolve() == clips.resolve():
        raise ConfigError(f"{out} would replace what is read", fix="give another --out")
    for path in (out, _rejects(out)):
        check_output(path)
    next(stream_clips(clips))


def _rejects(out: Path) -> Path:
    return out.with_suffix(".dropped.ndjson")


def _read_words(root: Path, clip: Clip) -> NDArray[np.uint32] | DestaError:
    """Return the fingerprint of a clip, (F,), or why it cannot be read."""
    try:
        return audio_fingerprint(load_clip(root, clip))
    except Exception as error:
        return error_of(error, clip.id)


def find_in_benchmarks(
    clip: Clip, words: NDArray[np.uint32], benchmarks: Iterable[BenchmarkRecordings]
) -> Finding | None:
    """Say where a clip is tested; a name counts before the sound.

    Args:
        clip: its id and path give the name.
        words: its fingerprint, (F,).
        benchmarks: in the order in which they are to be named.
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
