import io
import os
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from desta.audio import (
    SAMPLE_RATE,
    WINDOW_SAMPLES,
    AudioError,
    load_audio,
    measure_duration,
    probe_duration,
    split_windows,
)


def tone(seconds: float, rate: int, *, pitch: float = 440.0) -> NDArray[np.float32]:
    times = np.arange(round(seconds * rate)) / rate
    return (0.5 * np.sin(2 * np.pi * pitch * times)).astype(np.float32)


def loudest_pitch(samples: NDArray[np.float32]) -> float:
    spectrum = np.abs(np.fft.rfft(samples))
    return float(np.argmax(spectrum) * SAMPLE_RATE / len(samples))


def encode(path: Path, codec: str, samples: NDArray[np.float32], rate: int) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, layout="mono")
        frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
        frame.sample_rate = rate
        to_codec = av.AudioResampler(
            format=stream.format, layout="mono", rate=rate, frame_size=stream.frame_size
        )
        for part in (*to_codec.resample(frame), *to_codec.resample(None)):
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))


@pytest.mark.parametrize(
    ("suffix", "rate", "options"),
    [
        ("wav", 8_000, {"subtype": "PCM_16"}),
        ("wav", 16_000, {"subtype": "PCM_U8"}),
        ("wav", 44_100, {"subtype": "PCM_24"}),
        ("wav", 48_000, {"subtype": "FLOAT"}),
        ("wav", 22_050, {"subtype": "DOUBLE"}),
        ("flac", 44_100, {}),
        ("ogg", 44_100, {}),
        ("mp3", 44_100, {}),
        ("aiff", 11_025, {}),
    ],
)
def test_every_format_and_rate_gives_the_same_tone_at_16_khz(
    tmp_path: Path, suffix: str, rate: int, options: dict[str, Any]
) -> None:
    path = tmp_path / f"tone.{suffix}"
    soundfile.write(path, tone(1.0, rate), rate, **options)

    samples = load_audio(path)

    assert samples.dtype == np.float32
    assert samples.shape == (SAMPLE_RATE,)
    assert loudest_pitch(samples) == pytest.approx(440, abs=1)
    assert np.abs(samples).max() == pytest.approx(0.5, abs=0.05)
    assert probe_duration(path) == pytest.approx(1.0)
    assert measure_duration(path) == pytest.approx(1.0)


@pytest.mark.parametrize(("suffix", "codec"), [("m4a", "aac"), ("mp4", "aac"), ("webm", "libopus")])
def test_what_libsndfile_cannot_read_is_read_too(tmp_path: Path, suffix: str, codec: str) -> None:
    path = tmp_path / f"tone.{suffix}"
    encode(path, codec, tone(1.0, 48_000), 48_000)

    assert loudest_pitch(load_audio(path)) == pytest.approx(440, abs=2)
    assert loudest_pitch(load_audio(path.read_bytes())) == pytest.approx(440, abs=2)
    assert probe_duration(path) == pytest.approx(1.0, abs=0.1)


def test_a_name_that_ends_in_raw_is_no_reason_to_read_samples_without_a_header(
    tmp_path: Path,
) -> None:
    good, bad = tmp_path / "good.raw", tmp_path / "bad.raw"
    encode(tmp_path / "tone.m4a", "aac", tone(1.0, 48_000), 48_000)
    (tmp_path / "tone.m4a").rename(good)
    bad.write_bytes(bytes(3200))

    assert probe_duration(good) == pytest.approx(1.0, abs=0.1)
    for read in (probe_duration, load_audio):
        with pytest.raises(AudioError, match="is not a recording in a format that can be read"):
            read(bad)


def test_two_channels_are_averaged(tmp_path: Path) -> None:
    left, right = tone(0.5, SAMPLE_RATE), tone(0.5, SAMPLE_RATE, pitch=700)
    both = np.stack([left, right], axis=1)
    soundfile.write(tmp_path / "stereo.wav", both, SAMPLE_RATE, subtype="FLOAT")

    np.testing.assert_allclose(load_audio(tmp_path / "stereo.wav"), (left + right) / 2, atol=1e-6)
    np.testing.assert_allclose(load_audio((both, SAMPLE_RATE)), (left + right) / 2, atol=1e-6)


def test_path_bytes_and_array_give_the_same_samples(tmp_path: Path) -> None:
    path = tmp_path / "tone.wav"
    soundfile.write(path, tone(0.5, 44_100), 44_100, subtype="PCM_16")
    whole_numbers, rate = soundfile.read(path, dtype="int16")

    np.testing.assert_array_equal(load_audio(path), load_audio(str(path)))
    np.testing.assert_array_equal(load_audio(path), load_audio(path.read_bytes()))
    np.testing.assert_allclose(load_audio(path), load_audio((whole_numbers, rate)), atol=1e-6)


def test_silence_is_audio(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "silence.wav", np.zeros(SAMPLE_RATE), SAMPLE_RATE)

    assert not load_audio(tmp_path / "silence.wav").any()


def make_bad(folder: Path, kind: str) -> Path:
    path = folder / f"{kind}.wav"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "too long":
        path = folder / f"{300 * 'x'}.wav"
    elif kind == "empty":
        path.touch()
    elif kind == "text":
        path.write_text("these are words, not samples\n" * 50)
    elif kind == "no samples":
        soundfile.write(path, np.zeros(0), SAMPLE_RATE)
    elif kind == "nan":
        soundfile.write(path, np.array([0, np.nan, 0]), SAMPLE_RATE, subtype="FLOAT")
    elif kind == "infinite":
        soundfile.write(path, np.array([0, np.inf, 0]), SAMPLE_RATE, subtype="FLOAT")
    elif kind == "playlist":  # must not lead to another file
        soundfile.write(folder / "other.wav", tone(0.1, SAMPLE_RATE), SAMPLE_RATE)
        path.write_text("ffconcat version 1.0\nfile other.wav\n")
    return path


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("missing", "does not exist"),
        ("folder", "is a folder, not a recording"),
        ("pipe", "is a pipe or a device"),
        ("too long", "cannot be opened (File name too long)"),
        ("empty", "is an empty file"),
        ("text", "is not a recording in a format that can be read"),
        ("no samples", "holds no samples"),
        ("nan", "holds NaN or infinite samples"),
        ("infinite", "holds NaN or infinite samples"),
        ("playlist", "is not a recording in a format that can be read"),
    ],
)
def test_bad_audio_is_one_sentence_with_its_name_and_a_fix(
    tmp_path: Path, kind: str, reason: str
) -> None:
    path = make_bad(tmp_path, kind)

    with pytest.raises(AudioError) as caught:
        load_audio(path)

    assert caught.value.reason == reason
    assert caught.value.message == f"{path} {reason}"
    assert caught.value.fix


@pytest.mark.parametrize("name", ["a\0.wav", "a\ud800.wav"])
def test_a_name_that_no_file_can_have_is_told_in_letters(tmp_path: Path, name: str) -> None:
    match = r"a\\(x00|ud800)\.wav' is not a possible file name"
    with pytest.raises(AudioError, match=match) as caught:
        load_audio(tmp_path / name)
    str(caught.value).encode()


@pytest.mark.parametrize("share", [0.01, 0.3, 0.7, 0.99])
def test_truncated_flac_is_an_error_wherever_it_ends(tmp_path: Path, share: float) -> None:
    path = tmp_path / "cut.flac"
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 3 * SAMPLE_RATE)
    soundfile.write(path, noise, SAMPLE_RATE)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])

    with pytest.raises(AudioError, match="ends before the length its header states"):
        load_audio(path)
    with pytest.raises(AudioError):
        measure_duration(path)


@given(st.binary(max_size=300))
@example(b"ID3")
def test_arbitrary_bytes_load_or_are_refused(data: bytes) -> None:
    try:
        samples = load_audio(data)
    except AudioError:
        return
    assert len(samples)


@given(st.data())
def test_a_damaged_file_loads_or_is_refused(data: st.DataObject) -> None:
    buffer = io.BytesIO()
    soundfile.write(buffer, tone(0.2, 8_000), 8_000, format="FLAC")
    damaged = bytearray(buffer.getvalue())
    for place in data.draw(st.lists(st.integers(0, len(damaged) - 1), max_size=5)):
        damaged[place] = data.draw(st.integers(0, 255))
    try:
        samples = load_audio(bytes(damaged))
    except AudioError:
        return
    assert np.isfinite(samples).all()


@pytest.mark.parametrize(
    "array", [np.zeros((2, 2, 2)), np.array(["a"]), np.zeros(4, np.uint8), np.float32(1)]
)
def test_an_array_that_is_not_audio_is_refused(array: NDArray[Any]) -> None:
    with pytest.raises(AudioError, match="the array is not audio"):
        load_audio((array, SAMPLE_RATE))


@pytest.mark.parametrize("rate", [-1, 0, 1, 2_000_000_000])
def test_an_impossible_rate_is_refused_before_anything_is_resampled(rate: int) -> None:
    with pytest.raises(AudioError, match="impossible sample rate"):
        load_audio((np.zeros(100), rate))


@given(st.integers(1, 40 * SAMPLE_RATE), st.sampled_from([1.0, 2.5, 7.0, 30.0]), st.integers(0, 3))
def test_windows_cover_the_clip_once_and_fit(length: int, max_seconds: float, seed: int) -> None:
    audio = np.random.default_rng(seed).uniform(-1, 1, length).astype(np.float32)

    windows = split_windows(audio, max_seconds=max_seconds)

    longest = round(max_seconds * SAMPLE_RATE)
    assert windows[0][0] == 0
    assert windows[-1][1] == length
    for (_, end), (start, _) in zip(windows, windows[1:], strict=False):
        assert end == start
    assert all(0 < end - start <= longest for start, end in windows)
    shortest = min(end - start for start, end in windows)
    assert len(windows) == 1 or shortest >= min(SAMPLE_RATE, longest // 4) - 320


def test_a_clip_that_fits_is_one_window() -> None:
    assert split_windows(np.zeros(WINDOW_SAMPLES, np.float32)) == [(0, WINDOW_SAMPLES)]


def test_a_long_clip_is_cut_where_it_is_quiet() -> None:
    audio = np.ones(45 * SAMPLE_RATE, np.float32)
    pause = slice(int(27.3 * SAMPLE_RATE), int(27.5 * SAMPLE_RATE))
    audio[pause] = 0

    (_, cut), _ = split_windows(audio)

    assert pause.start < cut < pause.stop


def test_ten_minutes_are_read_in_windows(tmp_path: Path) -> None:
    path = tmp_path / "long.flac"
    soundfile.write(path, np.zeros(600 * 8_000, np.int16), 8_000)

    windows = split_windows(load_audio(path))

    assert windows[-1][1] == 600 * SAMPLE_RATE
    assert len(windows) in (20, 21)
