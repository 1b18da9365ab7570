"""From what a source tells to clips.jsonl, and what is left out."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile

from desta.errors import DataError
from desta.records import read_clips
from desta.sources import find_source
from desta.sources.base import Metadata, Skipped, Source
from desta.sources.describe import describe, write_description
from support.recordings import record
from support.sources import make_stamps, reasons


def make_source(items: Sequence[Metadata | Skipped]) -> Source:
    return Source(
        name="made",
        title="",
        domains=("sound",),
        licence="",
        obtain="",
        layout="confirmed",
        cited="",
        read=lambda root: iter(items),
    )


def test_what_is_left_out_on_purpose_does_not_fail_a_corpus(tmp_path: Path) -> None:
    record(tmp_path / "a.wav")
    items = [Skipped(id=f"{n}", reason="silence on purpose") for n in range(99)]

    description = describe(
        make_source([*items, Metadata(id="a", audio="a.wav", domain="sound")]), tmp_path
    )

    assert reasons(description) == {"silence on purpose": 99}
    with pytest.raises(DataError, match="no recordings are left"):
        describe(make_source(items), tmp_path)


def test_a_voice_is_in_one_split_and_a_corpus_may_be_held_out_whole(tmp_path: Path) -> None:
    items = []
    for n in range(40):
        record(tmp_path / f"{n}.wav", seed=n)
        items.append(Metadata(id=f"{n}", audio=f"{n}.wav", domain="sound", group=f"voice/{n // 2}"))

    clips = describe(make_source(items), tmp_path).clips
    held_out = describe(make_source(items), tmp_path, held_out="test").clips

    assert [c.split for c in clips[::2]] == [c.split for c in clips[1::2]]
    assert len({c.split for c in clips}) > 1
    assert {c.split for c in held_out} == {"test"}


def test_an_id_listed_twice_is_kept_once(tmp_path: Path) -> None:
    record(tmp_path / "a.wav")
    item = Metadata(id="a", audio="a.wav", domain="sound")

    description = describe(make_source([item, item]), tmp_path, max_broken_share=0.5)

    assert len(description.clips) == 1
    assert reasons(description) == {"listed twice": 1}


def test_a_name_that_is_not_utf8_is_counted(tmp_path: Path) -> None:
    record(tmp_path / "a.wav")
    stray = os.fsdecode(b"caf\xe9.wav")
    record(tmp_path / "b.wav", seed=1)
    (tmp_path / "b.wav").rename(tmp_path / stray)
    names = ["a.wav", stray]
    source = make_source([Metadata(id=name, audio=name, domain="sound") for name in names])

    description = describe(source, tmp_path, max_broken_share=0.5)
    write_description(description, tmp_path / "out")

    assert [clip.audio for clip in read_clips(tmp_path / "out/clips.jsonl")] == ["a.wav"]
    (left,) = json.loads((tmp_path / "out/describe.json").read_text())["skipped"]
    assert (left["reason"], left["example"]) == ("its name is not UTF-8", "made/caf\\udce9.wav")


def test_what_is_odd_about_recordings_is_counted_and_their_length_is_what_is_heard(
    tmp_path: Path,
) -> None:
    noise = np.random.default_rng(0).uniform(-0.3, 0.3, 16_000)
    soundfile.write(tmp_path / "a.wav", np.stack([noise, -noise], axis=1), 8_000)
    record(tmp_path / "b.wav", seconds=4)
    whole = (tmp_path / "b.wav").read_bytes()
    (tmp_path / "b.wav").write_bytes(whole[: 44 + 32_000])
    items = [Metadata(id=name, audio=f"{name}.wav", domain="sound") for name in "ab"]

    description = describe(make_source(items), tmp_path)
    write_description(description, tmp_path / "out")

    assert [clip.duration for clip in description.clips] == [2.0, 2.0]
    noted = json.loads((tmp_path / "out/describe.json").read_text())["noted"]
    assert {(n["reason"], n["count"], n["example"]) for n in noted} == {
        ("has channels that cancel each other", 1, "made/a"),
        ("ends before the length its header states", 1, "made/b"),
    }


def test_written_clips_are_read_back_and_the_summary_adds_up(tmp_path: Path) -> None:
    make_stamps(tmp_path)
    description = describe(find_source("tuxpaint"), tmp_path)

    write_description(description, tmp_path / "out")

    assert tuple(read_clips(tmp_path / "out/clips.jsonl")) == description.clips
    summary = json.loads((tmp_path / "out/describe.json").read_text())
    assert summary["clips"] == sum(summary["splits"].values()) == 6
    assert sum(sum(n.values()) for n in summary["attributes"]["Language"].values()) == 6
    assert summary["hours"] == pytest.approx(6 * 0.5 / 3600, abs=1e-4)
    assert sum(skip["count"] for skip in summary["skipped"]) == 2
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"clips.jsonl", "describe.json"}


def test_describing_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    make_stamps(tmp_path)
    for out in ("one", "two"):
        write_description(describe(find_source("tuxpaint"), tmp_path), tmp_path / out)

    assert (tmp_path / "one/clips.jsonl").read_bytes() == (
        tmp_path / "two/clips.jsonl"
    ).read_bytes()
