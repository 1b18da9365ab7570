import json
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from desta.errors import DataError
from desta.reasons import Count, Reasons
from desta.records import AudioTextPair, Message
from desta.shards import (
    Manifest,
    ShardFile,
    ShardWriter,
    shard_paths,
    verify_shards,
)
from support.construction import read_pairs


def pair(number: int, response: str = "A dog.") -> AudioTextPair:
    return AudioTextPair(
        id=f"clip/{number}",
        dataset="corpus",
        seed_description="[00:00-00:01] (Sound class: Dog, Duration: 1s)",
        prompt="What is it?",
        response=response,
        messages=(Message(role="user", content="What is it?"),),
    )


def write_shards(
    directory: Path, pairs: Iterable[AudioTextPair], *, rows_per_shard: int
) -> tuple[ShardFile, ...]:
    writer = ShardWriter(directory, rows_per_shard=rows_per_shard)
    for each in pairs:
        writer.add(each)
    return writer.close()


def data_set(directory: Path, num_pairs: int, rows_per_shard: int) -> Manifest:
    manifest = Manifest(
        backbone="b",
        revision="r",
        prompt_pool="p",
        sampling={"temperature": 0.05},
        recipe="x",
        shards=write_shards(directory, map(pair, range(num_pairs)), rows_per_shard=rows_per_shard),
        dropped=Reasons({"empty": Count(count=2, example="clip/7")}),
    )
    manifest.write(directory)
    return manifest


@given(st.integers(1, 30), st.integers(1, 12))
@settings(max_examples=20)
def test_shards_hold_every_pair_once_and_in_order(
    tmp_path_factory: pytest.TempPathFactory, num_pairs: int, rows_per_shard: int
) -> None:
    directory = tmp_path_factory.mktemp("data")
    manifest = data_set(directory, num_pairs, rows_per_shard)

    assert list(read_pairs(directory)) == [pair(n) for n in range(num_pairs)]
    assert [s.rows for s in manifest.shards[:-1]] == [rows_per_shard] * (len(manifest.shards) - 1)
    assert verify_shards(directory) == manifest
    assert (manifest.num_kept, manifest.num_dropped) == (num_pairs, 2)


@pytest.mark.parametrize("text", ["\u2028\u0085\r\n", "<|im_end|>", "日本 \U0001f600", "\ue000"])
def test_any_text_survives_a_shard(tmp_path: Path, text: str) -> None:
    write_shards(tmp_path, [pair(0, text)], rows_per_shard=1)
    assert next(read_pairs(tmp_path)).response == text


def test_a_published_directory_without_manifest_is_read_in_natural_order(tmp_path: Path) -> None:
    for number in (10, 2, 0):
        row = json.dumps(pair(number).to_json())
        (tmp_path / f"audio.{number}.jsonl").write_text(f"{row}\n")
    assert [p.id for p in read_pairs(tmp_path)] == ["clip/0", "clip/2", "clip/10"]


def test_verify_finds_a_changed_shard(tmp_path: Path) -> None:
    data_set(tmp_path, 3, 2)
    path = tmp_path / "audio-00001.jsonl"
    path.write_text(path.read_text().replace("dog", "cat"))
    with pytest.raises(DataError, match=r"audio-00001\.jsonl was changed"):
        verify_shards(tmp_path)


def test_a_missing_shard_is_an_error_also_without_verification(tmp_path: Path) -> None:
    data_set(tmp_path, 3, 2)
    (tmp_path / "audio-00000.jsonl").unlink()
    with pytest.raises(DataError, match=r"audio-00000\.jsonl is missing"):
        shard_paths(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not a manifest"),
        ("[]", "not a manifest"),
        ('{"format": 1}', "not a manifest"),
        ('{"format": 99}', "newer"),
    ],
)
def test_a_broken_manifest_is_one_clear_error(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(DataError, match=message):
        Manifest.read(tmp_path)
