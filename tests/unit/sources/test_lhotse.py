import gzip
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from desta.config import build_config
from desta.errors import ConfigError, DataError
from desta.sources.describe import Description, describe
from desta.sources.lhotse import LhotseRecipe, lhotse_source
from support.recordings import record
from support.sources import reasons


def write(path: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    data = "".join(f"{json.dumps(line)}\n" for line in lines).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def recording(id: str, source: str, **changes: Any) -> dict[str, Any]:
    return {
        "id": id,
        "sources": [{"type": "file", "channels": [0], "source": source}],
        "sampling_rate": 8_000,
        "num_samples": 16_000,
        "duration": 2.0,
        "channel_ids": [0],
        **changes,
    }


def supervision(id: str, of: str, start: float, duration: float, **told: Any) -> dict[str, Any]:
    fixed = {"id": id, "recording_id": of, "start": start, "duration": duration, "channel": 0}
    return fixed | told


def cut(of: Mapping[str, Any], *supervisions: Any, start: float = 0.0, **more: Any) -> Any:
    return {
        "id": f"{of['id']}-{start}",
        "start": start,
        "duration": 1.0,
        "channel": 0,
        "supervisions": list(supervisions),
        "recording": of,
        "type": "MonoCut",
        **more,
    }


def described(root: Path, **values: Any) -> Description:
    recipe = build_config(LhotseRecipe, {"name": "mine", **values}, where="recipe")
    return describe(lhotse_source(recipe), root, max_broken_share=0.6)


HELLO = {
    "text": "Hello there",
    "speaker": "ann",
    "gender": "F",
    "language": "en",
    "custom": {"emotion": "happy"},
}
BYE = {"text": "Bye", "speaker": "ben", "gender": "male", "language": "English"}


@pytest.mark.parametrize("suffix", ["jsonl", "jsonl.gz"])
def test_recordings_and_supervisions_become_clips(tmp_path: Path, suffix: str) -> None:
    record(tmp_path / "wav/a.wav", seconds=2)
    record(tmp_path / "wav/bb.wav", seconds=2, seed=1)
    write(
        tmp_path / f"recordings.{suffix}",
        [recording("a", "wav/a.wav"), recording("bb", str(tmp_path / "wav/bb.wav"))],
    )
    write(
        tmp_path / f"supervisions.{suffix}",
        [supervision("s2", "a", 1.2, 0.7, **BYE), supervision("s1", "a", 0.1, 1, **HELLO)],
    )

    description = described(
        tmp_path,
        recordings=f"recordings.{suffix}",
        supervisions=f"supervisions.{suffix}",
        attributes={"Gender": "gender", "Emotion": "emotion"},
    )

    first, second = description.clips
    assert (first.id, first.audio) == ("mine/wav/a.wav", "wav/a.wav")
    assert [(s.start, s.end, s.speaker, s.text) for s in first.segments] == [
        (0.1, 1.1, None, "Hello there"),
        (1.2, 1.9, None, "Bye"),
    ]
    assert list(first.attributes.items()) == [
        ("Language", "English"),
        ("Gender", "Female / Male"),
        ("Emotion", "happy"),
    ]
    assert (second.audio, second.transcription, second.attributes) == ("wav/bb.wav", " ", {})


def test_a_cut_is_a_clip_of_its_own_stretch_and_nothing_else(tmp_path: Path) -> None:
    record(tmp_path / "a.wav", seconds=2)
    audio = recording("a", "a.wav")
    cuts = [  # shuffled; half a second between them belongs to nobody
        cut(audio, supervision("s2", "a", 0.2, 0.3, **BYE), start=1.5, duration=0.5),
        cut(audio, supervision("s1", "a", 0.0, 0.9, **HELLO), custom={"room": "hall"}),
        cut(audio, supervision("s1", "a", 0.0, 0.9, **HELLO), custom={"room": "hall"}),
    ]
    write(tmp_path / "cuts.jsonl.gz", cuts)

    clips = described(
        tmp_path, cuts="cuts.jsonl.gz", attributes={"Room": "room"}, speakers=True, split="train"
    ).clips

    assert [[(s.start, s.end, s.speaker, s.text) for s in c.segments] for c in clips] == [
        [(0.2, 0.5, "ben", "Bye")],
        [(0.0, 0.9, "ann", "Hello there")],
    ]
    assert [clip.duration for clip in clips] == [0.5, 1.0]
    assert [dict(clip.attributes) for clip in clips] == [
        {"Language": "English"},
        {"Language": "English", "Room": "hall"},
    ]
    assert {clip.split for clip in clips} == {"train"}
    whole, _ = soundfile.read(tmp_path / "a.wav", dtype="int16")
    for clip, start in zip(clips, (1.5, 0.0), strict=True):
        samples, rate = soundfile.read(tmp_path / clip.audio, dtype="int16")
        first = round(start * rate)
        assert np.array_equal(samples, whole[first : first + len(samples)])


def test_a_cut_of_a_whole_recording_is_the_recording(tmp_path: Path) -> None:
    record(tmp_path / "a.wav", seconds=2)
    audio = recording("a", "a.wav")
    write(tmp_path / "cuts.jsonl", [cut(audio, supervision("s", "a", 0, 2, **BYE), duration=2.0)])

    (clip,) = described(tmp_path, cuts="cuts.jsonl").clips

    assert (clip.audio, clip.duration, clip.transcription) == ("a.wav", 2.0, "Bye")
    assert not (tmp_path / "recordings").exists()


def test_a_cut_takes_its_channel(tmp_path: Path) -> None:
    wave = np.stack([np.zeros(16_000), np.full(16_000, 0.5)], axis=1)
    soundfile.write(tmp_path / "a.wav", wave, 8_000)
    sources = [{"type": "file", "channels": [0, 1], "source": "a.wav"}]
    audio = recording("a", "a.wav", sources=sources, channel_ids=[0, 1])
    write(tmp_path / "cuts.jsonl", [cut(audio, channel=1, duration=2.0)])

    (clip,) = described(tmp_path, cuts="cuts.jsonl").clips

    samples, _ = soundfile.read(tmp_path / clip.audio)
    assert samples.min() > 0.4


def test_a_cut_in_the_middle_of_words_is_left_out(tmp_path: Path) -> None:
    record(tmp_path / "a.wav", seconds=2)
    audio = recording("a", "a.wav")
    cuts = [
        cut(audio, supervision("s1", "a", 0.0, 0.9, **HELLO)),
        cut(audio, supervision("s1", "a", -0.5, 0.9, **HELLO), start=0.5),
        cut(audio, supervision("s2", "a", 0.5, 0.9, **BYE), start=1.0),
    ]
    write(tmp_path / "cuts.jsonl", cuts)

    description = described(tmp_path, cuts="cuts.jsonl")

    assert [clip.transcription for clip in description.clips] == ["Hello there"]
    assert reasons(description) == {"a cut in the middle of what is said": 2}


def test_a_cut_of_a_recording_that_is_gone_is_damage(tmp_path: Path) -> None:
    record(tmp_path / "a.wav", seconds=2)
    there, gone = recording("a", "a.wav"), recording("b", "b.wav")
    write(tmp_path / "cuts.jsonl", [cut(there), cut(gone)])

    description = described(tmp_path, cuts="cuts.jsonl")

    assert reasons(description) == {"cannot be read": 1}
    assert description.broken == description.skipped


def test_audio_that_moved_is_found_below_the_root(tmp_path: Path) -> None:
    record(tmp_path / "train/a.wav", seconds=2)
    write(tmp_path / "r.jsonl", [recording("a", "/scratch/corpus/train/a.wav")])

    (clip,) = described(tmp_path, recordings="r.jsonl", moved_from="/scratch/corpus").clips

    assert clip.audio == "train/a.wav"


def test_what_only_lhotse_can_make_is_left_out_and_counted(tmp_path: Path) -> None:
    record(tmp_path / "a.wav", seconds=2)
    good = recording("a", "a.wav", transforms=[{"name": "Resample", "kwargs": {}}])
    far = [{"type": "url", "channels": [0], "source": "https://example.org/b.wav"}]
    pair = [{"type": "file", "channels": [c], "source": f"{c}.wav"} for c in (0, 1)]
    tracks = [{"cut": cut(good)}, {"cut": {"id": "p", "type": "PaddingCut"}, "offset": 1}]
    write(
        tmp_path / "cuts.jsonl",
        [
            cut(good, supervision("s", "a", 0, 1, **HELLO)),
            cut(recording("b", "", sources=far)),
            cut(recording("c", "", sources=pair)),
            cut(recording("d", "a.wav", transforms=[{"name": "Speed", "kwargs": {}}])),
            cut(recording("e", "../e.wav")),
            {"id": "m", "tracks": tracks, "type": "MixedCut"},
        ],
    )

    description = described(tmp_path, cuts="cuts.jsonl")

    assert len(description.clips) == 1
    assert reasons(description) == {
        "its audio is not a file": 1,
        "its channels lie in several files": 1,
        "a change of the recording that only lhotse can make": 1,
        "a mix that only lhotse can make": 1,
        "the recording lies outside the root": 1,
    }


def test_a_supervision_without_its_recording_is_damage(tmp_path: Path) -> None:
    record(tmp_path / "a.wav", seconds=2)
    write(tmp_path / "r.jsonl", [recording("a", "a.wav")])
    write(tmp_path / "s.jsonl", [supervision("s", "lost", 0, 1, **HELLO)])

    description = described(tmp_path, recordings="r.jsonl", supervisions="s.jsonl")

    assert reasons(description) == {"its recording is not in the RecordingSet": 1}
    assert description.broken == description.skipped


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"id": "a"}\n', "is not a manifest of lhotse"),
        (b'{"id": "a", "sources": 3}\n', "is not a manifest of lhotse"),
        (b"[]\n", "is not a JSON object"),
        (None, "is not a file"),
    ],
)
def test_what_is_no_manifest_is_named(tmp_path: Path, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / "r.jsonl").write_bytes(content)

    with pytest.raises(DataError, match=message):
        described(tmp_path, recordings="r.jsonl")


def test_a_gzipped_manifest_that_is_cut_is_named(tmp_path: Path) -> None:
    lines = "".join(f"{json.dumps(recording(str(n), f'{n}.wav'))}\n" for n in range(500))
    (tmp_path / "r.jsonl.gz").write_bytes(gzip.compress(lines.encode())[:400])

    with pytest.raises(DataError, match="is not whole"):
        described(tmp_path, recordings="r.jsonl.gz")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "either cuts or recordings"),
        ({"cuts": "c.jsonl", "recordings": "r.jsonl"}, "either cuts or recordings"),
        ({"cuts": "c.jsonl", "supervisions": "s.jsonl"}, "their own supervisions"),
        ({"cuts": "c.jsonl", "name": "two words"}, "not one word"),
        ({"cuts": "c.jsonl", "values": {"Mood": {"a": "b"}}}, "not an attribute"),
    ],
)
def test_a_wrong_recipe_is_a_config_error(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_config(LhotseRecipe, {"name": "mine", **values}, where="recipe")
