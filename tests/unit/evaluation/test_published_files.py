import gzip
from pathlib import Path

import pytest

from desta.errors import DataError
from desta.evaluation.published_files import check_unique, read_json_values


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('[{"a": 1}]', [{"a": 1}]),
        ('{"predictions": []}', {"predictions": []}),
        ('{"a": 1}\n\n{"a": 2}\n', [{"a": 1}, {"a": 2}]),
        ('\ufeff{"a": "é"}', {"a": "é"}),
    ],
)
def test_published_files_are_read_as_they_are(
    tmp_path: Path, text: str, value: object, packed: bool
) -> None:
    path = tmp_path / "results"  # told by its content, not by its name
    path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())

    assert read_json_values(path) == value


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b'{"a": 1}\n{"a"', b"\xff\xfe", gzip.compress(b"[1, 2]", mtime=0)[:-9]],
    ids=["empty", "open", "second line open", "not utf-8", "gzip cut"],  # gzip holds the time
)
def test_a_broken_file_is_one_clear_error(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "results.json"
    path.write_bytes(data)

    with pytest.raises(DataError, match=r"results\.json"):
        read_json_values(path)


def test_a_missing_file_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not a file"):
        read_json_values(tmp_path / "none.json")


def test_an_id_that_occurs_twice_is_named() -> None:
    with pytest.raises(DataError, match="'b' occurs 2 times"):
        check_unique(["a", "b", "b"], "results.json")
