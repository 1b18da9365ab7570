"""An answer as a results file holds it."""

from dataclasses import dataclass

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
