"""An answer as a results file holds it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from desta.evaluation.items import Item, Score


@dataclass(frozen=True, kw_only=True)
class Answered:
    """A question, what somebody's model answered, and its score by our rules."""

    item: Item
    output: str | None
    """What the model wrote; None where the file does not have it."""
    replies: tuple[str, ...] = ()
    """What a judge said of it, as far as the file tells."""
    score: Score
    told: Mapping[str, bool] = field(default_factory=dict)
    """Reading -> whether the file itself says that the answer is right."""
