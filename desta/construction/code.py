"""Hash of the code that a data set depends on: a module and its imports, transitively.

The modules are found, not listed, so that moved, split or newly imported ones are included.
"""

import ast
import functools
import hashlib
import importlib.resources
import json
from collections.abc import Iterator
from importlib.resources.abc import Traversable

DECIDES_NOTHING = frozenset({"desta.config", "desta.errors", "desta.progress"})
"""Imported modules that do not affect rows: they read recipes, whose values are hashed anyway,
word errors and draw progress bars. They are not followed."""


@functools.cache
def code_hash(module: str) -> str:
    """Return the SHA-256 of a module of this package and the modules that it depends on."""
    hashes = {name: hashlib.sha256(code).hexdigest() for name, code in find_code(module).items()}
    return hashlib.sha256(json.dumps(hashes, sort_keys=True).encode()).hexdigest()


def find_code(module: str) -> dict[str, bytes]:
    """Return module -> source of a module and its transitive imports within the package.

    Other packages are not included; nor is the `__init__` of a package, unless names are imported
    from it.

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
    """Yield the imported names that may be modules of the package."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):  # of a package: a name in it, or a module
            names = [f"{node.module}", *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        yield from (name for name in names if name.partition(".")[0] == package)


def _file(module: str) -> Traversable | None:
    """Return the source file of a module; None if the name is not a module."""
    package, *rest = module.split(".")
    place = importlib.resources.files(package)
    for part in rest[:-1]:
        place = place / part
    last = rest[-1] if rest else ""
    for file in (place / f"{last}.py", place / last / "__init__.py"):
        if file.is_file():
            return file
    return None
