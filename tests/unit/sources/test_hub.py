from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from desta.errors import DataError
from desta.sources.base import Metadata, Skipped
from desta.sources.hub import HubRow, hub_reader


def keep(row: HubRow) -> Metadata:
    return Metadata(
        id=row.id, audio=row.audio, domain="speech", attributes={"Text": row.values["text"]}
    )


READ = hub_reader("some", "owner/some", ("text",), keep)


def shard(root: Path, sounds: list[bytes | None], name: str = "train-0.parquet") -> Path:
    rows = [
        {"audio": {"bytes": sound, "path": f"../../{number}.wav"}, "text": str(number)}
        for number, sound in enumerate(sounds)
    ]
    path = root / "data" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=2)
    return path


def test_every_row_of_every_group_becomes_a_file_below_the_root(tmp_path: Path) -> None:
    shard(tmp_path, [b"a", b"b", b"c"])

    rows = list(READ(tmp_path))

    assert [row.id for row in rows] == ["data/train-0/0", "data/train-0/1", "data/train-0/2"]
    assert all(isinstance(row, Metadata) for row in rows)
    files = [tmp_path / row.audio for row in rows if isinstance(row, Metadata)]
    assert [file.read_bytes() for file in files] == [b"a", b"b", b"c"]
    assert all(file.is_relative_to(tmp_path / "recordings/data/train-0") for file in files)
    assert {file.suffix for file in files} == {".wav"}
    assert sorted(p.suffix for p in tmp_path.rglob("*") if p.is_file()) == [
        ".parquet",
        ".wav",
        ".wav",
        ".wav",
    ]


def test_a_sound_that_is_there_is_not_written_again(tmp_path: Path) -> None:
    shard(tmp_path, [b"a", b"b", b"c"])
    first = list(READ(tmp_path))
    files = sorted((tmp_path / "recordings").rglob("*.wav"))
    files[0].unlink()  # as after a run that was killed
    files[1].write_bytes(b"kept")

    assert list(READ(tmp_path)) == first
    assert [file.read_bytes() for file in files] == [b"a", b"kept", b"c"]


def test_rows_of_other_splits_and_rows_without_sound_are_counted(tmp_path: Path) -> None:
    shard(tmp_path, [b"a", None])
    shard(tmp_path, [b"a", b"b", b"c"], name="test-0.parquet")

    reasons = [row.reason for row in READ(tmp_path) if isinstance(row, Skipped)]

    assert reasons == ["of the official test split"] * 3 + ["its row holds no sound"]


def test_a_newer_revision_never_meets_the_sounds_of_an_older_one(tmp_path: Path) -> None:
    shard(tmp_path, [b"a", b"b"])
    list(READ(tmp_path))
    shard(tmp_path, [b"x", b"b"])

    files = [tmp_path / row.audio for row in READ(tmp_path) if isinstance(row, Metadata)]

    assert [file.read_bytes() for file in files] == [b"x", b"b"]


@pytest.mark.parametrize("column", ["text", "audio.bytes", "audio.path"])
def test_a_column_that_another_revision_lacks_is_named(tmp_path: Path, column: str) -> None:
    row = {"audio": {"bytes": b"a", "path": "a.wav"}, "text": "0"}
    outer, _, inner = column.partition(".")
    if inner:
        del row[outer][inner]
    else:
        del row[outer]
    path = tmp_path / "train-0.parquet"
    pq.write_table(pa.Table.from_pylist([row]), path)

    with pytest.raises(DataError, match=f'train-0.parquet has no column "{column}"'):
        list(READ(tmp_path))


@pytest.mark.parametrize("place", ["rows", "footer", "all"])
def test_a_damaged_shard_is_named_wherever_the_damage_lies(tmp_path: Path, place: str) -> None:
    path = shard(tmp_path, [bytes([number]) * 5_000 for number in range(20)])
    data = path.read_bytes()
    middle = len(data) // 2
    path.write_bytes(
        {
            "rows": b"PAR1" + b"\xff" * middle + data[4 + middle :],
            "footer": data[:-20],
            "all": b"",
        }[place]
    )

    with pytest.raises(DataError, match="train-0.parquet cannot be read"):
        list(READ(tmp_path))
