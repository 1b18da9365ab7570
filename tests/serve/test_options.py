"""Limits are options, with the defaults that the guide states."""

import re
from dataclasses import fields
from pathlib import Path

import typer

from desta.cli.app import app
from desta.serving.limits import ServingLimits

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "serving.md"


def test_every_limit_is_an_option_and_a_row_of_the_guide() -> None:
    rows = dict(re.findall(r"^\| `--([a-z-]+)` \| ([\d.]+) \|", GUIDE.read_text(), re.MULTILINE))
    command = typer.main.get_command(app).commands["serve"]  # type: ignore[attr-defined]
    options = {parameter.name: parameter.default for parameter in command.params}
    limits = {field.name: getattr(ServingLimits(), field.name) for field in fields(ServingLimits)}
    assert {name: options[name] for name in limits} == limits
    assert {name.replace("-", "_"): float(value) for name, value in rows.items()} == limits
