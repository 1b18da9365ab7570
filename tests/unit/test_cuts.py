from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from desta.audio import AudioError
from desta.records import Segment
from desta.sources.cuts import cut, group_segments

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


def test_a_cut_holds_the_samples_of_the_first_channel_and_is_kept(tmp_path: Path) -> None:
    wave = np.arange(16_000, dtype=np.int16).reshape(-1, 2)
    soundfile.write(tmp_path / "long.wav", wave, 8_000)
    target = tmp_path / "cuts/a.flac"

    cut(tmp_path / "long.wav", target, start=0.25, end=0.5)

    samples, rate = soundfile.read(target, dtype="int16")
    assert rate == 8_000
    assert np.array_equal(samples, wave[2_000:4_000, 0])
    (tmp_path / "long.wav").unlink()
    cut(tmp_path / "long.wav", target, start=0.25, end=0.5)  # there already


def test_a_cut_beyond_the_end_is_an_error(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "long.wav", np.zeros(800), 8_000)

    with pytest.raises(AudioError, match="ends before what is said in it"):
        cut(tmp_path / "long.wav", tmp_path / "a.flac", start=1, end=2)
    assert not (tmp_path / "a.flac").exists()
