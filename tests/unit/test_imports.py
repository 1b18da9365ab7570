"""Any module of the package can be the first that is imported."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import desta

ROOT = Path(desta.__file__).parent
MODULES = {
    ".".join(("desta", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(
        ".__init__"
    ): path
    for path in ROOT.rglob("*.py")
}


def imported_at_once(node: ast.AST) -> Iterator[str]:
    """Yield the names that are imported when a module is; not those within its functions."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            yield from (f"{child.module}.{alias.name}" for alias in child.names)
        elif isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        elif not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from imported_at_once(child)


def modules_behind(name: str, module: str) -> Iterator[str]:
    """Yield the modules that Python imports when a module asks for a name: packages come first.

    Those around the module itself are there, half imported: only a name that is taken out of one
    must wait for it.
    """
    parts = name.split(".")
    around = [".".join(module.split(".")[:end]) for end in range(1, module.count(".") + 2)]
    there = [m for end in range(1, len(parts) + 1) if (m := ".".join(parts[:end])) in MODULES]
    yield from (m for m in there if m not in around)
    if there and there[-1] != name:
        yield there[-1]


def test_no_module_is_imported_by_what_it_imports() -> None:
    graph = {
        module: {
            needed
            for name in imported_at_once(ast.parse(path.read_bytes()))
            for needed in modules_behind(name, module)
        }
        for module, path in MODULES.items()
    }
    assert len(list(TopologicalSorter(graph).static_order())) == len(MODULES)
