import json

import pytest

from desta.evaluation.base import Result
from desta.evaluation.metrics import find
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


def test_a_report_is_plain_json() -> None:
    cell = tabulate([result("1", "a", None)])[0]

    assert json.loads(json.dumps(cell.to_json()))["estimate"] is None
