import json
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from desta.errors import DataError
from desta.evaluation.base import Result
from desta.evaluation.compare import (
    DRAWN,
    EXACT,
    MEAN_OF_GROUPS,
    Contender,
    compare,
    sign_flip_test,
)


def result(id: str, value: float | None, group: str = "sound", **changes: object) -> Result:
    one = Result(
        id=id,
        system="model",
        groups={"task": group},
        question=f"Question {id}?",
        target="dog",
        choices=("dog", "cat"),
        record={},
        audio=(),
        transcription=" ",
        prompt=(),
        output="dog",
        values={"exact": value},
    )
    return replace(one, **changes)  # type: ignore[arg-type]


def contender(name: str, results: Sequence[Result], version: str = "1") -> Contender:
    return Contender(name=name, benchmark="mmau", version=version, results=results)


def pair(
    first: Sequence[float | None], second: Sequence[float | None], groups: str = ""
) -> tuple[Contender, Contender]:
    names = groups or "s" * len(first)
    a = [result(str(i), v, names[i]) for i, v in enumerate(first)]
    b = [result(str(i), v, names[i]) for i, v in enumerate(second)]
    return contender("A", a), contender("B", b[::-1])  # the order of the lines does not matter


def test_binary_scores_are_mcnemars_test() -> None:
    # 9 items that only B has right, 2 that only A has, 20 alike: P(<= 2 of 11) * 2 by hand
    found = compare(*pair([0] * 9 + [1] * 2 + [1] * 20, [1] * 9 + [0] * 2 + [1] * 20))

    total = found.differences[0]
    assert (total.dimension, total.num_pairs, total.num_better, total.num_worse) == (
        "total",
        31,
        9,
        2,
    )
    assert total.p_value == pytest.approx(2 * (1 + 11 + 55) / 2**11)
    assert total.method == EXACT
    assert total.difference.value == pytest.approx(7 / 31)
    # of differences of -1, 0 and 1 the variance is (9 + 2) / 31 - (7 / 31) ** 2
    assert total.difference.standard_error == pytest.approx(((11 / 31 - (7 / 31) ** 2) / 31) ** 0.5)
    assert (total.first, total.second) == (pytest.approx(22 / 31), pytest.approx(29 / 31))


def test_p_values_are_those_of_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(7)
    for better, worse in ((0, 1), (5, 5), (30, 12), (700, 800)):
        expected = stats.binomtest(better, better + worse).pvalue
        deltas = np.array([1.0] * better + [-1.0] * worse + [0.0] * 4)
        assert sign_flip_test(deltas)[0] == pytest.approx(expected, rel=1e-9)
    for count in (3, 9, 14):
        deltas = rng.normal(0.3, 1, count)
        expected = stats.permutation_test(
            (deltas,), np.sum, permutation_type="samples", n_resamples=np.inf
        ).pvalue
        assert sign_flip_test(deltas) == (pytest.approx(expected), EXACT)


def test_many_graded_differences_are_drawn_and_repeatable() -> None:
    deltas = np.random.default_rng(0).normal(0.2, 1, 200)
    p_value, method = sign_flip_test(deltas)
    z = deltas.sum() / np.sqrt((deltas**2).sum())  # the sum of flipped signs is nearly normal
    from math import erfc, sqrt

    assert method == DRAWN
    assert p_value == pytest.approx(erfc(abs(z) / sqrt(2)), abs=0.01)
    assert sign_flip_test(deltas) == (p_value, method)


def test_no_difference_is_no_evidence() -> None:
    total = compare(*pair([1, 0, 1], [1, 0, 1])).differences[0]
    assert (total.p_value, total.difference.value, total.difference.standard_error) == (1.0, 0, 0)


def test_groups_and_their_mean() -> None:
    # B wins all of group x (2 items) and loses half of group y (4 items)
    found = compare(*pair([0, 0, 1, 1, 1, 1], [1, 1, 0, 0, 1, 1], "xxyyyy"))
    rows = {(row.dimension, row.group): row for row in found.differences}
    assert rows["task", "x"].difference.value == 1
    assert rows["task", "y"].difference.value == -0.5
    mean = rows["task", MEAN_OF_GROUPS]
    assert mean.difference.value == pytest.approx(0.25)
    assert rows["total", "total"].difference.value == pytest.approx(0)
    # independent groups: half of the only group that varies
    assert mean.difference.standard_error == pytest.approx(
        rows["task", "y"].difference.standard_error / 2
    )


def test_weights_count() -> None:
    first = contender("A", [result("1", 0.5, weight=10), result("2", 0.0, weight=30)])
    second = contender("B", [result("1", 0.1, weight=10), result("2", 0.2, weight=30)])
    total = compare(first, second).differences[0]
    assert total.first == pytest.approx(5 / 40)  # words that are wrong, over words
    assert total.difference.value == pytest.approx((1 + 6) / 40 - 5 / 40)


def test_unscored_items_are_counted() -> None:
    total = compare(*pair([1, None, 0], [1, 1, 1])).differences[0]
    assert (total.num_pairs, total.num_unscored) == (2, 1)
    with pytest.raises(DataError, match="no item has a score of both"):
        compare(*pair([None, 1], [1, None]))


def test_other_questions_are_refused() -> None:
    a, b = pair([1, 0], [0, 1])
    with pytest.raises(DataError, match="version '1', and B '2'"):
        compare(a, replace(b, version="2"))
    with pytest.raises(DataError, match="benchmark 'mmau', and B 'mmar'"):
        compare(a, replace(b, benchmark="mmar"))
    with pytest.raises(DataError, match="1 items are answered by only one of A and B.*'1'"):
        compare(a, replace(b, results=[r for r in b.results if r.id != "1"]))
    with pytest.raises(DataError, match="another question"):
        compare(a, replace(b, results=[replace(r, target="cat") for r in b.results]))
    with pytest.raises(DataError, match="more than once"):
        compare(a, replace(b, results=[*b.results, b.results[0]]))


def test_json_holds_every_figure() -> None:
    record = json.loads(json.dumps(compare(*pair([1, 0], [0, 0])).to_json()))
    row = record["differences"][0]
    assert row["difference"] == {"value": -0.5, "standard_error": 0.353553}
    assert row["p_value"] == 1.0
    assert {"num_better", "num_worse", "method", "num_unscored"} <= row.keys()


def test_scores_of_several_scales_are_not_averaged() -> None:
    """VoiceBench rates one part from 1 to 5, and counts shares of others."""
    first, second = (
        replace(one, benchmark="voicebench") for one in pair([1, 5, 0], [1, 4, 1], "aab")
    )
    rows = compare(first, second).differences
    assert [(row.group, row.difference.value) for row in rows] == [("a", -0.5), ("b", 1.0)]
