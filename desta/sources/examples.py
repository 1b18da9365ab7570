"""Example seed descriptions, one per corpus, taken from the golden files."""

import json
from functools import cache
from pathlib import Path

_EXAMPLES = Path(__file__).parents[1] / "assets" / "examples.json"


@cache
def _examples() -> dict[str, str]:
    return json.loads(_EXAMPLES.read_text(encoding="utf-8"))


def example_of(name: str) -> str | None:
    """Return the example of a corpus; None if there is none."""
    return _examples().get(name)
