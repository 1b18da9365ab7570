"""A recording is what its decoder gives until the stream ends, whatever its header says."""

import contextlib
import io
from pathlib import Path

import numpy as np
import pytest
import soundfile

from desta.audio import (
    SAMPLE_RATE,
    AudioError,
    load_audio,
    measure_duration,
    probe_duration,
    read_audio,
)
from desta.sources.cuts import cut
from support.sounds import RATE, muxed, packed, pitch_of, tone

EXACT = 1.5 / SAMPLE_RATE
NOISY = tone(8) + np.random.default_rng(0).normal(0, 0.01, 8 * RATE).astype(np.float32)


def without_tag(mp3: bytes) -> bytes:
    """Drop the first frame of an MP3 file, which holds its length and no sound."""
    assert max(mp3.find(b"Xing"), mp3.find(b"Info")) < 200
    return mp3[mp3.index(mp3[:2], 100) :]


def without_count(flac: bytes) -> bytes:
    """Say in the header of a FLAC file that nobody has counted its samples."""
    return flac[:21] + bytes([flac[21] & 0xF0]) + bytes(4) + flac[26:]


# lengths


def test_an_mp3_without_a_length_is_heard_to_its_end() -> None:
    sound = np.concatenate([tone(3), np.zeros(10 * RATE, np.float32), tone(3)])
    data = without_tag(packed(sound, format="MP3", bitrate_mode="VARIABLE"))

    for seconds in (
        len(load_audio(data)) / SAMPLE_RATE,
        measure_duration(data),
        probe_duration(data),
    ):
        assert seconds == pytest.approx(16, abs=0.06)


def test_the_length_that_an_mp3_states_is_no_bound() -> None:
    whole = packed(tone(4), format="MP3")
    place = max(whole.find(b"Xing"), whole.find(b"Info")) + 8
    wrong = whole[:place] + (20).to_bytes(4, "big") + whole[place + 4 :]

    assert len(load_audio(wrong)) / SAMPLE_RATE == pytest.approx(4, abs=0.06)


def test_a_flac_file_without_a_count_has_the_length_of_its_sound(tmp_path: Path) -> None:
    path = tmp_path / "n.flac"
    path.write_bytes(without_count(packed(tone(2.5), format="FLAC")))

    assert len(load_audio(path, max_seconds=3)) == round(2.5 * SAMPLE_RATE)
    assert measure_duration(path) == 2.5
    assert probe_duration(path) == pytest.approx(2.5, abs=0.01)
    with pytest.raises(AudioError, match=r"lasts longer than the 2 s"):
        load_audio(path, max_seconds=2)


@pytest.mark.parametrize("counted", [1.0, 30.0])
def test_a_wrong_count_of_a_flac_file_is_no_bound(counted: float) -> None:
    flac = bytearray(packed(NOISY, format="FLAC"))
    flac[22:26] = round(counted * RATE).to_bytes(4, "big")

    sound = read_audio(bytes(flac))

    assert len(sound.samples) == 8 * SAMPLE_RATE
    assert [note.message.split(": ")[1] for note in sound.notes] == (
        ["8.0 of 30.0 s are there"] if counted > 8 else []
    )


def test_a_damaged_header_is_not_told_by_libsndfile(capfd: pytest.CaptureFixture[str]) -> None:
    w64 = bytearray(packed(tone(1), format="W64", subtype="PCM_16"))
    for place in range(16, 120, 4):
        spoilt = w64[:place] + b"\xff" * 8 + w64[place + 8 :]
        with contextlib.suppress(AudioError):
            load_audio(bytes(spoilt))

    assert capfd.readouterr() == ("", "")


def test_flac_files_behind_each_other_are_heard_to_the_last() -> None:
    both = packed(tone(2), format="FLAC") + packed(tone(1, pitch=880), format="FLAC")

    samples = load_audio(both)

    assert len(samples) == 3 * SAMPLE_RATE
    assert pitch_of(samples[-SAMPLE_RATE // 2 :]) == pytest.approx(880, abs=2)


@pytest.mark.parametrize("counts", [(True, False), (False, True), (False, False)])
def test_flac_files_behind_each_other_may_be_counted_or_not(counts: tuple[bool, bool]) -> None:
    flac = packed(tone(2), format="FLAC"), packed(tone(1, pitch=880), format="FLAC")
    data = b"".join(
        f if counted else without_count(f) for f, counted in zip(flac, counts, strict=True)
    )

    sound = read_audio(data)

    assert len(sound.samples) == 3 * SAMPLE_RATE
    assert not sound.notes
    assert probe_duration(data) == pytest.approx(3, abs=0.01)


@pytest.mark.parametrize("counted", [1.0, 7.0, 7.9])
def test_a_flac_file_of_few_bytes_behind_its_count_is_heard(counted: float) -> None:
    flac = bytearray(packed(tone(8, 16_000), 16_000, format="FLAC"))
    flac[22:26] = round(counted * 16_000).to_bytes(4, "big")

    assert len(load_audio(bytes(flac) + b"TAG" + bytes(125))) == 8 * SAMPLE_RATE


WAV = packed(tone(6), format="WAV", subtype="PCM_16")
AU = packed(tone(6), format="AU", subtype="PCM_16")
RF64 = packed(tone(6), format="RF64", subtype="PCM_16")


@pytest.mark.parametrize("stated", [1, 2, 2 * RATE, 2 * RATE + 1])
@pytest.mark.parametrize("is_told_of_all", [False, True])
def test_wav_that_counts_too_little_is_heard_to_its_end(stated: int, is_told_of_all: bool) -> None:
    wav = bytearray(WAV)
    wav[40:44] = stated.to_bytes(4, "little")
    if not is_told_of_all:
        wav[4:8] = (36 + stated).to_bytes(4, "little")

    sound = read_audio(bytes(wav))

    assert len(sound.samples) == 6 * SAMPLE_RATE
    assert [note.reason for note in sound.notes] == ["has more sound than its header counts"]


@pytest.mark.parametrize("stated", [0, 2 * RATE])
def test_au_that_counts_too_little_is_heard_to_its_end(stated: int) -> None:
    sound = read_audio(AU[:8] + stated.to_bytes(4, "big") + AU[12:])

    assert len(sound.samples) == 6 * SAMPLE_RATE
    assert len(sound.notes) == (stated > 0)


def test_rf64_of_a_recorder_that_was_killed_is_heard_to_its_end() -> None:
    place = RF64.index(b"ds64") + 8

    sound = read_audio(RF64[:place] + bytes(24) + RF64[place + 24 :])

    assert len(sound.samples) == 6 * SAMPLE_RATE
    assert not sound.notes


@pytest.mark.parametrize("first", [WAV, AU])
def test_wav_files_behind_each_other_are_heard_to_the_last(first: bytes) -> None:
    kind = "WAV" if first is WAV else "AU"
    other = packed(tone(2, 8000, pitch=880), 8000, format=kind, subtype="PCM_16")

    samples = load_audio(first + other)

    assert len(samples) == 8 * SAMPLE_RATE
    assert pitch_of(samples[-SAMPLE_RATE:]) == pytest.approx(880, abs=2)
    assert probe_duration(first + other) == 8


ID3V2 = b"ID3\x04\0\0\0\0\x01\x00" + bytes(128)


@pytest.mark.parametrize("data", [WAV, AU, RF64, packed(tone(6), format="FLAC"), WAV + WAV])
def test_tags_before_and_behind_are_no_sound(data: bytes) -> None:
    whole = load_audio(data)
    chunk = b"LIST" + (2000).to_bytes(4, "little") + bytes(2000)

    for tagged in (ID3V2 + data, data + b"TAG" + bytes(range(125)), data + bytes(3000)):
        sound = read_audio(tagged)
        np.testing.assert_array_equal(sound.samples, whole)
        assert not sound.notes
    if data is WAV:
        np.testing.assert_array_equal(load_audio(data + chunk), whole)
        np.testing.assert_array_equal(load_audio(data + b"{'text': 1}" * 300), whole)


@pytest.mark.parametrize("stated", [0, 0xFFFFFFFF, 0x7FFFFFFF])
def test_the_length_of_a_recorder_that_was_killed_means_nothing(stated: int) -> None:
    wav = bytearray(packed(tone(2), format="WAV", subtype="PCM_16"))
    wav[40:44] = stated.to_bytes(4, "little")

    sound = read_audio(bytes(wav))

    assert len(sound.samples) == 2 * SAMPLE_RATE
    assert not sound.notes


def test_a_wav_file_that_lacks_its_end_is_heard_and_it_is_said() -> None:
    wav = packed(tone(4), format="WAV", subtype="PCM_16")

    sound = read_audio(wav[: 44 + (len(wav) - 44) // 2])

    assert len(sound.samples) == 2 * SAMPLE_RATE
    (note,) = sound.notes
    assert note.reason == "ends before the length its header states"
    assert note.message.endswith("2.0 of 4.0 s are there")


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
@pytest.mark.parametrize("other", [RATE, 24_000])
def test_links_of_an_ogg_file_are_heard_to_the_last(subtype: str, other: int) -> None:
    rate, other = (48_000, 24_000) if subtype == "OPUS" else (RATE, other)
    second = np.stack([tone(3, other, pitch=880)] * 2, axis=1)
    both = packed(tone(4, rate), rate, format="OGG", subtype=subtype)
    both += packed(second, other, format="OGG", subtype=subtype)

    samples = load_audio(both)

    assert len(samples) == pytest.approx(7 * SAMPLE_RATE, abs=2)
    assert pitch_of(samples[:SAMPLE_RATE]) == pytest.approx(440, abs=1)
    assert pitch_of(samples[-SAMPLE_RATE:]) == pytest.approx(880, abs=2)
    assert measure_duration(both) == pytest.approx(7, abs=1e-3)


def test_a_rate_that_changes_in_mid_stream_leaves_the_pitch() -> None:
    both = muxed("adts", "aac", (tone(2), RATE)) + muxed("adts", "aac", (tone(2, 24_000), 24_000))

    samples = load_audio(both)

    assert len(samples) / SAMPLE_RATE == pytest.approx(4, abs=0.12)
    for part in (samples[:SAMPLE_RATE], samples[-SAMPLE_RATE:]):
        assert pitch_of(part) == pytest.approx(440, abs=1)


def test_reading_ends_where_it_is_too_long() -> None:
    data = without_tag(packed(tone(30), format="MP3"))

    with pytest.raises(AudioError, match="lasts longer than the 5 s that are taken"):
        load_audio(data, max_seconds=5)


def test_a_stretch_is_cut_out_of_what_only_ffmpeg_reads(tmp_path: Path) -> None:
    path = tmp_path / "a.m4a"
    path.write_bytes(muxed("mp4", "aac", (np.concatenate([tone(2), tone(2, pitch=880)]), RATE)))

    samples, rate = soundfile.read(io.BytesIO(cut(path, start=2.5, end=3.5)))

    assert (len(samples), rate) == (RATE, RATE)
    assert pitch_of(load_audio((samples, rate))) == pytest.approx(880, abs=2)


# tracks


@pytest.mark.parametrize("default", [0, 1])
def test_of_several_tracks_the_default_is_heard(default: int) -> None:
    tracks = (tone(3), RATE), (tone(3, pitch=880), RATE)
    data = muxed("matroska", "aac", *tracks, default=default)

    sound = read_audio(data)

    assert pitch_of(sound.samples) == pytest.approx((440, 880)[default], abs=2)
    (note,) = sound.notes
    assert note.reason == "has several sound tracks"
    assert note.message.endswith(f"has 2 sound tracks: number {default + 1} is heard")
