"""Decontamination: clips that are in the test data of a benchmark, by name and by sound.

A benchmark is a folder as it was published: recordings, Parquet files that hold recordings, and
lists (JSON, JSONL, CSV, TSV, plain or gzipped) that name recordings.
"""

import gzip
import hashlib
import io
import json
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any, TextIO

import numpy as np
from huggingface_hub import constants
from numpy.typing import NDArray

from desta.audio import AudioError, AudioInput, load
from desta.construction.fingerprint import MIN_FRAMES, SILENT, FingerprintIndex, fingerprint
from desta.errors import ConfigError, DataError, need
from desta.records import Clip, stream_clips
from desta.shards import Dropped, write_atomic

BY_NAME = "is named in a benchmark"
BY_SOUND = "is heard in a benchmark"

_VERSION = 1  # of the index on disk; raised when fingerprints or names change
_SUFFIXES = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".mp4", ".webm", ".aac", ".aiff")
_LISTS = (".json", ".jsonl", ".csv", ".tsv")
_FILE_NAME = re.compile(rf"[^\s\"'\\,:;|<>]+(?:{'|'.join(map(re.escape, _SUFFIXES))})\b", re.I)
_MICROPHONE = re.compile(r"_mic\d$")  # VCTK 0.92 has each sentence from two microphones
_BATCH = 64


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A clip that is in a benchmark."""

    reason: str
    benchmark: str
    item: str
    """Path of the recording in the benchmark, or its name in a list."""
    errors: float | None = None
    """Share of unequal bits of the fingerprints; None where the name was enough."""


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """What is known of the recordings of one benchmark."""

    name: str
    items: tuple[str, ...]
    """Recordings, in the order of the index."""
    index: FingerprintIndex
    names: dict[str, str]
    """Key of a name -> the name itself."""
    unreadable: dict[str, Dropped]
    """Recordings that could not be read, by reason."""


@dataclass(kw_only=True)
class Cleaning:
    """What became of the clips."""

    kept: int = 0
    dropped: dict[str, Dropped] = field(default_factory=dict)
    """By reason; the example names the benchmark's item too."""
    not_compared: int = 0
    """Kept clips that are too short or too quiet to be compared by sound."""

    def drop(self, reason: str, example: str) -> None:
        """Count a clip."""
        before = self.dropped.get(reason)
        self.dropped[reason] = Dropped(
            count=before.count + 1 if before else 1, example=before.example if before else example
        )


def clean(
    clips: Iterable[Clip],
    root: Path,
    benchmarks: Iterable[Benchmark],
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
            _in_batches(pool, lambda c: (c, _words(root / c.audio)), clips), start=1
        ):
            if isinstance(words, AudioError):
                cleaning.drop(words.reason, clip.id)
                on_dropped({"id": clip.id, "reason": words.reason})
            else:
                readable = True
                if finding := find(clip, words, tested):
                    cleaning.drop(
                        finding.reason, f"{clip.id} = {finding.benchmark}: {finding.item}"
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
    benchmarks: Iterable[Benchmark],
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
    if out.resolve() == clips.resolve():
        raise ConfigError(f"{out} would replace what is read", fix="give another --out")
    rejects = out.with_suffix(".dropped.ndjson")
    parts = [path.with_name(f".{path.name}.part") for path in (out, rejects)]
    out.parent.mkdir(parents=True, exist_ok=True)
    with parts[0].open("w", encoding="utf-8") as kept, parts[1].open("w", encoding="utf-8") as lost:

        def write(file: TextIO, record: dict[str, Any]) -> None:
            file.write(f"{json.dumps(record, ensure_ascii=False)}\n")

        cleaning = clean(
            stream_clips(clips),
            root,
            benchmarks,
            on_kept=lambda clip: write(kept, clip.to_json()),
            on_dropped=lambda record: write(lost, record),
            on_progress=on_progress,
        )
    for part, path in zip(parts, (out, rejects), strict=True):
        part.replace(path)
    return cleaning


def find(clip: Clip, words: NDArray[np.uint32], benchmarks: Iterable[Benchmark]) -> Finding | None:
    """Say where a clip is tested; a name counts before the sound.

    Args:
        clip: its id and path give the name.
        words: its fingerprint, (F,).
        benchmarks: in the order in which they are to be named.
    """
    own = {name for name in map(_plain, (clip.audio, clip.id)) if _is_telling(name)}
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


def read_benchmark(
    directory: Path,
    *,
    cache: Path | None = None,
    on_progress: Callable[[int], None] = lambda done: None,
) -> Benchmark:
    """Read the recordings and lists of a benchmark, or its index from an earlier call.

    Args:
        directory: the benchmark, as it was published.
        cache: folder of indices; None for `HF_HOME/desta/fingerprints`. An index counts as long as
            the paths, sizes and times of the benchmark's files stay what they were.
        on_progress: told how many recordings are done.

    Raises:
        DataError: it is no folder, or names and holds no recording.
        MissingExtraError: it holds Parquet files, and pyarrow is not there.
    """
    if not directory.is_dir():
        raise DataError(f"{directory} is not a folder", fix="give the folder of a benchmark")
    paths = sorted(path for path in directory.rglob("*") if path.is_file())
    place = (cache or Path(constants.HF_HOME) / "desta" / "fingerprints") / (
        f"{_state(directory, paths)}.npz"
    )
    if (stored := _load_index(place, directory.name)) is not None:
        return stored
    items: list[str] = []
    prints: list[NDArray[np.uint32]] = []
    unreadable = Cleaning()
    with ThreadPoolExecutor() as pool:
        for done, (name, words) in enumerate(
            _in_batches(pool, lambda r: (r[0], _words(r[1])), _recordings(directory, paths)), 1
        ):
            if isinstance(words, AudioError):
                unreadable.drop(words.reason, name)
            else:
                items.append(name)
                prints.append(words)
            on_progress(done)
    names = {key: name for name in [*_listed(paths), *items] for key in _keys(name)}
    if not names and not items:
        raise DataError(
            f"{directory} neither holds nor names a recording",
            fix="give the folder of a benchmark with its recordings or its lists of them",
        )
    benchmark = Benchmark(
        name=directory.name,
        items=tuple(items),
        index=FingerprintIndex(prints),
        names=names,
        unreadable=unreadable.dropped,
    )
    _store_index(place, benchmark)
    return benchmark


def _recordings(directory: Path, paths: Iterable[Path]) -> Iterator[tuple[str, AudioInput]]:
    for path in paths:
        name = path.relative_to(directory).as_posix()
        if path.suffix.lower() in _SUFFIXES:
            yield name, path
        elif path.suffix == ".parquet":
            yield from _in_parquet(path, name)


def _in_parquet(path: Path, name: str) -> Iterator[tuple[str, AudioInput]]:
    """Yield the recordings in a file of a Hub data set: columns of `{bytes, path}`."""
    parquet = need("pyarrow.parquet", extra="train", to="read recordings out of Parquet files")
    row = 0
    for batch in parquet.ParquetFile(path).iter_batches(batch_size=_BATCH):
        for record in batch.to_pylist():
            for value in record.values():
                if isinstance(value, dict) and value.get("bytes"):
                    stem = PurePosixPath(value.get("path") or "").name
                    yield f"{name}#{row}{'/' if stem else ''}{stem}", value["bytes"]
            row += 1


def _listed(paths: Iterable[Path]) -> Iterator[str]:
    """Yield the file names of recordings that lists speak of."""
    for path in paths:
        if path.suffix in _LISTS or (path.suffix == ".gz" and Path(path.stem).suffix in _LISTS):
            for line in _text_lines(path):
                yield from _FILE_NAME.findall(line)


def _text_lines(path: Path) -> Iterator[str]:
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        yield from io.TextIOWrapper(file, encoding="utf-8", errors="replace")


def _keys(name: str) -> Iterator[str]:
    """Yield a name and its endings: benchmarks put task, split and corpus in front of it."""
    plain = _plain(name)
    starts = [0, *(match.end() for match in re.finditer("_", plain))]
    yield from (plain[start:] for start in starts if _is_telling(plain[start:]))


def _plain(name: str) -> str:
    stem = PurePosixPath(name).name
    suffix = PurePosixPath(stem).suffix
    stem = stem.removesuffix(suffix) if suffix.lower() in _SUFFIXES else stem
    return _MICROPHONE.sub("", stem.casefold())


def _is_telling(name: str) -> bool:
    """Say whether a name belongs to one recording: "dog7" and "0001" are in many corpora."""
    digits = sum(character.isdigit() for character in name)
    return digits >= 5 or (digits >= 4 and len(name) >= 12)


def _words(source: AudioInput) -> NDArray[np.uint32] | AudioError:
    try:
        return fingerprint(load(source))
    except AudioError as error:
        return error


def _in_batches(
    pool: ThreadPoolExecutor, work: Callable[[Any], Any], things: Iterable[Any]
) -> Iterator[Any]:
    stream = iter(things)
    while batch := list(islice(stream, _BATCH)):
        yield from pool.map(work, batch)


def _state(directory: Path, paths: Iterable[Path]) -> str:
    digest = hashlib.sha256(str(_VERSION).encode())
    for path in paths:
        status = path.stat()
        name = path.relative_to(directory).as_posix()
        digest.update(f"{name}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _store_index(place: Path, benchmark: Benchmark) -> None:
    facts = {
        "items": benchmark.items,
        "names": benchmark.names,
        "unreadable": {r: [d.count, d.example] for r, d in benchmark.unreadable.items()},
    }
    buffer = io.BytesIO()
    np.savez(
        buffer,
        words=benchmark.index.words,
        starts=benchmark.index.starts,
        facts=np.frombuffer(json.dumps(facts).encode(), np.uint8),
    )
    place.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(place, buffer.getvalue())


def _load_index(place: Path, name: str) -> Benchmark | None:
    """Return a stored index; None where there is none, or it cannot be read."""
    if not place.is_file():
        return None
    try:
        with place.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            words, starts = stored["words"], stored["starts"]
            facts = json.loads(stored["facts"].tobytes())
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile):  # made again
        return None
    return Benchmark(
        name=name,
        items=tuple(facts["items"]),
        index=FingerprintIndex(
            [words[start:end] for start, end in zip(starts, starts[1:], strict=False)]
        ),
        names=facts["names"],
        unreadable={r: Dropped(count=c, example=e) for r, (c, e) in facts["unreadable"].items()},
    )
