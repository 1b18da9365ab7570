"""A folder of rendered clips: FLAC at 16 kHz, a table `rendered.jsonl`, a summary `render.json`.

A clip that was rendered before is kept, also by a run that was killed: its file is named by a hash
of everything that it is rendered from. FLAC is lossless, so no codec tells rendered clips from
recorded ones; 16 kHz is all that the encoder hears.
"""

import hashlib
import io
import json
import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from desta.audio import SAMPLE_RATE, is_silent
from desta.errors import DataError, DestaError
from desta.files import write_atomic
from desta.isolation import error_of
from desta.lines import LineFile
from desta.paths import check_folder
from desta.reasons import Reasons
from desta.sources.files import is_file

TABLE = "rendered.jsonl"
SUMMARY = "render.json"
FORMAT = 1
"""Counted up when the same facts give other samples."""
SILENT = "it is silent"
DROPPED = "the voice model has no symbol"

Renderer = Callable[[Mapping[str, Any]], tuple[NDArray[np.float32], dict[str, Any]]]
"""Facts of a clip -> samples, (T,), at 16 kHz, and more facts for the table."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """A clip to render."""

    id: str
    """Unique within the folder, and the path of its file but for hash and suffix; letters, digits,
    "-", "_" and "/"."""
    facts: Mapping[str, Any]
    """Values of JSON that determine the samples; they become the row of the table."""

    @property
    def audio(self) -> str:
        """Path of the file below the folder."""
        stated = json.dumps([FORMAT, self.facts], sort_keys=True, ensure_ascii=False)
        return f"clips/{self.id}-{hashlib.sha256(stated.encode()).hexdigest()[:12]}.flac"


@dataclass(frozen=True, kw_only=True)
class Rendering:
    """Outcome of a run."""

    rendered: int
    """Clips that were rendered now."""
    kept: int
    """Clips that were there."""
    seconds: float
    """Length of all of them together."""
    skipped: Reasons[str]
    """Clips that could not be rendered."""
    dropped: Reasons[str]
    """Clips in which a symbol was left out, by symbol."""

    def summary(self) -> dict[str, Any]:
        """Return the counts for `render.json`."""
        return {
            "clips": self.rendered + self.kept,
            "seconds": round(self.seconds, 3),
            "skipped": self.skipped.table(),
            "dropped": self.dropped.table(),
        }


def render(
    jobs: Sequence[Job],
    out: Path,
    make: Callable[[], Renderer],
    *,
    workers: int = 1,
    on_progress: Callable[[], None] = lambda: None,
) -> Rendering:
    """Render clips into a folder; what is there is kept.

    The table also keeps the clips of earlier runs that this one does not name. At every moment it
    holds a clip at most once, with the file that is there.

    Args:
        jobs: the clips, in the order of rendering.
        out: folder, created if missing.
        make: makes the renderer, in each process; picklable if there are several.
        workers: processes; 1 renders in this one.
        on_progress: called after each clip.

    Raises:
        DataError: another process renders into the folder, or nothing could be rendered.
        DestaError: whatever `make` lacks.
    """
    check_folder(out)
    out.mkdir(parents=True, exist_ok=True)
    busy = DataError(f"{out} is being rendered into", fix="wait for the other command")
    skipped = Reasons[str]()
    with LineFile(out / TABLE, busy=busy) as table:
        lines = list(table)
        rows = {row["id"]: row for row in map(_row, lines) if row}
        kept = {job.id for job in jobs if _is_there(job, rows, out)}
        for _ in kept:
            on_progress()
        missing = [job for job in jobs if job.id not in kept]
        rendered = _rendered(missing, out, make, workers)
        for job in missing:  # a row of other facts, or of a file that is gone
            rows.pop(job.id, None)
        if len(rows) < len(lines):
            table.rewrite(_lines(rows))
        for job, found in zip(missing, rendered, strict=True):
            if isinstance(found, DestaError):
                skipped.add(found.reason, job.id)
            else:
                table.append([json.dumps(found, ensure_ascii=False)])
                rows[job.id] = found
            on_progress()
        table.rewrite(_lines(rows))
    done = [rows[job.id] for job in jobs if job.id in rows]
    if not done:
        reason, worst = skipped.most_common()[0]
        raise DataError(f"nothing was rendered: {reason}", fix=f"look at {worst.example}")
    outcome = Rendering(
        rendered=len(done) - len(kept),
        kept=len(kept),
        seconds=sum(row["seconds"] for row in done),
        skipped=skipped,
        dropped=Reasons.of(
            (f'{DROPPED} "{symbol}" (U+{ord(symbol):04X})', row["id"])
            for row in done
            for symbol in dict.fromkeys(row.get("dropped", ""))
        ),
    )
    summary = json.dumps(outcome.summary(), ensure_ascii=False, indent=2)
    write_atomic(out / SUMMARY, f"{summary}\n".encode())
    return outcome


def _row(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and isinstance(row.get("id"), str) else None


def _lines(rows: Mapping[str, Mapping[str, Any]]) -> list[bytes]:
    """Return the lines of the table, in the order of ids."""
    return [json.dumps(rows[id], ensure_ascii=False).encode() for id in sorted(rows)]


def _is_there(job: Job, rows: Mapping[str, Mapping[str, Any]], out: Path) -> bool:
    return job.id in rows and rows[job.id].get("audio") == job.audio and is_file(out / job.audio)


def _rendered(
    jobs: Sequence[Job], out: Path, make: Callable[[], Renderer], workers: int
) -> Iterator[dict[str, Any] | DestaError]:
    """Return the rows of the jobs as they are rendered, an error in place of a row."""
    renderer = make()  # also for processes: what is missing is found before anything is changed
    if workers == 1:
        return (_render(job, out, renderer) for job in jobs)
    return _in_processes(jobs, out, make, workers)


def _in_processes(
    jobs: Sequence[Job], out: Path, make: Callable[[], Renderer], workers: int
) -> Iterator[dict[str, Any] | DestaError]:
    context = multiprocessing.get_context("spawn")  # a fork would copy the threads' locks
    with ProcessPoolExecutor(workers, context, initializer=_start, initargs=(make, out)) as pool:
        try:
            yield from pool.map(_work, jobs)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


_worker: tuple[Renderer, Path]


def _start(make: Callable[[], Renderer], out: Path) -> None:
    global _worker
    _worker = make(), out


def _work(job: Job) -> dict[str, Any] | DestaError:
    renderer, out = _worker
    return _render(job, out, renderer)


def _render(job: Job, out: Path, renderer: Renderer) -> dict[str, Any] | DestaError:
    """Render a clip, write it, and return its row; the error of the clip if there is one."""
    try:
        samples, more = renderer(job.facts)
    except Exception as error:
        return error_of(error, job.id)
    if is_silent(samples):
        return DataError(f"{job.id}: {SILENT}", fix="leave it out", reason=SILENT)
    sound = io.BytesIO()
    clipped = np.clip(samples, -1.0, 1.0)
    soundfile.write(sound, clipped, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    path = out / job.audio
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, sound.getvalue())
    for old in path.parent.glob(f"{Path(job.id).name}-*{path.suffix}"):
        if old != path:  # of other facts
            old.unlink()
    seconds = round(len(samples) / SAMPLE_RATE, 6)
    return {"id": job.id, "audio": job.audio, "seconds": seconds, **job.facts, **more}


def interleave(groups: Iterable[Sequence[Job]]) -> list[Job]:
    """Return the jobs of several groups in turn, so that a part of a run holds all groups alike."""
    rows = [list(group) for group in groups]
    longest = max(map(len, rows), default=0)
    return [row[number] for number in range(longest) for row in rows if number < len(row)]
