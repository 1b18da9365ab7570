"""Pages of the site that are read out of the code when it is built (a hook of mkdocs).

`reference/cli.md` comes from the commands, `reference/recipes.md` from the dataclasses that recipes
become; neither is kept in the repository, so neither can be out of date.
"""

import ast
import dataclasses
import inspect
import textwrap
import typing
from collections.abc import Iterator
from typing import Any

import click
import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages to those of `docs/`."""
    for path, text in (("cli.md", cli_page()), ("recipes.md", recipes_page())):
        files.append(File.generated(config, f"reference/{path}", content=text))
    return files


def cli_page() -> str:
    """Return every command with its arguments and options, as `--help` shows them."""
    from desta.cli import app

    lines = ["# Commands", "", "What `desta COMMAND --help` says."]
    for name, command in _commands(typer.main.get_command(app), "desta"):
        usage = " ".join([name, *command.collect_usage_pieces(click.Context(command))])
        lines += ["", f"## {name}", "", f"    {usage}", "", inspect.cleandoc(command.help or "")]
        rows = [row for parameter in command.params if (row := _parameter(parameter))]
        if rows:
            lines += ["", *_table(("", "", "default"), rows)]
    return "\n".join(lines) + "\n"


def _commands(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    below = getattr(command, "commands", {})
    if command.params or not below:
        yield name, command
    for verb in below:
        yield from _commands(below[verb], f"{name} {verb}")


def _parameter(parameter: Any) -> tuple[str, str, str] | None:
    if getattr(parameter, "hidden", False):
        return None
    names = [*parameter.opts, *parameter.secondary_opts]
    if parameter.param_type_name == "argument":
        names = [parameter.metavar or parameter.name.upper()]
    default = parameter.default
    shown = "" if default in (None, False, ()) or callable(default) else f"`{default}`"
    return ", ".join(f"`{name}`" for name in names), parameter.help or "", shown


def recipes_page() -> str:
    """Return every key of every recipe with its type, its default and what it is."""
    from desta.construction.config import ConstructConfig
    from desta.evaluation.benchmarks.table import BENCHMARKS
    from desta.evaluation.judge.ask import JudgeRecipe
    from desta.sources.custom import CustomRecipe
    from desta.sources.lhotse import LhotseRecipe
    from desta.training.config import TrainConfig

    by_recipe: dict[type[Any], list[str]] = {}
    for name, benchmark in BENCHMARKS.items():
        by_recipe.setdefault(benchmark.recipe, []).append(name)
    recipes = {
        "desta describe custom": CustomRecipe,
        "desta describe lhotse": LhotseRecipe,
        "desta construct": ConstructConfig,
        "desta train": TrainConfig,
        **{f"desta eval {', '.join(names)}": kind for kind, names in by_recipe.items()},
        "desta score --judge": JudgeRecipe,
    }
    lines = [
        "# Recipe keys",
        "",
        "A recipe is one strict YAML file: a key that is unknown, missing or of another type is an "
        "error that names the right one. `--set key.path=value` changes one value, `--dry-run` "
        "prints the recipe with every default.",
    ]
    shown: set[type[Any]] = set()
    for command, kind in recipes.items():
        lines += ["", f"## {command}"]
        for part in _parts(kind):
            if part is not kind:
                if part in shown:
                    continue
                lines += ["", f"### {part.__name__}"]
            shown.add(part)
            lines += ["", inspect.cleandoc(part.__doc__ or ""), ""]
            lines += _table(("key", "type", "default", ""), _keys(part))
    return "\n".join(lines) + "\n"


def _parts(kind: type[Any]) -> list[type[Any]]:
    """Return a dataclass and those of its fields, each once, in order."""
    parts = [kind]
    for hint in typing.get_type_hints(kind).values():
        parts += [p for inner in _dataclasses(hint) for p in _parts(inner) if p not in parts]
    return parts


def _dataclasses(hint: Any) -> Iterator[type[Any]]:
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        yield hint
    for argument in typing.get_args(hint):
        yield from _dataclasses(argument)


def _keys(kind: type[Any]) -> list[tuple[str, str, str, str]]:
    """Return name, type, default and text of the fields; the text stands below each as a string."""
    body = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
    assert isinstance(body, ast.ClassDef)
    rows: list[tuple[str, str, str, str]] = []
    for node in body.body:
        if isinstance(node, ast.AnnAssign):
            default = "" if node.value is None else _default(node.value)
            rows.append((f"`{ast.unparse(node.target)}`", _code(node.annotation), default, ""))
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and rows:
            rows[-1] = (*rows[-1][:3], inspect.cleandoc(str(node.value.value)))
    return rows


def _default(value: ast.expr) -> str:
    if isinstance(value, ast.Call):  # field(default_factory=...)
        return next((_code(k.value) for k in value.keywords if k.arg == "default_factory"), "")
    return _code(value)


def _code(node: ast.expr) -> str:
    return f"`{ast.unparse(node)}`"


def _table(heads: tuple[str, ...], rows: Any) -> list[str]:
    cells = [[" ".join(c.split()).replace("|", "\\|") for c in row] for row in rows]
    lines = [list(heads), ["---"] * len(heads), *cells]
    return [f"| {' | '.join(line)} |" for line in lines]
