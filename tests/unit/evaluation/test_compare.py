import json
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from desta.errors import DataError
from desta.evaluation.base import Result
from desta.evaluation.compare import (
    EXACT,
    MEAN_OF_GROUPS,
    SIGN_FLIPS,
    Contender,
    compare,
    sign_flip_test,
)
from support.results import changed, make_result


def result(id: str, value: float | None, group: str = "sound", **changes: object) -> Result:
    return make_result(
        id=id,
        groups={"task": group},
        question=f"Question {id}?",
        target="dog",
        choices=("dog", "cat"),
        output="dog",
        values={"exact": value},
        **changes,
    )


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

    assert method == SIGN_FLIPS
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


def test_nothing_in_common_is_refused() -> None:
    a, b = pair([1, 0], [0, 1])
    with pytest.raises(DataError, match="benchmark 'mmau', and B 'mmar'"):
        compare(a, replace(b, benchmark="mmar"))
    with pytest.raises(DataError, match="have no item in common: 2 because the right answer diff"):
        compare(a, replace(b, results=[changed(r, target="cat") for r in b.results]))
    with pytest.raises(DataError, match="no item in common: 2 because only A answers it.* 2 beca"):
        compare(a, replace(b, results=[changed(r, id=f"x{r.id}") for r in b.results]))
    with pytest.raises(DataError, match="more than once"):
        compare(a, replace(b, results=[*b.results, b.results[0]]))


def test_only_common_items_count_and_the_others_are_told() -> None:
    a, b = pair([1, 0, 0, 1, 0, 0], [1, 1, 1, 1, 0, 1])
    changes: dict[str, dict[str, object]] = {
        "1": {"target": "cat"},
        "2": {"question": "Another?"},
        "3": {"choices": ("dog", "cow")},
        "4": {"question": " Question   4? "},  # spaces are no other question
    }
    others = [changed(r, **changes.get(r.id, {})) for r in b.results if r.id != "5"]

    found = compare(a, replace(b, results=others, version="2"))

    assert found.version == "1 and 2"
    assert (found.num_items, found.num_first, found.num_second) == (2, 6, 5)
    assert [(row.reason, row.count, row.examples) for row in found.left_out] == [
        ("the right answer differs", 1, ("1 ('dog' and 'cat')",)),
        ("the question differs", 1, ("2 ('Question 2?' and 'Another?')",)),
        ("the choices differ", 1, ("3 ('cat | dog' and 'cow | dog')",)),
        ("only A answers it", 1, ("5",)),
    ]
    alone = compare(*pair([1, 0], [1, 0]))  # as if the other items had never been
    total = found.differences[0]
    assert (total.first, total.second, total.num_pairs) == (0.5, 0.5, 2)
    assert (total.difference, total.p_value) == (
        alone.differences[0].difference,
        alone.differences[0].p_value,
    )


def test_a_right_answer_that_one_file_lacks_is_that_of_the_other() -> None:
    a, b = pair([1, 0], [0, 1])
    bare = [changed(r, target="", values={"model_output": None}) for r in a.results]
    b = replace(b, results=[changed(r, values={"model_output": 1.0}) for r in b.results])
    found = compare(replace(a, results=bare), b)
    assert (found.num_items, found.left_out) == (2, ())
    assert found.differences[0].first == 1.0, "both say `dog`, which the other file has as right"


def test_items_without_ids_are_told_by_their_content() -> None:
    """VoiceBench's ids are places in a file: a row that is missing moves all behind it."""
    a, b = (replace(one, benchmark="voicebench") for one in pair([1, 0, 1], [0, 0, 1], "xxx"))
    moved = [changed(r, id=f"{int(r.id) - 1}") for r in sorted(b.results, key=lambda r: r.id)[1:]]
    found = compare(a, replace(b, results=moved))
    assert found.num_items == 2
    assert [(row.reason, row.examples) for row in found.left_out] == [("only A answers it", ("0",))]
    assert (found.differences[0].num_better, found.differences[0].num_worse) == (0, 0)


def test_questions_that_both_should_answer_are_all_answered_or_told() -> None:
    a, b = pair([1, 0, 1], [0, 1, 1])
    questions = [r.item for r in a.results] + [replace(a.results[0].item, id="9")]
    some = replace(b, results=[r for r in b.results if r.id != "2"])
    with pytest.raises(DataError, match="not all 4 questions are answered: 1 because only A"):
        compare(a, some, questions)
    found = compare(a, some, questions, allow_missing=True)
    assert found.num_items == 2
    assert {row.reason: row.count for row in found.left_out} == {
        "only A answers it": 1,
        "neither A nor B answers it": 1,
    }
    changed = [replace(item, target="cat") if item.id == "0" else item for item in questions[:2]]
    found = compare(a, b, changed)
    assert found.num_items == 1
    assert {row.reason: row.examples for row in found.left_out} == {
        "the right answer differs": ("0 ('dog' and 'cat')",),
        "it is not among the questions of --data": ("2",),
    }


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


def test_json_names_every_item_that_is_left_out() -> None:
    a, b = pair([1] * 9, [1] * 9)
    found = compare(a, replace(b, results=b.results[:1])).to_json()
    (row,) = json.loads(json.dumps(found))["left_out"]
    assert row["count"] == 8
    assert row["examples"] == [r.id for r in a.results if r.id != b.results[0].id]
