"""`desta models plan`: recipes of known backbones are planned without their weights."""

from pathlib import Path

import pytest
import yaml

from desta.config import load_recipe
from desta.model.plan import plan
from desta.training.config import TrainConfig

FOLDER = Path(__file__).parents[3] / "recipes" / "backbones"
PARAMETERS = {
    "llama32_1b": 1_235_814_400,
    "llama32_3b": 3_212_749_824,
    "qwen25_05b": 494_032_768,
    "qwen25_15b": 1_543_714_304,
    "qwen25_3b": 3_085_938_688,
    "qwen25_7b": 7_615_616_512,
}
"""As their model cards and weight files say."""


@pytest.mark.parametrize("name", PARAMETERS)
def test_recipes_of_backbones_have_the_size_of_the_published_model(name: str) -> None:
    found = plan(load_recipe(FOLDER / f"{name}.yaml", TrainConfig).model)

    assert found.frozen_parameters["backbone"] == PARAMETERS[name]
    assert found.tokens_per_clip == 64


def test_recipes_of_backbones_differ_in_two_lines() -> None:
    recipes = {path.stem: yaml.safe_load(path.read_text()) for path in FOLDER.glob("*.yaml")}
    assert recipes.keys() == PARAMETERS.keys()

    for recipe in recipes.values():
        assert recipe["model"].pop("backbone")
        assert recipe["model"].pop("encoder")

    assert all(recipe == recipes["qwen25_05b"] for recipe in recipes.values())
