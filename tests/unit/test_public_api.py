"""`desta.__all__` is the promise: these names, typed, and nothing heavy until they are used."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import desta

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
    tree = ast.parse(Path(desta.__file__).with_name("api.py").read_text(encoding="utf-8"))
    for function in tree.body:
        if isinstance(function, ast.FunctionDef) and function.name in PROMISED:
            arguments = (*function.args.args, *function.args.kwonlyargs)
            for annotation in (*(a.annotation for a in arguments), function.returns):
                assert annotation is not None
                assert "Any" not in ast.unparse(annotation)
