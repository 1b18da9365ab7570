"""The code that a data set depends on: a module, what it imports, and what that imports in turn.

The modules are found, not listed: one that is moved, split or newly imported stays within.
"""

import ast
import functools
import hashlib
import importlib.resources
import json
from collections.abc import Iterator
from importlib.resources.abc import Traversable

DECIDES_NOTHING = frozenset({"desta.config", "desta.errors", "desta.progress"})
"""Modules that are imported and decide no row: they read recipes, whose values count by themselves,
word errors and draw bars. They are not followed."""


@functools.cache
def code_hash(module: str) -> str:
    """Return the SHA-256 of a module of this package and of all that decides what it does."""
    hashes = {name: hashlib.sha256(code).hexdigest() for name, code in find_code(module).items()}
    return hashlib.sha256(json.dumps(hashes, sort_keys=True).encode()).hexdigest()


def find_code(module: str) -> dict[str, bytes]:
    """Return the source of a module and of all modules of its package that it leads to.

    What other packages do is not part of it; nor is what makes a package's `__init__` run, unless
    names are taken from there.

    >>> sorted(find_code("desta.sources.stamps"))
    ['desta.sources.stamps']
    """
    found: dict[str, bytes] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        file = _file(name)
        if name in found or name in DECIDES_NOTHING or file is None:
            continue
        found[name] = file.read_bytes()
        waiting += _imports(found[name], name.partition(".")[0])
    return found


def _imports(code: bytes, package: str) -> Iterator[str]:
    """Yield all that may be a module of the package among what is imported."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):  # of a package: a name in it, or a module
            names = [f"{node.module}", *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        yield from (name for name in names if name.partition(".")[0] == package)


def _file(module: str) -> Traversable | None:
    """Return where the source of a module is; None where it is a name in a module, or none."""
    package, *rest = module.split(".")
    place = importlib.resources.files(package)
    for part in rest[:-1]:
        place = place / part
    last = rest[-1] if rest else ""
    for file in (place / f"{last}.py", place / last / "__init__.py"):
        if file.is_file():
            return file
    return None
