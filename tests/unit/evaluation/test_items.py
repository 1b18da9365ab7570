import gzip
import json
from pathlib import Path

import pytest

from desta.errors import ConfigError, DataError
from desta.evaluation.base import Item, Result, form_messages
from desta.evaluation.hub import fetch
from desta.evaluation.judge.templates import fill
from desta.evaluation.metrics import find
from desta.evaluation.published_files import check_unique, read_json_values
from desta.evaluation.systems import missing_clips
from desta.evaluation.tabulate import count_notes, tabulate
from support.results import make_result


def result(
    id: str, group: str, value: float | None, weight: float = 1.0, note: str | None = None
) -> Result:
    values = {"official": value}
    return make_result(id=id, groups={"task": group}, values=values, weight=weight, note=note)


def test_tabulate_averages_in_total_and_by_group_and_counts_what_is_not_scored() -> None:
    cells = tabulate([result("1", "a", 1.0), result("2", "a", 0.0), result("3", "b", None)])

    total = find(cells, "official")
    assert total.estimate is not None
    assert (total.estimate.value, total.num_scored, total.num_unscored) == (0.5, 2, 1)
    assert total.estimate.standard_error == pytest.approx((0.25 / 2) ** 0.5)
    assert find(cells, "official", "task", "b").estimate is None


def test_tabulate_weighs_items_by_what_they_rest_on() -> None:
    cells = tabulate([result("1", "a", 5.0, weight=3), result("2", "a", 1.0, weight=1)])

    total = find(cells, "official")
    assert total.estimate is not None
    assert total.estimate.value == 4.0


def test_notes_are_counted_with_their_first_item() -> None:
    notes = count_notes(
        [result("1", "a", 1.0), result("2", "a", None, note="x"), result("3", "b", None, note="x")]
    )

    assert notes == ({"reason": "x", "count": 2, "example": "2"},)


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


def test_items_whose_clip_is_missing_are_found(tmp_path: Path) -> None:
    (tmp_path / "a.wav").touch()

    for name, missing in (("a.wav", False), ("b.wav", True)):
        messages = form_messages("", "<|AUDIO|>", [tmp_path / name])
        assert missing_clips(Item(id="1", messages=messages, question="", target="")) is missing


def test_a_branch_is_no_revision() -> None:
    with pytest.raises(ConfigError, match='"main" of a/b is not a commit'):
        fetch("a/b", "main", ["*"])


@pytest.mark.parametrize("name", ["a/b", "no name/at all"])
def test_what_cannot_be_fetched_is_one_sentence(name: str) -> None:
    with pytest.raises(DataError, match=f"{name} at 0+ cannot be fetched"):  # tests are offline
        fetch(name, "0" * 40, ["*"])


def test_a_value_that_holds_a_placeholder_stays_as_it_is() -> None:
    assert fill("{a}|{b}", {"{a}": "{b}", "{b}": "x"}) == "{b}|x"


def test_a_report_is_plain_json() -> None:
    cell = tabulate([result("1", "a", None)])[0]

    assert json.loads(json.dumps(cell.to_json()))["estimate"] is None
