"""A data set as Parquet files, with its recordings or without."""

import os
from pathlib import Path

import datasets
import pytest
from pyarrow import parquet

from desta.errors import ConfigError, DataError
from desta.publishing.parquet import PARQUET_FILES, export_parquet
from desta.publishing.survey import MISSING, OUTSIDE, survey_data_set
from desta.reasons import Count
from desta.records import AudioTextPair
from desta.reports.data_set import samples_page
from support.publishing import BLOCK, heard, published, row
from support.recordings import tone


def test_parquet_reads_back_row_by_row(tmp_path: Path) -> None:
    rows = [row(id=str(n), response=f"Answer {n} – 日本") for n in range(2500)]
    rows[7] = heard({"audio": "a.wav", "text": " "}, {"audio": "b.wav", "text": "Hi"})
    rows[7]["messages"][0]["content"] = f"{BLOCK}{BLOCK}"
    directory = published(tmp_path / "d", rows[:1000], [*rows[1000:], row(id="bad", response="")])

    exported = export_parquet(directory, tmp_path / "out")

    read = datasets.load_dataset(
        "parquet",
        data_files=str(tmp_path / "out" / PARQUET_FILES),
        split="train",
        cache_dir=tmp_path,
    )
    assert (exported.num_files, exported.num_rows) == (1, 2500)
    assert exported.left_out == {"has no response": Count(count=1, example="bad")}
    assert read.column_names == list(row())
    for got, wanted in zip(read, rows, strict=True):
        assert AudioTextPair.from_json(got) == AudioTextPair.from_json(wanted)


def test_parquet_holds_recordings_that_are_there_and_counts_the_others(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    sound = tone(root / "a.wav", 0.1).read_bytes()
    tone(tmp_path / "secret.wav", 0.1)
    outside = heard({"audio": "../secret.wav", "text": " "}) | {"id": "2"}
    gone = heard({"audio": "gone.wav", "text": " "}) | {"id": "3"}
    names = [f"{300 * 'x'}.wav", "a\0.wav", "pipe.wav"]
    os.mkfifo(root / "pipe.wav")
    others = [
        heard({"audio": name, "text": " "}) | {"id": str(n)} for n, name in enumerate(names, 4)
    ]
    directory = published(tmp_path / "d", [row(), outside, gone, *others])

    exported = export_parquet(directory, tmp_path / "out", audio_root=root)

    read = datasets.load_dataset(
        "parquet",
        data_files=str(tmp_path / "out" / PARQUET_FILES),
        split="train",
        cache_dir=tmp_path,
    )
    assert read.features["audios"] == datasets.List(datasets.Audio())
    raw = read.cast_column("audios", datasets.List(datasets.Audio(decode=False)))
    assert [r["audios"][0]["bytes"] for r in raw] == [sound, *5 * [None]]
    paths = ["a.wav", "../secret.wav", "gone.wav", *names]
    assert [r["audios"][0]["path"] for r in raw] == paths
    assert exported.silent == {
        OUTSIDE: Count(count=1, example="2"),
        MISSING: Count(count=4, example="3"),
    }
    assert survey_data_set(directory, root=root).odd == exported.silent
    assert "is not a possible file name" in samples_page(
        survey_data_set(directory, root=root, num_samples=9), root=root
    )


def test_a_recording_is_read_from_the_place_that_was_checked(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (tmp_path / "elsewhere" / "folder").mkdir(parents=True)
    root.mkdir()
    sound = tone(root / "a.wav", 0.1).read_bytes()
    tone(tmp_path / "elsewhere" / "a.wav", 0.2)
    (root / "link").symlink_to(tmp_path / "elsewhere" / "folder")
    directory = published(tmp_path / "d", [heard({"audio": "link/../a.wav", "text": " "})])

    export_parquet(directory, tmp_path / "out", audio_root=root)

    (path,) = (tmp_path / "out").glob(PARQUET_FILES)
    (read,) = parquet.read_table(path).to_pylist()
    assert read["audios"][0]["bytes"] == sound


def test_files_end_where_they_are_large_and_know_how_many_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("desta.publishing.parquet._FILE_BYTES", 1)
    monkeypatch.setattr("desta.publishing.parquet._GROUP_ROWS", 2)
    (tmp_path / "out" / "data").mkdir(parents=True)
    (tmp_path / "out" / "data" / "00009.part").touch()  # of a call that was killed
    export_parquet(published(tmp_path / "d", [row(id=str(n)) for n in range(5)]), tmp_path / "out")
    names = sorted(path.name for path in (tmp_path / "out" / "data").iterdir())
    assert names == [f"train-0000{n}-of-00003.parquet" for n in range(3)]
    with pytest.raises(ConfigError, match="holds Parquet files"):
        export_parquet(tmp_path / "d", tmp_path / "out")


def test_nothing_of_use_makes_no_parquet(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no usable row"):
        export_parquet(published(tmp_path / "d", [row(messages=[])]), tmp_path / "out")
