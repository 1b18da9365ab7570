"""A seed description of every corpus, as its golden file holds it."""

import json
from functools import cache
from pathlib import Path

_EXAMPLES = Path(__file__).parents[1] / "assets" / "examples.json"


@cache
def _examples() -> dict[str, str]:
    return json.loads(_EXAMPLES.read_text(encoding="utf-8"))


def example_of(name: str) -> str | None:
    """Return the seed description of a clip of the corpus; None where none is kept."""
    return _examples().get(name)
