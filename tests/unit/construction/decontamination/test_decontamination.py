import gzip
import io
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from numpy.typing import NDArray

from desta.construction.decontamination.clean import (
    BY_NAME,
    BY_SOUND,
    clean,
    clean_file,
)
from desta.construction.decontamination.fingerprint import (
    SILENT,
    FingerprintIndex,
    audio_fingerprint,
)
from desta.construction.decontamination.test_recordings import BenchmarkRecordings, read_benchmark
from desta.errors import ConfigError, DataError
from desta.records import Clip

RATE = 16_000
Audio = NDArray[np.float32]


def voice(seed: int, seconds: float = 4.0) -> Audio:
    """Return something like speech: gliding harmonics that come and go, and a little noise."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    knots = np.linspace(0, seconds, max(4, round(seconds * 6)))
    pitch = np.interp(time, knots, rng.uniform(90, 250, len(knots)))
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    sound = np.zeros(len(time))
    for harmonic in range(1, 16):
        sound += np.interp(time, knots, rng.uniform(0, 1, len(knots))) * np.sin(harmonic * phase)
    return (0.05 * sound + 0.002 * rng.normal(size=len(time))).astype(np.float32)


def recoded(audio: Audio, rate: int, format: str, subtype: str) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, soxr.resample(audio, RATE, rate), rate, format=format, subtype=subtype)
    return file.getvalue()


def clip(audio: str, id: str | None = None) -> Clip:
    return Clip(id=id or f"c/{audio}", source="c", audio=audio, duration=1.0, domain="speech")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def benchmark_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "bench"
    (folder / "audio").mkdir(parents=True)
    for seed in range(3):
        soundfile.write(folder / "audio" / f"item{seed}.wav", voice(seed), RATE)
    (folder / "broken.wav").write_bytes(b"RIFF")
    rows = [
        {"file": "Task_VCTK-Corpus_16k_p292_182.wav", "label": "yes"},
        {"file": "de_test_0_common_voice_de_17868906.wav"},
    ]
    text = "\n".join(map(json.dumps, rows))
    (folder / "items.jsonl.gz").write_bytes(gzip.compress(text.encode()))
    return folder


def sorted_out(
    clips: list[Clip], root: Path, benchmarks: list[BenchmarkRecordings]
) -> tuple[list[str], dict[str, dict[str, object]]]:
    kept: list[str] = []
    dropped: dict[str, dict[str, object]] = {}
    clean(
        iter(clips),
        root,
        benchmarks,
        on_kept=lambda clip: kept.append(clip.id),
        on_dropped=lambda record: dropped.update({str(record["id"]): record}),
    )
    return kept, dropped


COPIES = {
    "the same": lambda a: recoded(a, RATE, "WAV", "PCM_16"),
    "8 kHz telephone": lambda a: recoded(a, 8_000, "WAV", "ULAW"),
    "44.1 kHz ogg": lambda a: recoded(a, 44_100, "OGG", "VORBIS"),
    "mp3": lambda a: recoded(a, 22_050, "MP3", "MPEG_LAYER_III"),
    "a tenth as loud": lambda a: recoded(a / 10, RATE, "WAV", "PCM_16"),
    "without its first 0.3 s": lambda a: recoded(a[4_817:], RATE, "FLAC", "PCM_16"),
    "between other sounds": lambda a: recoded(
        np.concatenate([voice(50), a, voice(51)]), RATE, "FLAC", "PCM_16"
    ),
}


@pytest.mark.parametrize("copy", COPIES)
def test_copies_are_heard_and_others_are_not(
    copy: str, benchmark_folder: Path, tmp_path: Path, cache: Path
) -> None:
    (tmp_path / "copy.bin").write_bytes(COPIES[copy](voice(1)))
    soundfile.write(tmp_path / "other.wav", voice(9), RATE)
    benchmark = read_benchmark(benchmark_folder, cache=cache)

    kept, dropped = sorted_out([clip("copy.bin"), clip("other.wav")], tmp_path, [benchmark])

    assert kept == ["c/other.wav"]
    assert dropped["c/copy.bin"]["reason"] == BY_SOUND
    assert (dropped["c/copy.bin"]["benchmark"], dropped["c/copy.bin"]["item"]) == (
        "bench",
        "audio/item1.wav",
    )


@pytest.mark.parametrize(
    ("audio", "named"),
    [
        ("wav48/p292/p292_182_mic1.flac", True),
        ("p292_182.wav", True),
        ("p292_183.wav", False),
        ("clips/common_voice_de_17868906.mp3", True),
        ("common_voice_de_17868907.mp3", False),
        ("182.wav", False),  # says too little
        ("item1.wav", False),  # so does this; the sound decides
    ],
)
def test_names_are_found_behind_what_a_benchmark_puts_in_front(
    audio: str, named: bool, benchmark_folder: Path, tmp_path: Path, cache: Path
) -> None:
    (tmp_path / audio).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / audio).write_bytes(recoded(voice(77), RATE, "FLAC", "PCM_16"))
    benchmark = read_benchmark(benchmark_folder, cache=cache)
    kept, dropped = sorted_out([clip(audio)], tmp_path, [benchmark])
    assert [record["reason"] for record in dropped.values()] == ([BY_NAME] if named else [])
    assert len(kept) + len(dropped) == 1


def test_silence_is_like_nothing_and_counted(tmp_path: Path, cache: Path) -> None:
    folder = tmp_path / "bench"
    folder.mkdir()
    quiet = np.zeros(4 * RATE, np.float32)
    soundfile.write(folder / "quiet.wav", quiet, RATE)
    padded = np.concatenate([quiet, voice(0, 2.0), quiet])
    soundfile.write(folder / "padded.wav", padded, RATE)
    soundfile.write(tmp_path / "quiet2.wav", quiet, RATE)
    soundfile.write(tmp_path / "short.wav", voice(0, 0.3), RATE)
    other = np.concatenate([quiet, voice(5, 2.0), quiet])
    soundfile.write(tmp_path / "other.wav", other, RATE)
    clips = [clip("quiet2.wav"), clip("short.wav"), clip("other.wav")]
    cleaning = clean(
        clips,
        tmp_path,
        [read_benchmark(folder, cache=cache)],
        on_kept=lambda clip: None,
        on_dropped=lambda record: None,
    )
    assert (cleaning.kept, cleaning.not_compared, cleaning.dropped) == (3, 2, {})


def test_what_cannot_be_read_is_counted_and_left_out(
    benchmark_folder: Path, tmp_path: Path, cache: Path
) -> None:
    soundfile.write(tmp_path / "fine.wav", voice(9), RATE)
    benchmark = read_benchmark(benchmark_folder, cache=cache)
    assert [d.example for d in benchmark.unreadable.values()] == ["broken.wav"]
    (tmp_path / "root").mkdir()
    soundfile.write(tmp_path / "root" / "fine.wav", voice(9), RATE)
    outside = clip("../fine.wav")
    kept, dropped = sorted_out(
        [clip("gone.wav"), clip("fine.wav"), outside], tmp_path / "root", [benchmark]
    )
    assert kept == ["c/fine.wav"]
    assert dropped["c/../fine.wav"]["reason"] == "lies outside the root"
    assert dropped["c/gone.wav"]["reason"] == "does not exist"
    with pytest.raises(DataError, match="no clip under .* could be read"):
        sorted_out([clip("gone.wav")], tmp_path, [benchmark])


def test_an_index_is_read_again_until_the_benchmark_changes(
    benchmark_folder: Path, tmp_path: Path, cache: Path
) -> None:
    first = read_benchmark(benchmark_folder, cache=cache)
    read: list[int] = []
    again = read_benchmark(benchmark_folder, cache=cache, on_progress=read.append)
    assert not read  # nothing was decoded
    assert (again.items, again.names, again.unreadable) == (
        first.items,
        first.names,
        first.unreadable,
    )
    assert np.array_equal(again.index.words, first.index.words)
    soundfile.write(benchmark_folder / "new.wav", voice(8), RATE)
    assert "new.wav" in read_benchmark(benchmark_folder, cache=cache).items
    for path in cache.iterdir():
        path.write_bytes(path.read_bytes()[:100])  # a damaged index is made again
    assert read_benchmark(benchmark_folder, cache=cache).items


def test_recordings_in_parquet_files_are_read(tmp_path: Path, cache: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    folder = tmp_path / "bench"
    folder.mkdir()
    rows = [
        {"audio": {"bytes": recoded(voice(n), RATE, "WAV", "PCM_16"), "path": f"x_99999{n}.wav"}}
        for n in range(2)
    ]
    parquet.write_table(pyarrow.Table.from_pylist(rows), folder / "test.parquet")
    soundfile.write(tmp_path / "copy.flac", voice(1), RATE)
    benchmark = read_benchmark(folder, cache=cache)
    kept, dropped = sorted_out([clip("copy.flac")], tmp_path, [benchmark])
    assert not kept
    assert dropped["c/copy.flac"]["item"] == "test.parquet#1/x_999991.wav"
    assert "999990" in benchmark.names


def test_a_folder_without_recordings_is_refused(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "readme.txt").write_text("a.wav")
    with pytest.raises(DataError, match="neither holds nor names"):
        read_benchmark(tmp_path, cache=cache)
    with pytest.raises(DataError, match="is not a folder"):
        read_benchmark(tmp_path / "gone", cache=cache)


def test_files_are_written_whole_and_never_over_what_is_read(
    benchmark_folder: Path, tmp_path: Path, cache: Path
) -> None:
    soundfile.write(tmp_path / "copy.wav", voice(2), RATE)
    soundfile.write(tmp_path / "other.wav", voice(9), RATE)
    path = tmp_path / "clips.jsonl"
    lines = [json.dumps(clip(name).to_json()) for name in ("copy.wav", "other.wav")]
    path.write_text("\n".join(lines))
    benchmarks = [read_benchmark(benchmark_folder, cache=cache)]
    with pytest.raises(ConfigError, match="would replace"):
        clean_file(path, tmp_path, benchmarks, out=path)
    out = tmp_path / "new" / "clean.jsonl"
    clean_file(path, tmp_path, benchmarks, out=out)
    assert [json.loads(line)["id"] for line in out.read_text().splitlines()] == ["c/other.wav"]
    (lost,) = map(json.loads, (out.parent / "clean.dropped.ndjson").read_text().splitlines())
    assert (lost["id"], lost["item"]) == ("c/copy.wav", "audio/item2.wav")
    assert sorted(p.name for p in out.parent.iterdir()) == ["clean.dropped.ndjson", "clean.jsonl"]


def test_clips_are_streamed(benchmark_folder: Path, tmp_path: Path, cache: Path) -> None:
    soundfile.write(tmp_path / "other.wav", voice(9, 1.0), RATE)
    taken: list[int] = []
    done: list[int] = []

    def clips() -> Iterator[Clip]:
        for number in range(300):
            taken.append(number)
            assert number - len(done) < 100
            yield clip("other.wav", id=str(number))

    clean(
        clips(),
        tmp_path,
        [read_benchmark(benchmark_folder, cache=cache)],
        on_kept=lambda clip: None,
        on_dropped=lambda record: None,
        on_progress=done.append,
    )
    assert len(taken) == len(done) == 300


def test_the_start_of_a_cut_is_told() -> None:
    whole = voice(3, 6.0)
    match = FingerprintIndex([audio_fingerprint(voice(4)), audio_fingerprint(whole)]).find(
        audio_fingerprint(whole[2 * RATE : 5 * RATE])
    )
    assert match is not None
    assert match.item == 1
    assert match.start == pytest.approx(2.0, abs=0.02)
    assert match.errors < 0.1


def test_fingerprints_of_nothing_are_empty_or_silent() -> None:
    assert not len(audio_fingerprint(np.zeros(100, np.float32)))
    assert (audio_fingerprint(np.zeros(RATE, np.float32)) == SILENT).all()
    assert FingerprintIndex([]).find(audio_fingerprint(voice(0))) is None
