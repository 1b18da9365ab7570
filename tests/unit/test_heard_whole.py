"""A recording is what its decoder gives until the stream ends, whatever its header says."""

import contextlib
import io
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from desta.audio import (
    SAMPLE_RATE,
    AudioError,
    load,
    measure,
    measure_duration,
    probe_duration,
    read,
)
from desta.sources.cuts import cut

RATE = 44_100
EXACT = 1.5 / SAMPLE_RATE


def tone(seconds: float, rate: int = RATE, *, pitch: float = 440.0) -> NDArray[np.float32]:
    times = np.arange(round(seconds * rate)) / rate
    return (0.5 * np.sin(2 * np.pi * pitch * times)).astype(np.float32)


NOISY = tone(8) + np.random.default_rng(0).normal(0, 0.01, 8 * RATE).astype(np.float32)


def pitch_of(samples: NDArray[np.float32]) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum) * SAMPLE_RATE / len(samples))


def packed(samples: NDArray[np.float32], rate: int = RATE, **how: str) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, **how)
    return file.getvalue()


def muxed(
    container_format: str, codec: str, *tracks: tuple[NDArray[np.float32], int], default: int = 0
) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format=container_format) as container:
        streams = [container.add_stream(codec, rate=rate, layout="mono") for _, rate in tracks]
        for number, stream in enumerate(streams):
            if len(streams) > 1:
                default_track = av.stream.Disposition.default
                stream.disposition = default_track if number == default else 0
        for stream, (samples, rate) in zip(streams, tracks, strict=True):
            frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
            frame.sample_rate = rate
            to_codec = av.AudioResampler(
                format=stream.format, layout="mono", rate=rate, frame_size=stream.frame_size
            )
            for part in (*to_codec.resample(frame), *to_codec.resample(None)):
                container.mux(stream.encode(part))
            container.mux(stream.encode(None))
    return file.getvalue()


def damaged(data: bytes, places: int, *, first: float = 0.1, last: float = 0.9) -> bytes:
    random = np.random.default_rng(0)
    spoilt = bytearray(data)
    for place in np.linspace(first * len(data), last * len(data) - 40, places).astype(int):
        spoilt[place : place + 40] = random.bytes(40)
    return bytes(spoilt)


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

    for seconds in (len(load(data)) / SAMPLE_RATE, measure_duration(data), probe_duration(data)):
        assert seconds == pytest.approx(16, abs=0.06)


def test_the_length_that_an_mp3_states_is_no_bound() -> None:
    whole = packed(tone(4), format="MP3")
    place = max(whole.find(b"Xing"), whole.find(b"Info")) + 8
    wrong = whole[:place] + (20).to_bytes(4, "big") + whole[place + 4 :]

    assert len(load(wrong)) / SAMPLE_RATE == pytest.approx(4, abs=0.06)


def test_a_flac_file_without_a_count_has_the_length_of_its_sound(tmp_path: Path) -> None:
    path = tmp_path / "n.flac"
    path.write_bytes(without_count(packed(tone(2.5), format="FLAC")))

    assert len(load(path, max_seconds=3)) == round(2.5 * SAMPLE_RATE)
    assert measure_duration(path) == 2.5
    assert probe_duration(path) == pytest.approx(2.5, abs=0.01)
    with pytest.raises(AudioError, match=r"lasts longer than the 2 s"):
        load(path, max_seconds=2)


@pytest.mark.parametrize("counted", [1.0, 30.0])
def test_a_wrong_count_of_a_flac_file_is_no_bound(counted: float) -> None:
    flac = bytearray(packed(NOISY, format="FLAC"))
    flac[22:26] = round(counted * RATE).to_bytes(4, "big")

    sound = read(bytes(flac))

    assert len(sound.samples) == 8 * SAMPLE_RATE
    assert [note.message.split(": ")[1] for note in sound.notes] == (
        ["8.0 of 30.0 s are there"] if counted > 8 else []
    )


def test_a_damaged_header_is_not_told_by_libsndfile(capfd: pytest.CaptureFixture[str]) -> None:
    w64 = bytearray(packed(tone(1), format="W64", subtype="PCM_16"))
    for place in range(16, 120, 4):
        spoilt = w64[:place] + b"\xff" * 8 + w64[place + 8 :]
        with contextlib.suppress(AudioError):
            load(bytes(spoilt))

    assert capfd.readouterr() == ("", "")


def test_flac_files_behind_each_other_are_heard_to_the_last() -> None:
    both = packed(tone(2), format="FLAC") + packed(tone(1, pitch=880), format="FLAC")

    samples = load(both)

    assert len(samples) == 3 * SAMPLE_RATE
    assert pitch_of(samples[-SAMPLE_RATE // 2 :]) == pytest.approx(880, abs=2)


@pytest.mark.parametrize("counts", [(True, False), (False, True), (False, False)])
def test_flac_files_behind_each_other_may_be_counted_or_not(counts: tuple[bool, bool]) -> None:
    flac = packed(tone(2), format="FLAC"), packed(tone(1, pitch=880), format="FLAC")
    data = b"".join(
        f if counted else without_count(f) for f, counted in zip(flac, counts, strict=True)
    )

    sound = read(data)

    assert len(sound.samples) == 3 * SAMPLE_RATE
    assert not sound.notes
    assert probe_duration(data) == pytest.approx(3, abs=0.01)


@pytest.mark.parametrize("counted", [1.0, 7.0, 7.9])
def test_a_flac_file_of_few_bytes_behind_its_count_is_heard(counted: float) -> None:
    flac = bytearray(packed(tone(8, 16_000), 16_000, format="FLAC"))
    flac[22:26] = round(counted * 16_000).to_bytes(4, "big")

    assert len(load(bytes(flac) + b"TAG" + bytes(125))) == 8 * SAMPLE_RATE


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

    sound = read(bytes(wav))

    assert len(sound.samples) == 6 * SAMPLE_RATE
    assert [note.reason for note in sound.notes] == ["has more sound than its header counts"]


@pytest.mark.parametrize("stated", [0, 2 * RATE])
def test_au_that_counts_too_little_is_heard_to_its_end(stated: int) -> None:
    sound = read(AU[:8] + stated.to_bytes(4, "big") + AU[12:])

    assert len(sound.samples) == 6 * SAMPLE_RATE
    assert len(sound.notes) == (stated > 0)


def test_rf64_of_a_recorder_that_was_killed_is_heard_to_its_end() -> None:
    place = RF64.index(b"ds64") + 8

    sound = read(RF64[:place] + bytes(24) + RF64[place + 24 :])

    assert len(sound.samples) == 6 * SAMPLE_RATE
    assert not sound.notes


@pytest.mark.parametrize("first", [WAV, AU])
def test_wav_files_behind_each_other_are_heard_to_the_last(first: bytes) -> None:
    kind = "WAV" if first is WAV else "AU"
    other = packed(tone(2, 8000, pitch=880), 8000, format=kind, subtype="PCM_16")

    samples = load(first + other)

    assert len(samples) == 8 * SAMPLE_RATE
    assert pitch_of(samples[-SAMPLE_RATE:]) == pytest.approx(880, abs=2)
    assert probe_duration(first + other) == 8


ID3V2 = b"ID3\x04\0\0\0\0\x01\x00" + bytes(128)


@pytest.mark.parametrize("data", [WAV, AU, RF64, packed(tone(6), format="FLAC"), WAV + WAV])
def test_tags_before_and_behind_are_no_sound(data: bytes) -> None:
    whole = load(data)
    chunk = b"LIST" + (2000).to_bytes(4, "little") + bytes(2000)

    for tagged in (ID3V2 + data, data + b"TAG" + bytes(range(125)), data + bytes(3000)):
        sound = read(tagged)
        np.testing.assert_array_equal(sound.samples, whole)
        assert not sound.notes
    if data is WAV:
        np.testing.assert_array_equal(load(data + chunk), whole)
        np.testing.assert_array_equal(load(data + b"{'text': 1}" * 300), whole)


@pytest.mark.parametrize("stated", [0, 0xFFFFFFFF, 0x7FFFFFFF])
def test_the_length_of_a_recorder_that_was_killed_means_nothing(stated: int) -> None:
    wav = bytearray(packed(tone(2), format="WAV", subtype="PCM_16"))
    wav[40:44] = stated.to_bytes(4, "little")

    sound = read(bytes(wav))

    assert len(sound.samples) == 2 * SAMPLE_RATE
    assert not sound.notes


def test_a_wav_file_that_lacks_its_end_is_heard_and_it_is_said() -> None:
    wav = packed(tone(4), format="WAV", subtype="PCM_16")

    sound = read(wav[: 44 + (len(wav) - 44) // 2])

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

    samples = load(both)

    assert len(samples) == pytest.approx(7 * SAMPLE_RATE, abs=2)
    assert pitch_of(samples[:SAMPLE_RATE]) == pytest.approx(440, abs=1)
    assert pitch_of(samples[-SAMPLE_RATE:]) == pytest.approx(880, abs=2)
    assert measure_duration(both) == pytest.approx(7, abs=1e-3)


def test_a_rate_that_changes_in_mid_stream_leaves_the_pitch() -> None:
    both = muxed("adts", "aac", (tone(2), RATE)) + muxed("adts", "aac", (tone(2, 24_000), 24_000))

    samples = load(both)

    assert len(samples) / SAMPLE_RATE == pytest.approx(4, abs=0.12)
    for part in (samples[:SAMPLE_RATE], samples[-SAMPLE_RATE:]):
        assert pitch_of(part) == pytest.approx(440, abs=1)


def test_reading_ends_where_it_is_too_long() -> None:
    data = without_tag(packed(tone(30), format="MP3"))

    with pytest.raises(AudioError, match="lasts longer than the 5 s that are taken"):
        load(data, max_seconds=5)


def test_a_stretch_is_cut_out_of_what_only_ffmpeg_reads(tmp_path: Path) -> None:
    path = tmp_path / "a.m4a"
    path.write_bytes(muxed("mp4", "aac", (np.concatenate([tone(2), tone(2, pitch=880)]), RATE)))

    samples, rate = soundfile.read(io.BytesIO(cut(path, start=2.5, end=3.5)))

    assert (len(samples), rate) == (RATE, RATE)
    assert pitch_of(load((samples, rate))) == pytest.approx(880, abs=2)


# damage


def pages_of(ogg: bytes) -> list[bytes]:
    return [b"OggS" + page for page in ogg.split(b"OggS")[1:]]


def spoilt(page: bytes) -> bytes:
    return page[:-60] + bytes(byte ^ 0xFF for byte in page[-60:])


def tones(rate: int, first: int = 300) -> NDArray[np.float32]:
    return np.concatenate([tone(1, rate, pitch=first + 100 * i) for i in range(8)])


OPUS = packed(tones(48_000), 48_000, format="OGG", subtype="OPUS")
VORBIS = packed(np.tile(tones(RATE), 2), format="OGG", subtype="VORBIS")


@pytest.mark.parametrize("ogg", [OPUS, VORBIS])
@pytest.mark.parametrize("links", [1, 2])
@pytest.mark.parametrize("place", [3, -4, -3, -2, -1])
@pytest.mark.parametrize("is_gone", [False, True])
def test_what_a_damaged_page_held_is_missed_wherever_it_was(
    ogg: bytes, links: int, place: int, is_gone: bool
) -> None:
    pages = pages_of(ogg)
    pages[place] = b"" if is_gone else spoilt(pages[place])
    data = ogg * (links - 1) + b"".join(pages)

    sound = read(data)

    seconds = len(sound.samples) / SAMPLE_RATE
    if is_gone and place == -1:  # nothing tells that there was another
        return
    whole = links * (8 if ogg is OPUS else 16)
    lost = whole - seconds
    assert lost < 3
    if lost > 0.05:
        (note,) = sound.notes
        assert note.reason == "could not be decoded in part"
        assert f"of {whole}.0 s" in note.message
    else:  # a page of a packet or two
        assert place == -1


def test_a_later_link_without_its_header_is_missed() -> None:
    whole = packed(tone(30), format="OGG", subtype="VORBIS")
    pages = pages_of(packed(tone(4), format="OGG", subtype="VORBIS"))

    (note,) = read(whole + b"".join(pages[2:])).notes

    assert note.message.endswith(": 30.0 of 34.0 s could be decoded")


def test_a_stream_recorded_from_its_middle_lacks_nothing() -> None:
    pages = pages_of(OPUS)

    sound = read(b"".join(pages[:2] + pages[4:]))

    assert not sound.notes


def test_a_cut_page_of_vorbis_is_said() -> None:
    (note,) = read(VORBIS[: len(VORBIS) * 2 // 3]).notes

    assert note.reason == "is cut off in its last page"


def test_many_false_beginnings_of_pages_take_no_time() -> None:
    sound = read(OPUS + b"OggS" * 100_000 + b"OggS\0" * 20_000)

    assert len(sound.samples) == 8 * SAMPLE_RATE


@pytest.mark.parametrize(
    ("kind", "places", "data"),
    [
        ("m4a", 3, muxed("mp4", "aac", (tone(8), RATE))),
        ("aac", 12, muxed("adts", "aac", (tone(8), RATE))),
        ("flac", 3, packed(NOISY, format="FLAC")),
        ("opus", 3, packed(tone(30, 48_000), 48_000, format="OGG", subtype="OPUS")),
        ("vorbis", 3, 2 * packed(tone(30), format="OGG", subtype="VORBIS")),
    ],
)
def test_what_is_left_of_a_damaged_recording_is_heard_and_it_is_said(
    kind: str, places: int, data: bytes
) -> None:
    whole = measure_duration(data)

    sound = read(damaged(data, places))

    seconds = len(sound.samples) / SAMPLE_RATE
    assert 0.8 * whole < seconds < whole
    (note,) = sound.notes
    assert note.reason == "could not be decoded in part"
    assert " s could be decoded" in note.message
    assert float(note.message.split(": ")[1].split()[0]) == pytest.approx(seconds, abs=0.06)
    assert measure(damaged(data, places))[1] == sound.notes


def test_of_a_recording_that_is_mostly_lost_nothing_is_heard() -> None:
    data = damaged(muxed("mp4", "aac", (tone(8), RATE)), 300)

    with pytest.raises(AudioError) as caught:
        load(data)

    assert caught.value.reason == "has too few packets that can be decoded"
    assert " of 8.0 s can be" in caught.value.fix


def test_damage_is_not_told_by_the_decoder(capfd: pytest.CaptureFixture[str]) -> None:
    mp3 = packed(tone(8), format="MP3")
    load(damaged(mp3 + mp3, 20))

    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_recording_whose_index_is_missing_is_not_called_of_another_format(share: float) -> None:
    data = muxed("mp4", "aac", (tone(4), RATE))

    with pytest.raises(AudioError, match="begins like a recording and holds none"):
        load(data[: int(share * len(data))])


@pytest.mark.parametrize(
    "beginning", [b"\x89PNG\r\n\x1a\n", b"%PDF-1.7\n", b"PK\x03\x04", b"#EXTM3U\n"]
)
def test_what_is_no_recording_is_not_called_damaged(beginning: bytes) -> None:
    with pytest.raises(AudioError, match="is not a recording in a format that can be read"):
        load(beginning + bytes(5000))


@pytest.mark.parametrize("kind", ["alac", "pcm_s16be"])
def test_a_tag_behind_caf_is_no_error(
    tmp_path: Path, kind: str, capfd: pytest.CaptureFixture[str]
) -> None:
    caf = muxed("caf", kind, (tone(2), RATE))
    tags = b"TAG" + b"x" * 125, b"APETAGEX" + b"\xff" * 40, b"\xff" * 100
    for tag in tags:
        path = tmp_path / "a.caf"
        path.write_bytes(caf + tag)
        assert len(load(path)) == len(load(caf)) > 1.9 * SAMPLE_RATE
    assert capfd.readouterr() == ("", "")


def test_a_tag_behind_amr_is_no_lost_packets() -> None:
    amr = b"#!AMR\n" + (b"\x3c" + bytes(31)) * 100

    sound = read(amr + b"TAG" + b"x" * 125)

    assert len(sound.samples) == 2 * SAMPLE_RATE
    assert not sound.notes


# tracks


@pytest.mark.parametrize("default", [0, 1])
def test_of_several_tracks_the_default_is_heard(default: int) -> None:
    tracks = (tone(3), RATE), (tone(3, pitch=880), RATE)
    data = muxed("matroska", "aac", *tracks, default=default)

    sound = read(data)

    assert pitch_of(sound.samples) == pytest.approx((440, 880)[default], abs=2)
    (note,) = sound.notes
    assert note.reason == "has several sound tracks"
    assert note.message.endswith(f"has 2 sound tracks: number {default + 1} is heard")
