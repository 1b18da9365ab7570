import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from desta.reasons import Reasons

found = st.lists(st.tuples(st.sampled_from("abc"), st.text()))


@given(found, found)
def test_counts_of_two_parts_merge_into_the_counts_of_the_whole(
    first: list[tuple[str, str]], second: list[tuple[str, str]]
) -> None:
    merged = Reasons.of(first)
    merged.merge(Reasons.of(second))

    assert list(merged.items()) == list(Reasons.of(first + second).items())
    assert merged.total == len(first + second)


@given(found)
def test_counts_survive_json_and_other_processes(pairs: list[tuple[str, str]]) -> None:
    reasons = Reasons.of(pairs)

    assert Reasons.from_json(json.loads(json.dumps(reasons.to_json()))) == reasons
    assert pickle.loads(pickle.dumps(reasons)) == reasons


def test_a_table_begins_with_the_commonest_reason_and_of_equal_ones_the_earlier() -> None:
    reasons = Reasons.of([("x", "1"), ("y", "2"), ("z", "3"), ("z", "4")])

    assert [row["reason"] for row in reasons.rows()] == ["x", "y", "z"]
    assert [row["reason"] for row in reasons.table()] == ["z", "x", "y"]


def test_the_parts_of_a_reason_are_columns_before_its_count() -> None:
    reasons = Reasons.of([(("Gender", "silent"), "a")])

    row = {"attribute": "Gender", "reason": "silent", "count": 1, "example": "a"}
    assert reasons.rows("attribute", "reason") == [row]
    assert list(reasons.rows("attribute", "reason")[0]) == list(row)


def test_a_count_with_an_unknown_key_is_refused() -> None:
    with pytest.raises(TypeError, match="often"):
        Reasons.from_json({"empty": {"count": 1, "example": "a", "often": True}})
