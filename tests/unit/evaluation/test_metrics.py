import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from desta.evaluation.metrics import (
    accuracy,
    average,
    balanced_accuracy,
    confusion_matrix,
    mean,
    ratio,
)

CLASSES = ("a", "b", "c")
pairs = st.lists(
    st.tuples(st.sampled_from(CLASSES), st.sampled_from((*CLASSES, None))), min_size=1, max_size=60
)


def test_confusion_matrix_puts_answers_that_name_nothing_into_the_last_column() -> None:
    confusion = confusion_matrix(["a", "a", "b"], ["a", None, "a"], CLASSES)

    assert confusion.tolist() == [[1, 0, 0, 1], [1, 0, 0, 0], [0, 0, 0, 0]]


def test_confusion_matrix_rejects_a_target_outside_the_closed_set() -> None:
    with pytest.raises(KeyError):
        confusion_matrix(["d"], [None], CLASSES)


def test_accuracy_has_the_standard_error_of_a_binomial() -> None:
    estimate = accuracy(confusion_matrix(["a"] * 3 + ["b"], ["a", "a", "a", "a"], CLASSES))

    assert estimate.value == 0.75
    assert estimate.standard_error == pytest.approx(math.sqrt(0.75 * 0.25 / 4))


def test_balanced_accuracy_counts_rare_classes_as_much_as_common_ones() -> None:
    targets = ["a"] * 98 + ["b"] * 2
    named = ["a"] * 98 + ["a", "b"]

    estimate = balanced_accuracy(confusion_matrix(targets, named, CLASSES))

    assert estimate.value == pytest.approx((1.0 + 0.5) / 2)  # "c" never occurs and does not count
    assert estimate.standard_error == pytest.approx(math.sqrt(0.5 * 0.5 / 2) / 2)


def test_balanced_accuracy_error_is_the_spread_of_repeated_measurements() -> None:
    random = np.random.default_rng(0)
    recalls, answers = (0.9, 0.6, 0.3), (50, 20, 10)
    values, errors = [], []
    for _ in range(4000):
        hits = [int(random.binomial(n, r)) for n, r in zip(answers, recalls, strict=True)]
        confusion = np.zeros((3, 4), dtype=np.int64)
        for k, (hit, n) in enumerate(zip(hits, answers, strict=True)):
            confusion[k, k], confusion[k, 3] = hit, n - hit
        estimate = balanced_accuracy(confusion)
        values.append(estimate.value)
        errors.append(estimate.standard_error)

    assert np.mean(errors) == pytest.approx(np.std(values), rel=0.06)


@given(pairs)
def test_an_answer_that_ignores_the_clip_is_at_chance(answers: list[tuple[str, None]]) -> None:
    targets = [target for target, _ in answers]
    named = [targets[0]] * len(targets)

    confusion = confusion_matrix(targets, named, CLASSES)

    assert balanced_accuracy(confusion).value == pytest.approx(1 / len(set(targets)))


@given(pairs)
def test_accuracies_are_shares(answers: list[tuple[str, str | None]]) -> None:
    targets, named = zip(*answers, strict=True)
    confusion = confusion_matrix(targets, named, CLASSES)

    right = sum(target == name for target, name in answers)
    assert accuracy(confusion).value == pytest.approx(right / len(answers))
    assert 0 <= balanced_accuracy(confusion).value <= 1
    assert confusion.sum() == len(answers)


def test_ratio_is_of_sums_and_knows_the_spread_between_items() -> None:
    estimate = ratio([1, 0, 2], [10, 10, 20])

    assert estimate.value == pytest.approx(0.075)
    residuals = (1 - 0.75, 0 - 0.75, 2 - 1.5)
    assert estimate.standard_error == pytest.approx(math.hypot(*residuals) / 40)


@given(st.lists(st.sampled_from([0.0, 1.0]), min_size=1))
def test_mean_of_flags_has_the_standard_error_of_a_binomial(flags: list[float]) -> None:
    estimate = mean(flags)

    share = sum(flags) / len(flags)
    assert estimate.value == pytest.approx(share)
    expected = math.sqrt(share * (1 - share) / len(flags))
    assert estimate.standard_error == pytest.approx(expected, abs=1e-9)


def test_average_counts_every_estimate_alike() -> None:
    figure = average([mean([1.0, 0.0]), mean([1.0] * 50)])

    assert figure.value == 0.75
    assert figure.standard_error == pytest.approx(math.sqrt(0.25 / 2) / 2)
