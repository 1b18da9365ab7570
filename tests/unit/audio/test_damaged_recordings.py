"""What is lost of a damaged recording is said, or it is refused; tags are no damage."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from desta.audio import (
    SAMPLE_RATE,
    AudioError,
    load_audio,
    measure_audio,
    measure_duration,
    read_audio,
)
from support.sounds import RATE, muxed, packed, tone

NOISY = tone(8) + np.random.default_rng(0).normal(0, 0.01, 8 * RATE).astype(np.float32)


def damaged(data: bytes, places: int, *, first: float = 0.1, last: float = 0.9) -> bytes:
    random = np.random.default_rng(0)
    spoilt = bytearray(data)
    for place in np.linspace(first * len(data), last * len(data) - 40, places).astype(int):
        spoilt[place : place + 40] = random.bytes(40)
    return bytes(spoilt)


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
@pytest.mark.parametrize(
    ("place", "is_gone"),  # nothing tells of a last page that is gone
    [*((place, False) for place in (3, -4, -3, -2, -1)), *((n, True) for n in (3, -4, -3, -2))],
)
def test_what_a_damaged_page_held_is_missed_wherever_it_was(
    ogg: bytes, links: int, place: int, is_gone: bool
) -> None:
    pages = pages_of(ogg)
    pages[place] = b"" if is_gone else spoilt(pages[place])
    data = ogg * (links - 1) + b"".join(pages)

    sound = read_audio(data)

    seconds = len(sound.samples) / SAMPLE_RATE
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

    (note,) = read_audio(whole + b"".join(pages[2:])).notes

    assert note.message.endswith(": 30.0 of 34.0 s could be decoded")


def test_a_stream_recorded_from_its_middle_lacks_nothing() -> None:
    pages = pages_of(OPUS)

    sound = read_audio(b"".join(pages[:2] + pages[4:]))

    assert not sound.notes


def test_a_cut_page_of_vorbis_is_said() -> None:
    (note,) = read_audio(VORBIS[: len(VORBIS) * 2 // 3]).notes

    assert note.reason == "is cut off in its last page"


def test_many_false_beginnings_of_pages_take_no_time() -> None:
    sound = read_audio(OPUS + b"OggS" * 100_000 + b"OggS\0" * 20_000)

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

    sound = read_audio(damaged(data, places))

    seconds = len(sound.samples) / SAMPLE_RATE
    assert 0.8 * whole < seconds < whole
    (note,) = sound.notes
    assert note.reason == "could not be decoded in part"
    assert " s could be decoded" in note.message
    assert float(note.message.split(": ")[1].split()[0]) == pytest.approx(seconds, abs=0.06)
    assert measure_audio(damaged(data, places))[1] == sound.notes


def test_of_a_recording_that_is_mostly_lost_nothing_is_heard() -> None:
    data = damaged(muxed("mp4", "aac", (tone(8), RATE)), 300)

    with pytest.raises(AudioError) as caught:
        load_audio(data)

    assert caught.value.reason == "has too few packets that can be decoded"
    assert " of 8.0 s can be" in caught.value.fix


def test_damage_is_not_told_by_the_decoder(capfd: pytest.CaptureFixture[str]) -> None:
    mp3 = packed(tone(8), format="MP3")
    load_audio(damaged(mp3 + mp3, 20))

    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_recording_whose_index_is_missing_is_not_called_of_another_format(share: float) -> None:
    data = muxed("mp4", "aac", (tone(4), RATE))

    with pytest.raises(AudioError, match="begins like a recording and holds none"):
        load_audio(data[: int(share * len(data))])


@pytest.mark.parametrize(
    "beginning", [b"\x89PNG\r\n\x1a\n", b"%PDF-1.7\n", b"PK\x03\x04", b"#EXTM3U\n"]
)
def test_what_is_no_recording_is_not_called_damaged(beginning: bytes) -> None:
    with pytest.raises(AudioError, match="is not a recording in a format that can be read"):
        load_audio(beginning + bytes(5000))


@pytest.mark.parametrize("kind", ["alac", "pcm_s16be"])
def test_a_tag_behind_caf_is_no_error(
    tmp_path: Path, kind: str, capfd: pytest.CaptureFixture[str]
) -> None:
    caf = muxed("caf", kind, (tone(2), RATE))
    tags = b"TAG" + b"x" * 125, b"APETAGEX" + b"\xff" * 40, b"\xff" * 100
    for tag in tags:
        path = tmp_path / "a.caf"
        path.write_bytes(caf + tag)
        assert len(load_audio(path)) == len(load_audio(caf)) > 1.9 * SAMPLE_RATE
    assert capfd.readouterr() == ("", "")


def test_a_tag_behind_amr_is_no_lost_packets() -> None:
    amr = b"#!AMR\n" + (b"\x3c" + bytes(31)) * 100

    sound = read_audio(amr + b"TAG" + b"x" * 125)

    assert len(sound.samples) == 2 * SAMPLE_RATE
    assert not sound.notes
