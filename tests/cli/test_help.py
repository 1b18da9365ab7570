"""What help and errors point to is there for everybody who has the package."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import typer

import desta as package
from desta.cli import app
from desta.errors import ConfigError
from desta.evaluation.benchmarks.table import BENCHMARKS, find_about
from desta.evaluation.published import FORMS
from support.commands import desta

ROOT = Path(package.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
ELSEWHERE = re.compile(
    r"(?<![\w/])(docs|recipes|benchmarks|tests)/\w|\bmake [a-z-]+`|README\.md lists"
)
OURS = {"recipes/demo", "DIRECTORY/README.md"}  # brought by `desta demo`; written by `inspect`


def commands(command: click.Command, name: str = "desta") -> Iterator[tuple[str, click.Command]]:
    yield name, command
    for verb, below in getattr(command, "commands", {}).items():
        yield from commands(below, f"{name} {verb}")


COMMANDS = dict(commands(typer.main.get_command(app)))


def said(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the texts in a module that somebody may be shown: all but what stands alone."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    alone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    alone |= {  # where the layout of a corpus was looked up: files of other projects
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.keyword) and node.arg == "cited"
        for inner in ast.walk(node.value)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in alone:
            yield node.lineno, node.value


@pytest.mark.parametrize("name", COMMANDS)
def test_help_names_no_file_that_only_the_project_has(name: str) -> None:
    command = COMMANDS[name]
    texts = [command.help or "", command.short_help or "", command.epilog or ""]
    texts += [getattr(parameter, "help", None) or "" for parameter in command.params]
    assert not [text for text in texts if ELSEWHERE.search(text)]


def test_errors_name_no_file_that_only_the_project_has() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {text}"
        for path in FILES
        for line, text in said(path)
        if text not in OURS and ELSEWHERE.search(text)
    ]
    assert not found


def test_a_path_of_the_project_would_be_found() -> None:
    for text in ("see docs/guides/cluster.md", "run `make demo`", "(recipes/x.yaml)"):
        assert ELSEWHERE.search(text)
    assert not ELSEWHERE.search("https://example.org/docs/index.html")


def test_every_command_that_a_text_names_is_there() -> None:
    verbs = {name.removeprefix("desta ").split()[0] for name in COMMANDS if " " in name}
    for path in FILES:
        for line, text in said(path):
            for verb in re.findall(r"`desta ([a-z]+)", text):
                assert verb in verbs, f"{path}:{line}: {text}"


def test_every_benchmark_is_listed_with_what_it_needs() -> None:
    names = [row["name"] for row in json.loads(desta("benchmarks", "list", "--json").stdout)]
    assert names == [row["name"] for row in json.loads(desta("benchmarks", "--json").stdout)]
    assert names == sorted(BENCHMARKS)
    for name in names:
        shown = json.loads(desta("benchmarks", "show", name, "--json").stdout)
        assert all(shown.values()), shown
        assert shown["example"].startswith(f"desta eval {name} ")
        assert (shown["published"] != "-") == (name in FORMS)
        lines = desta("benchmarks", "show", name).stdout.splitlines()
        assert [line.split()[0] for line in lines] == list(shown)
    assert all(name in desta("benchmarks").stdout for name in names)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_the_example_of_a_benchmark_is_a_command(name: str) -> None:
    words = re.findall(r"'[^']*'|\S+", BENCHMARKS[name].about.example)[1:]
    run = desta(*(word.strip("'") for word in words), "--dry-run")
    assert run.exit_code == 0, run.exception


@pytest.mark.parametrize("verb", [["eval", "texts"], ["benchmarks", "show", "texts"]])
def test_an_unknown_benchmark_is_answered_with_the_nearest_and_all(verb: list[str]) -> None:
    error = desta(*verb).exception
    assert isinstance(error, ConfigError)
    assert error.fix.startswith('did you mean "text"?')
    for name in BENCHMARKS:
        assert name in error.fix
    with pytest.raises(ConfigError) as caught:
        find_about("q")
    assert caught.value.fix.startswith("choose from attributes, ")


def test_missing_data_point_to_what_tells_of_them() -> None:
    error = desta("eval", "mmau").exception
    assert isinstance(error, ConfigError)
    assert "`desta benchmarks show mmau`" in error.fix
