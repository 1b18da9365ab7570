"""Recipes and commands of the project's pages are valid, and use no name that has been replaced."""

import itertools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from desta.cli import app
from desta.config import build_config, read_tree
from desta.construction.config import ConstructConfig
from desta.demo import STEPS
from desta.errors import ConfigError
from desta.evaluation.benchmarks.attributes.questions import AttributesData
from desta.evaluation.benchmarks.text import TextData
from desta.evaluation.judge.ask import JudgeRecipe
from desta.evaluation.recipe import BenchmarkFiles, build_eval_recipe
from desta.renamed import EVALUATION_DATA, OLD_KEYS, OLD_SYSTEMS, with_data_section
from desta.sources.custom import CustomRecipe
from desta.sources.lhotse import LhotseRecipe
from desta.studies.recipe import StudyRecipe
from desta.training.config import TrainConfig

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *(path for path in sorted((ROOT / "docs").rglob("*.md")) if path.parent.name != "lab"),
]
"""Lab notes keep the commands that were given, by the names of their day."""
NEEDED: dict[type, dict[str, Any]] = {
    ConstructConfig: {
        "backbone": "b",
        "clips": [{"path": "c", "root": "r"}],
        "sampling": {"max_new_tokens": 1},
    },
    TrainConfig: {"model": {"backbone": "b", "encoder": "e"}, "data": {"train": ["d"]}, "steps": 1},
}
"""Keys that a page may leave out that shows a part of a recipe."""


KINDS = (CustomRecipe, LhotseRecipe, TrainConfig, JudgeRecipe, ConstructConfig, StudyRecipe)


def recipes() -> Iterator[tuple[str, dict[str, Any]]]:
    for path in sorted((ROOT / "recipes").rglob("*.yaml")):
        yield str(path.relative_to(ROOT)), read_tree(path)
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for block in re.finditer(r"^```yaml\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
            line = text.count("\n", 0, block.start()) + 2
            yield f"{page.relative_to(ROOT)}:{line}", yaml.safe_load(block[1])


def read_as_recipe(tree: dict[str, Any]) -> str | None:
    """Return what a tree is a recipe of; None if it is none."""
    for kind in KINDS:
        needed = NEEDED.get(kind, {})
        parts = {
            key: {**needed[key], **value}
            for key, value in tree.items()
            if isinstance(value, dict) and isinstance(needed.get(key), dict)
        }
        try:
            build_config(kind, {**needed, **tree, **parts}, where="")
        except ConfigError:
            continue
        return kind.__name__
    for data in (AttributesData, TextData, BenchmarkFiles):
        try:
            build_eval_recipe(with_data_section(tree, where=""), data, where="")
        except ConfigError:
            continue
        return data.__name__
    return None


RECIPES = dict(recipes())


@pytest.mark.parametrize("place", RECIPES)
def test_a_recipe_is_valid_and_has_the_names_of_now(
    place: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert read_as_recipe(RECIPES[place])
    assert "is now called" not in caplog.text


@pytest.mark.parametrize(
    "old", [{"filters": ["cut off"]}, {"data": "D", "model": "m", "systems": ["no audio"]}]
)
def test_a_recipe_with_a_name_of_before_would_be_found(
    old: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    assert read_as_recipe(old)
    assert "is now called" in caplog.text


def given_commands() -> Iterator[tuple[str, list[str]]]:
    """Yield the commands of the pages, in blocks and in lines, each as its words."""
    texts = {str(page.relative_to(ROOT)): page.read_text(encoding="utf-8") for page in PAGES}
    texts |= {
        str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
        for path in (ROOT / "Makefile", *sorted((ROOT / "recipes").rglob("*.yaml")))
    }
    texts["desta/demo.py"] = "\n".join(STEPS)
    for place, text in texts.items():
        inline = re.findall(r"`(?:[\w./$()-]+/)?desta ([a-z][^`]*)`", text)
        blocks = re.findall(r"^(?:    )?(?:\$ )?\t?(?:\S+/)?desta ([a-z].*)$", text, re.MULTILINE)
        for command in (*inline, *blocks):
            try:
                words = shlex.split(re.sub(r"\$\(.*\)", "", command), comments=True)
            except ValueError:  # a sentence, with an apostrophe
                continue
            yield place, words


def fault_of(words: list[str]) -> str | None:
    """Return what a command has that there is not, or is called otherwise now."""
    command: Any = typer.main.get_command(app)
    verbs = getattr(command, "commands", {})
    while words and words[0] in verbs:
        command, words = verbs[words[0]], words[1:]
        verbs = getattr(command, "commands", {})
    if verbs and words and not words[0].startswith("-"):
        return f"there is no verb {words[0]}"
    shown = {
        option
        for parameter in command.params
        if parameter.param_type_name == "option" and not parameter.hidden
        for option in (*parameter.opts, *parameter.secondary_opts)
    }
    for word, value in itertools.pairwise([*words, ""]):
        if word.startswith("--") and word != "--help" and word.partition("=")[0] not in shown:
            return f"there is no option {word}"
        if word == "--system" and value in OLD_SYSTEMS:
            return f"{value} is now {OLD_SYSTEMS[value]}"
        key = value.partition("=")[0].split(".")
        if word == "--set" and (set(key) & {*OLD_KEYS} - {"backbone_quantization"}):
            return f"a key of {value} has another name"
        if word == "--set" and command.name == "eval" and key[0] in EVALUATION_DATA:
            return f"{key[0]} is now data.{key[0]}"
    return None


def test_every_command_of_the_pages_has_verbs_and_options_of_now() -> None:
    commands = list(given_commands())
    assert len(commands) > 100
    faults = [
        f"{place}: desta {shlex.join(words)}: {f}"
        for place, words in commands
        if (f := fault_of(words))
    ]
    assert not faults


@pytest.mark.parametrize(
    "line", ["chat A.wav --quantise int8", "eval mmau --set audio=x", "evals mmau", "ask --jsonl a"]
)
def test_a_command_with_a_name_of_before_would_be_found(line: str) -> None:
    assert fault_of(line.split())


def test_the_demo_asks_the_model_that_it_has_trained() -> None:
    [asked] = [step for step in STEPS if step.startswith("desta ask")]

    assert asked.endswith("--model demo/run")
