"""The generated pages of the site name every command, option and key of a recipe."""

import dataclasses

import typer

from desta.cli import app
from desta.construction.config import ConstructConfig
from desta.sources.custom import CustomRecipe
from desta.training.config import TrainConfig
from site_pages import cli_page, recipes_page


def test_every_command_and_its_options_are_on_the_page() -> None:
    page = cli_page()
    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        assert f"\n## desta {name}" in page
        for parameter in command.params:
            if parameter.param_type_name == "option" and not parameter.hidden:
                assert parameter.opts[0] in page


def test_every_key_of_a_recipe_is_on_the_page_also_an_inherited_one() -> None:
    rows = [line.split("`")[1] for line in recipes_page().splitlines() if line.startswith("| `")]
    for kind in (ConstructConfig, CustomRecipe, TrainConfig):
        assert {field.name for field in dataclasses.fields(kind)} <= set(rows)
