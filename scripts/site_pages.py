"""Pages of the site that are read out of the code when it is built (a hook of mkdocs).

`reference/cli.md` comes from the commands, `reference/recipes.md` from the dataclasses that recipes
become; neither is kept in the repository, so neither can be out of date.
"""

import ast
import dataclasses
import inspect
import json
import textwrap
import typing
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click
import typer

from desta.config import to_plain

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files


def on_files(files: "Files", config: "MkDocsConfig") -> "Files":
    """Add the generated pages to those of `docs/`."""
    from mkdocs.structure.files import File

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
            lines += ["", *_table(("argument or option", "what it does", "default"), rows)]
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
    from desta.evaluation.probing.recipe import ProbeRecipe
    from desta.evaluation.recipe import EvalRecipe
    from desta.sources.custom import CustomRecipe
    from desta.sources.lhotse import LhotseRecipe
    from desta.studies.recipe import StudyRecipe
    from desta.training.config import TrainConfig

    by_data: dict[type[Any], list[str]] = {}
    for name, benchmark in BENCHMARKS.items():
        by_data.setdefault(benchmark.data, []).append(name)
    recipes = {
        "desta describe custom": CustomRecipe,
        "desta describe lhotse": LhotseRecipe,
        "desta construct": ConstructConfig,
        "desta probe": ProbeRecipe,
        "desta train": TrainConfig,
        "desta eval": EvalRecipe,
        **{f"data of desta eval {', '.join(names)}": data for data, names in by_data.items()},
        "desta score --judge": JudgeRecipe,
        "desta study": StudyRecipe,
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
            lines += _table(("key", "type", "default", "what it is"), _keys(part))
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


def _keys(kind: type[Any]) -> Iterator[tuple[str, str, str, str]]:
    """Yield name, type, default and text of the fields; the text stands below each as a string."""
    types: dict[str, str] = {}
    texts: dict[str, str] = {}
    for part in filter(dataclasses.is_dataclass, reversed(kind.__mro__)):
        body = ast.parse(textwrap.dedent(inspect.getsource(part))).body[0]
        assert isinstance(body, ast.ClassDef)
        for node, following in zip(body.body, [*body.body[1:], None], strict=True):
            if isinstance(node, ast.AnnAssign):
                name = ast.unparse(node.target)
                types[name], texts[name] = ast.unparse(node.annotation), ""
                if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
                    texts[name] = inspect.cleandoc(str(following.value.value))
    for field in dataclasses.fields(kind):
        yield f"`{field.name}`", f"`{types[field.name]}`", _default(field), texts[field.name]


def _default(field: dataclasses.Field[Any]) -> str:
    if field.default is not dataclasses.MISSING:
        value = field.default
    elif field.default_factory is not dataclasses.MISSING:
        value = field.default_factory()
    else:
        return "required"
    if dataclasses.is_dataclass(value):
        return f"{type(value).__name__}, as below"
    return f"`{json.dumps(to_plain(value), ensure_ascii=False)}`"


def _table(heads: tuple[str, ...], rows: Iterable[Sequence[str]]) -> list[str]:
    cells = [[_cell(cell) for cell in row] for row in rows]
    lines = [list(heads), ["---"] * len(heads), *cells]
    return [f"| {' | '.join(line)} |" for line in lines]


def _cell(text: str) -> str:
    """Return text on one line; bars are escaped where they do not stand in code."""
    parts = " ".join(text.split()).split("`")
    parts[::2] = (part.replace("|", "\\|") for part in parts[::2])
    return "`".join(parts)
