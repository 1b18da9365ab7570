import io
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from desta.audio import AudioError
from desta.records import Segment
from desta.sources.cuts import cut, group_segments
from desta.sources.files import keep

TIMES = st.tuples(st.integers(0, 300), st.integers(1, 12))


def segments(times: list[tuple[int, int]]) -> list[Segment]:
    return [Segment(start=float(s), end=float(s + length), text="a") for s, length in times]


@given(st.lists(TIMES, max_size=40))
def test_groups_hold_every_segment_and_nobody_speaks_between_them(
    times: list[tuple[int, int]],
) -> None:
    said = segments(times)

    groups = list(group_segments(said, max_seconds=30))

    assert sorted((s.start, s.end) for g in groups for s in g) == sorted(
        (s.start, s.end) for s in said
    )
    ends = [max(s.end for s in group) for group in groups]
    assert all(end <= group[0].start for end, group in zip(ends, groups[1:], strict=False))


def test_a_group_is_longer_than_a_clip_only_where_there_is_no_pause() -> None:
    said = segments([(0, 10), (12, 10), (24, 10), (30, 10), (36, 10), (42, 10), (48, 10)])

    lengths = [max(s.end for s in g) - g[0].start for g in group_segments(said, max_seconds=30)]

    assert lengths == [22, 34]  # the second: 24 to 58, one chain of overlaps


@pytest.mark.parametrize("channel", [0, 1])
def test_a_cut_holds_the_samples_of_one_channel(tmp_path: Path, channel: int) -> None:
    wave = np.arange(16_000, dtype=np.int16).reshape(-1, 2)
    soundfile.write(tmp_path / "long.wav", wave, 8_000)

    flac = cut(tmp_path / "long.wav", start=0.25, end=0.5, channel=channel)

    samples, rate = soundfile.read(io.BytesIO(flac), dtype="int16")
    assert rate == 8_000
    assert np.array_equal(samples, wave[2_000:4_000, channel])


@pytest.mark.parametrize(
    ("start", "channel", "message"),
    [(1.0, 0, "ends before its segments"), (0.0, 1, "lacks a channel")],
)
def test_a_cut_of_what_is_not_there_is_an_error(
    tmp_path: Path, start: float, channel: int, message: str
) -> None:
    soundfile.write(tmp_path / "long.wav", np.zeros(800), 8_000)

    with pytest.raises(AudioError, match=message):
        cut(tmp_path / "long.wav", start=start, end=2, channel=channel)


def test_a_recording_is_kept_once_under_a_name_of_its_content(tmp_path: Path) -> None:
    first, again, other = (keep(tmp_path, "a/", ".wav", sound) for sound in (b"1", b"1", b"2"))

    assert first == again != other
    assert (tmp_path / first).read_bytes() == b"1"
    assert len(list((tmp_path / "recordings/a").iterdir())) == 2


def test_a_recording_that_could_not_be_written_leaves_nothing_that_looks_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(number: int) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        keep(tmp_path, "a/", ".wav", b"1")
    assert not list(tmp_path.rglob("*.wav"))
