"""An answer as a results file holds it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from desta.evaluation.items import Item, Score


@dataclass(frozen=True, kw_only=True)
class Answered:
    """A question, what somebody's model answered, and its score by our rules."""

    item: Item
    output: str | None
    """What the model wrote; None where the file does not have it."""
    skipped: str | None = None
    """Why there is no output, where the file has something else in its place."""
    replies: tuple[str, ...] = ()
    """What a judge said of it, as far as the file tells."""
    score: Score
    told: Mapping[str, bool] = field(default_factory=dict)
    """Reading -> whether the file itself says that the answer is right."""


_KINDS = {
    bool: "true or false",
    int: "a number",
    float: "a number",
    list: "a list",
    dict: "an object",
}


def why_no_text(record: Mapping[str, Any], *keys: str) -> str | None:
    """Say what a published record has in place of a text under some keys; None where nothing.

    >>> why_no_text({"pred": ["dog"]}, "pred")
    'its answer, `pred`, is a list, not a text'
    """
    for key in keys:
        value = record.get(key)
        kind = _KINDS.get(type(value))
        if kind and value == value:  # NaN is what tables have where nothing is
            return f"its answer, `{key}`, is {kind}, not a text"
    return None
