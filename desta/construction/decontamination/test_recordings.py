"""Recordings of a benchmark on disk, and the names of recordings in its lists.

A benchmark is a folder as published: recordings, Parquet files with recordings, and lists (JSON,
JSONL, CSV, TSV, plain or gzipped) with names of recordings. The index is cached on disk.
"""

import gzip
import hashlib
import io
import json
import re
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from huggingface_hub import constants
from numpy.typing import NDArray

from desta.audio import SUFFIXES, AudioInput, audio_name, load_audio
from desta.construction.decontamination.fingerprint import FingerprintIndex, audio_fingerprint
from desta.errors import DataError, DestaError, need
from desta.files import UNWRITABLE, write_atomic
from desta.isolation import error_of
from desta.reasons import Count, Reasons

_VERSION = 1  # of the cached index; raised when fingerprints or names change
_LISTS = (".json", ".jsonl", ".csv", ".tsv")
_FILE_NAME = re.compile(rf"[^\s\"'\\,:;|<>]+(?:{'|'.join(map(re.escape, SUFFIXES))})\b", re.I)
_MICROPHONE = re.compile(r"_mic\d$")  # VCTK 0.92 has each sentence from two microphones
_BATCH = 64


@dataclass(frozen=True, kw_only=True)
class BenchmarkRecordings:
    """Fingerprints and names of the recordings of one benchmark."""

    name: str
    items: tuple[str, ...]
    """Recordings, in the order of the index."""
    index: FingerprintIndex
    names: dict[str, str]
    """Key of a name -> the name itself."""
    unreadable: Reasons[str]
    """Recordings that could not be read."""


def read_benchmark(
    directory: Path,
    *,
    cache: Path | None = None,
    on_progress: Callable[[int], None] = lambda done: None,
) -> BenchmarkRecordings:
    """Read the recordings and lists of a benchmark, or its cached index.

    Args:
        directory: folder of the benchmark, as published.
        cache: folder of indices; None for `HF_HOME/desta/fingerprints`. An index is valid while
            paths, sizes and times of the benchmark's files are unchanged.
        on_progress: called with the number of finished recordings.

    Raises:
        DataError: it is not a folder, or neither holds nor names a recording.
        MissingExtraError: it holds Parquet files, and pyarrow is not installed.
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
    unreadable = Reasons[str]()
    with ThreadPoolExecutor() as pool:
        for done, (name, words) in enumerate(
            in_batches(
                pool, lambda r: (r[0], read_fingerprint(r[1])), _recordings(directory, paths)
            ),
            1,
        ):
            if isinstance(words, DestaError):
                unreadable.add(words.reason, name)
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
    benchmark = BenchmarkRecordings(
        name=directory.name,
        items=tuple(items),
        index=FingerprintIndex(prints),
        names=names,
        unreadable=unreadable,
    )
    _store_index(place, benchmark)
    return benchmark


def read_fingerprint(source: AudioInput) -> NDArray[np.uint32] | DestaError:
    """Return the fingerprint of a recording, (F,), or the error if it cannot be read."""
    try:
        return audio_fingerprint(load_audio(source))
    except Exception as error:
        return error_of(error, audio_name(source))


def in_batches(
    pool: ThreadPoolExecutor, work: Callable[[Any], Any], things: Iterable[Any]
) -> Iterator[Any]:
    """Yield the results of a function in order, a batch at a time."""
    stream = iter(things)
    while batch := list(islice(stream, _BATCH)):
        yield from pool.map(work, batch)


def _recordings(directory: Path, paths: Iterable[Path]) -> Iterator[tuple[str, AudioInput]]:
    for path in paths:
        name = path.relative_to(directory).as_posix()
        if path.suffix.lower() in SUFFIXES:
            yield name, path
        elif path.suffix == ".parquet":
            yield from _in_parquet(path, name)


def _in_parquet(path: Path, name: str) -> Iterator[tuple[str, AudioInput]]:
    """Yield the recordings in a file of a Hub data set: columns of `{bytes, path}`."""
    parquet = need("pyarrow.parquet", extra="train", to="read recordings out of Parquet files")
    row = 0
    try:
        for batch in parquet.ParquetFile(path).iter_batches(batch_size=_BATCH):
            for record in batch.to_pylist():
                for value in record.values():
                    if isinstance(value, dict) and value.get("bytes"):
                        stem = PurePosixPath(value.get("path") or "").name
                        yield f"{name}#{row}{'/' if stem else ''}{stem}", value["bytes"]
                row += 1
    except (ValueError, OSError) as error:  # pyarrow's errors for bytes that are not Parquet
        raise _broken(path, error) from error


def _listed(paths: Iterable[Path]) -> Iterator[str]:
    """Yield the file names of recordings in lists."""
    for path in paths:
        if path.suffix in _LISTS or (path.suffix == ".gz" and Path(path.stem).suffix in _LISTS):
            for line in _text_lines(path):
                yield from _FILE_NAME.findall(line)


def _text_lines(path: Path) -> Iterator[str]:
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        try:
            yield from io.TextIOWrapper(file, encoding="utf-8", errors="replace")
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise _broken(path, error) from error


def _broken(path: Path, error: Exception) -> DataError:
    why = " ".join(str(error).split())
    return DataError(f"{path} is not whole: {why}", fix="fetch that file again, or remove it")


def _keys(name: str) -> Iterator[str]:
    """Yield a name and its endings: benchmarks put task, split and corpus in front."""
    plain = plain_name(name)
    starts = [0, *(match.end() for match in re.finditer("_", plain))]
    yield from (plain[start:] for start in starts if is_telling(plain[start:]))


def plain_name(name: str) -> str:
    """Return the last part of a path or id, case folded, without an audio suffix."""
    stem = PurePosixPath(name).name
    suffix = PurePosixPath(stem).suffix
    stem = stem.removesuffix(suffix) if suffix.lower() in SUFFIXES else stem
    return _MICROPHONE.sub("", stem.casefold())


def is_telling(name: str) -> bool:
    """Return whether a name identifies a recording, unlike "dog7" and "0001"."""
    digits = sum(character.isdigit() for character in name)
    return digits >= 5 or (digits >= 4 and len(name) >= 12)


def _state(directory: Path, paths: Iterable[Path]) -> str:
    digest = hashlib.sha256(str(_VERSION).encode())
    for path in paths:
        status = path.stat()
        name = path.relative_to(directory).as_posix()
        digest.update(f"{name}\0{status.st_size}\0{status.st_mtime_ns}\n".encode(errors=UNWRITABLE))
    return digest.hexdigest()


def _store_index(place: Path, benchmark: BenchmarkRecordings) -> None:
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


def _load_index(place: Path, name: str) -> BenchmarkRecordings | None:
    """Return a cached index; None if there is none, or it cannot be read."""
    if not place.is_file():
        return None
    try:
        with place.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            words, starts = stored["words"], stored["starts"]
            facts = json.loads(stored["facts"].tobytes())
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile):  # made again
        return None
    return BenchmarkRecordings(
        name=name,
        items=tuple(facts["items"]),
        index=FingerprintIndex(
            [words[start:end] for start, end in zip(starts, starts[1:], strict=False)]
        ),
        names=facts["names"],
        unreadable=Reasons(
            (reason, Count(count=count, example=example))
            for reason, (count, example) in facts["unreadable"].items()
        ),
    )
