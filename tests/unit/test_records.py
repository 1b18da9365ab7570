"""What a line of `clips.jsonl` must be."""

import json
from pathlib import Path
from typing import Any

import pytest

from desta.errors import DataError
from desta.records import Clip, Segment, read_clips

CLIP = Clip(
    id="c/1",
    source="c",
    audio="1.wav",
    duration=2.0,
    domain="speech",
    segments=(Segment(start=0.0, end=2.0, speaker="Ann", text="Hi"),),
    attributes={"Gender": "Female", "Pitch": "High"},
    origins={"Pitch": "measured"},
)


def test_a_clip_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "clips.jsonl"
    path.write_text(json.dumps(CLIP.to_json()))
    assert read_clips(path) == [CLIP]


@pytest.mark.parametrize(
    "change",
    [
        {"id": 7},
        {"audio": None},
        {"duration": "2"},
        {"duration": float("nan")},
        {"duration": float("inf")},
        {"duration": -1},
        {"attributes": None},
        {"attributes": ["Gender"]},
        {"attributes": {"Gender": 3}},
        {"attributes": {"Gender": None}},
        {"origins": {"Pitch": 1}},
        {"segments": None},
        {"segments": [3]},
        {"segments": [{"start": None, "end": 2.0}]},
        {"segments": [{"start": 0.0, "end": float("nan")}]},
        {"segments": [{"start": 0.0, "end": 2.0, "text": 5}]},
        {"segments": [{"start": 0.0, "end": 2.0, "speaker": []}]},
        {"domain": "noise"},
        {"colour": "blue"},
    ],
)
def test_a_value_of_another_type_is_one_clear_error(tmp_path: Path, change: dict[str, Any]) -> None:
    path = tmp_path / "clips.jsonl"
    path.write_text(json.dumps(CLIP.to_json() | change))
    with pytest.raises(DataError, match="is not in the clip format"):
        read_clips(path)
