"""From values to words: thresholds, and the files that hold them."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from desta.attributes.thresholds import MIN_CLIPS, Thresholds, fit
from desta.errors import DataError


@pytest.mark.parametrize(
    "change",
    [
        lambda tree: tree.update(format=2),
        lambda tree: tree.pop("measures"),
        lambda tree: tree["measures"]["pitch"]["groups"].pop("any"),
        lambda tree: tree["measures"]["pitch"]["groups"]["any"]["borders"].reverse(),
        lambda tree: tree["measures"]["pitch"].update(words=["Low", "High"]),
    ],
)
def test_a_broken_file_of_thresholds_is_refused(tmp_path: Path, change: Any) -> None:
    path = tmp_path / "thresholds.json"
    fit({"pitch": {"Male": [float(n) for n in range(MIN_CLIPS)]}}, {"pitch": {}}).write(path)
    Thresholds.read(path)
    tree = json.loads(path.read_text())
    change(tree)
    path.write_text(json.dumps(tree))

    with pytest.raises(DataError, match="holds no thresholds"):
        Thresholds.read(path)


finite = st.floats(50, 500).map(lambda x: round(x, 3))


@given(st.lists(finite, min_size=MIN_CLIPS, max_size=60), finite, finite)
def test_a_higher_value_never_gets_a_lower_word(
    values: list[float], one: float, two: float
) -> None:
    thresholds = fit({"pitch": {None: values}}, {"pitch": {}})
    order = ["Very low", "Low", "Normal", "High", "Very high"]

    low, high = (order.index(thresholds.word("pitch", v, None)) for v in sorted((one, two)))

    assert low <= high


def test_a_sex_that_is_heard_too_rarely_is_judged_among_all() -> None:
    values = {"Male": [float(n) for n in range(100)], "Female": [1000.0]}
    thresholds = fit({"pitch": values}, {"pitch": {}})

    assert thresholds.groups["pitch"].keys() == {"any", "Male"}
    assert thresholds.word("pitch", 1000.0, "Female") == "Very high"
