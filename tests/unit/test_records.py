"""What a line of `clips.jsonl` must be."""

import json
from pathlib import Path
from typing import Any

import pytest

from desta.errors import DataError
from desta.records import Clip, Segment, read_clips, read_jsonl, read_lines

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


def test_byte_order_marks_are_no_part_of_a_line(tmp_path: Path) -> None:
    path = tmp_path / "clips.jsonl"
    line = json.dumps(CLIP.to_json())
    path.write_text(f"\ufeff{line}\n\ufeff{line}\n\ufeff", encoding="utf-8")
    assert read_clips(path) == [CLIP, CLIP]


def test_a_line_that_is_no_object_is_told_and_the_others_are_read(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    deep = b"[" * 20_000 + b"]" * 20_000
    path.write_bytes(b'{"a": 1}\n{"a": \n\n[1]\n' + deep + b'\n\xff\n{"a": 2}\n')
    read = [record for _, record in read_lines(path)]
    assert [r for r in read if isinstance(r, dict)] == [{"a": 1}, {"a": 2}]
    told = [r.message for r in read if isinstance(r, DataError)]
    assert [text.partition(":")[2][:1] for text in told] == ["2", "4", "5", "6"]
    with pytest.raises(DataError, match=r"lines.jsonl:2 is not JSON"):
        list(read_jsonl(path))


def test_a_url_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^https://x.org/a.jsonl is a URL"):
        list(read_jsonl(Path("https://x.org/a.jsonl")))
