"""Balanced epochs: attributes and values are drawn equally often, and nothing is lost for good."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from desta.data.sampling import BucketSampler, Position
from desta.errors import ConfigError
from desta.training.balance import Balance, Cell, named_first
from desta.training.config import DataConfig

CELLS: list[Cell | None] = [
    *[("Language", "english")] * 70,
    *[("Language", "french")] * 7,
    *[("Language", "hindi")] * 3,
    *[("Gender", "male")] * 8,
    *[("Gender", "female")] * 2,
    *[None] * 10,
]


def counts(cells: list[Cell | None], epoch: int = 0) -> Counter[Cell | None]:
    rows = Balance(cells)(np.random.default_rng((0, epoch)))
    assert len(rows) == len(cells)
    return Counter(cells[row] for row in rows)


def test_every_attribute_and_every_value_of_it_is_drawn_equally_often() -> None:
    drawn = counts(CELLS)
    assert drawn[None] == 10
    assert sum(n for cell, n in drawn.items() if cell and cell[0] == "Language") in (44, 45, 46)
    for cell in {cell for cell in CELLS if cell}:
        assert drawn[cell] == pytest.approx(15 if cell[0] == "Language" else 22.5, abs=1)


def test_an_attribute_is_drawn_as_often_as_it_weighs() -> None:
    rows = Balance(CELLS, {"Gender": 4.0})(np.random.default_rng((0, 0)))
    drawn = Counter(CELLS[row] for row in rows)
    assert len(rows) == len(CELLS)
    assert drawn["Gender", "male"] == drawn["Gender", "female"] == 36
    assert sum(n for cell, n in drawn.items() if cell and cell[0] == "Language") == 18


@pytest.mark.parametrize(
    ("weights", "said"),
    [({"Langage": 2.0}, 'did you mean "Language"?'), ({"Language": 0.0}, "more than 0")],
)
def test_a_weight_that_weighs_nothing_is_refused(weights: dict[str, float], said: str) -> None:
    with pytest.raises(ConfigError, match="data.balance_weights") as caught:
        DataConfig(train=(Path("pairs"),), balance=("Language",), balance_weights=weights)
    assert said in str(caught.value)


def test_rows_of_a_value_are_repeated_equally_often_but_for_one() -> None:
    rows = Balance(CELLS)(np.random.default_rng(0))
    times = Counter(rows.tolist())
    for cell in {cell for cell in CELLS if cell}:
        own = [times[row] for row, other in enumerate(CELLS) if other == cell]
        assert max(own) - min(own) <= 1


def test_what_one_epoch_leaves_out_comes_in_another() -> None:
    balance = Balance(CELLS)
    seen = {int(row) for epoch in range(40) for row in balance(np.random.default_rng((0, epoch)))}
    assert seen == set(range(len(CELLS)))


@given(
    st.lists(
        st.one_of(st.none(), st.tuples(st.sampled_from("AB"), st.sampled_from(["x", "y", "z"]))),
        min_size=1,
        max_size=60,
    ),
    st.integers(0, 5),
)
def test_an_epoch_is_as_long_as_the_data_whatever_they_hold(
    cells: list[Cell | None], epoch: int
) -> None:
    drawn = counts(cells, epoch)
    assert drawn[None] == cells.count(None)
    assert set(drawn) <= set(cells)


def test_a_balanced_stream_goes_on_at_any_position() -> None:
    def stream(start: Position) -> list[tuple[list[int], Position]]:
        sampler = BucketSampler(
            len(CELLS),
            lambda row: 1 + row % 5,
            token_budget=20,
            chunk_rows=16,
            draw_epoch=Balance(CELLS),
        )
        batches = sampler.batches(start)
        return [next(batches) for _ in range(30)]

    whole = stream(Position())
    assert stream(whole[11][1])[:18] == whole[12:]


DESCRIBED = "[00:00-00:02] Bonjour (Gender: Female, Language: French, Sound: Speech / Gush)"


@pytest.mark.parametrize(
    ("response", "attributes", "cell"),
    [
        ("A woman speaks French.", ["Language", "Gender"], ("Gender", "female")),
        ("French is spoken by a woman.", ["Language", "Gender"], ("Language", "french")),
        ("A woman speaks French.", ["Language"], ("Language", "french")),
        ("I hear a gush.", ["Sound"], ("Sound", "gush")),
        ("I hear Russian.", ["Language", "Gender"], None),
        ("A woman.", ["Emotion"], None),
        ("", ["Gender"], None),
    ],
)
def test_a_response_counts_for_the_attribute_that_it_names_first(
    response: str, attributes: list[str], cell: Cell | None
) -> None:
    assert named_first(DESCRIBED, response, attributes) == cell


def test_a_response_about_several_clips_counts_for_none() -> None:
    both = f"{DESCRIBED}\n{DESCRIBED}"
    assert named_first(both, "A woman speaks French.", ["Language", "Gender"]) is None
