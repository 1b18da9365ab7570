"""`desta.__all__` is the promise: these names, typed, and nothing heavy until they are used."""

import ast
import dataclasses
import importlib
import inspect
import re
import subprocess
import sys
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_type_hints

import pytest

import desta
from desta.evaluation.benchmarks.table import BENCHMARKS
from desta.reasons import Count, Reasons

PROMISED = {
    "Conversation",
    "DeSTA25AudioModel",
    "DestaError",
    "Engine",
    "Limits",
    "Message",
    "Request",
    "Sampling",
    "__version__",
    "construct",
    "describe",
    "evaluate",
    "load",
    "train",
    "user_message",
}


def test_the_public_names_are_those_that_were_promised() -> None:
    assert set(desta.__all__) == PROMISED
    assert desta.__all__ == sorted(desta.__all__)


@pytest.mark.parametrize("name", sorted(PROMISED))
def test_every_public_name_is_there_and_listed(name: str) -> None:
    assert getattr(desta, name).__doc__
    assert name in dir(desta)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'desta' has no attribute 'Motor'"):
        _ = desta.Motor  # type: ignore[attr-defined]


def test_importing_the_package_imports_neither_torch_nor_what_reads_recordings() -> None:
    heavy = ("torch", "transformers", "numpy", "av", "rich", "typer")
    code = f"import sys, desta; desta.DestaError; print([m for m in {heavy} if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"


def test_the_steps_are_there_without_torch() -> None:
    """A recipe is checked, and an endpoint writes responses, where there is none."""
    steps = "desta.describe, desta.construct, desta.train, desta.evaluate"
    code = f"import sys, desta; {steps}; print([m for m in sys.modules if m == 'torch'])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"


def functions_of(value: Any) -> Iterator[Any]:
    """Yield a function, or a class and its public methods and properties."""
    yield value
    for name, member in vars(value).items() if inspect.isclass(value) else ():
        if not name.startswith("_") or name == "__init__":
            if isinstance(member, property | classmethod | staticmethod):
                member = getattr(member, "fget", None) or member.__func__  # type: ignore[union-attr]
            if inspect.isfunction(member):
                yield member


@pytest.mark.parametrize("name", sorted(PROMISED - {"__version__"}))
def test_the_types_of_a_public_name_are_there_at_run_time(name: str) -> None:
    for function in functions_of(getattr(desta, name)):
        hints = get_type_hints(function)
        if inspect.isfunction(function):
            parameters = inspect.signature(inspect.unwrap(function)).parameters.keys() - {"self"}
            assert parameters - {"cls"} <= hints.keys()


def classes_in(hint: Any) -> Iterator[type]:
    """Yield the classes that a type is made of."""
    origin = typing.get_origin(hint)
    for part in typing.get_args(hint):
        yield from classes_in(part)
    if isinstance(kind := origin or hint, type):
        yield kind


def test_the_reference_says_where_the_types_of_the_steps_are_imported_from() -> None:
    page = Path(__file__).parents[2] / "docs/reference/api.md"
    listed = set(re.findall(r"^::: (\S+)$", page.read_text(encoding="utf-8"), re.MULTILINE))
    for path in listed:
        module, _, name = path.rpartition(".")
        assert hasattr(importlib.import_module(module), name), path
    taken = {
        kind
        for step in (desta.describe, desta.construct, desta.train, desta.evaluate, desta.load)
        for hint in get_type_hints(step).values()
        for kind in classes_in(hint)
        if kind.__module__.startswith("desta.")
    }
    assert any(dataclasses.is_dataclass(kind) for kind in taken)
    public = {f"desta.{name}" for name in PROMISED}
    for kind in taken:
        assert {f"{kind.__module__}.{kind.__name__}", f"desta.{kind.__name__}"} & listed
    assert public - {"desta.__version__"} <= listed
    sections = {benchmark.data for benchmark in BENCHMARKS.values()}
    assert {f"{kind.__module__}.{kind.__name__}" for kind in {*sections, Reasons, Count}} <= listed


def test_type_checkers_see_the_names_where_they_are_imported_from() -> None:
    tree = ast.parse(Path(desta.__file__).read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {
        name.name: node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for name in node.names
    }
    assert seen == desta._MODULES
    assert seen.keys() | {"__version__"} == PROMISED


def test_no_public_function_shows_any() -> None:
    for name in ("describe", "construct", "train", "evaluate", "load"):
        hints = get_type_hints(getattr(desta, name))
        assert "return" in hints
        assert not any("Any" in str(hint) for hint in hints.values())
