"""Recipes of evaluations that are made in Python."""

import re
from pathlib import Path
from typing import Any, cast

import pytest

from desta import evaluate
from desta.errors import ConfigError
from desta.evaluation.benchmarks.text import TextData
from desta.evaluation.recipe import BenchmarkFiles, EvalRecipe

FILES = BenchmarkFiles(path="x")


@pytest.mark.parametrize(
    ("benchmark", "recipe", "said", "fix"),
    [
        ("mmau", 3, "the recipe is a int", "EvalRecipe"),
        ("mmau", EvalRecipe(data=TextData()), "data is a TextData", "BenchmarkFiles"),
        ("mmau", EvalRecipe(data="/path"), "data is a str", "BenchmarkFiles"),
        ("attributes", EvalRecipe(data=FILES), "data is a BenchmarkFiles", "AttributesData"),
        ("text", EvalRecipe(data=FILES), "data is a BenchmarkFiles", "TextData"),
    ],
)
def test_another_recipe_or_section_is_refused(
    tmp_path: Path, benchmark: str, recipe: object, said: str, fix: str
) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        evaluate(benchmark, cast(Any, recipe), tmp_path / "out")
    assert re.search(rf"give an? {fix}\b", caught.value.fix)


def test_systems_of_before_have_the_ids_of_now(caplog: pytest.LogCaptureFixture) -> None:
    recipe = EvalRecipe(data=FILES, systems=("always first", "oracle"))
    assert recipe.systems == ("always_first", "oracle")
    assert 'the system "always first" is now called "always_first"' in caplog.text
