"""Reasons for which things were left out, or are odd: each with a count and its first example."""

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self, TypeVar

R = TypeVar("R", bound=Hashable)


@dataclass(frozen=True, kw_only=True)
class Count:
    """Number of things with one reason, and the first of them."""

    count: int
    example: str
    """Id of the first of them."""


class Reasons(dict[R, Count]):
    """Reason -> how many things have it, in the order in which reasons came up.

    A reason is a text, or a tuple of a text and what else tells it from others.

    >>> reasons = Reasons.of([("empty", "a"), ("too long", "b"), ("too long", "c")])
    >>> str(reasons)
    'empty: 1 (first: a), too long: 2 (first: b)'
    >>> reasons.table()[0]
    {'reason': 'too long', 'count': 2, 'example': 'b'}
    """

    @classmethod
    def of(cls, found: Iterable[tuple[R, str]]) -> Self:
        """Count pairs of a reason and an example."""
        reasons: Self = cls()
        for reason, example in found:
            reasons.add(reason, example)
        return reasons

    def add(self, reason: R, example: str, count: int = 1) -> None:
        """Count something; the first example of a reason stays."""
        before = self.get(reason, Count(count=0, example=example))
        self[reason] = Count(count=before.count + count, example=before.example)

    def merge(self, others: Mapping[R, Count]) -> None:
        """Add what was counted elsewhere, later."""
        for reason, found in others.items():
            self.add(reason, found.example, found.count)

    @property
    def total(self) -> int:
        """Number of things that were counted."""
        return sum(found.count for found in self.values())

    def most_common(self) -> list[tuple[R, Count]]:
        """Return reasons and their counts, the highest first; of equal ones the earlier."""
        return sorted(self.items(), key=lambda item: -item[1].count)

    def rows(self, *names: str) -> list[dict[str, Any]]:
        """Return `{reason, count, example}` of each; `names` are those of the parts of tuples."""
        return [_row(reason, names, found) for reason, found in self.items()]

    def table(self, *names: str) -> list[dict[str, Any]]:
        """Return the same rows, the highest count first."""
        return [_row(reason, names, found) for reason, found in self.most_common()]

    def to_json(self) -> dict[R, dict[str, Any]]:
        """Return reason -> `{count, example}`."""
        return {reason: asdict(found) for reason, found in self.items()}

    @classmethod
    def from_json(cls, values: Mapping[R, Mapping[str, Any]]) -> Self:
        """Read what `to_json` returned.

        Raises:
            TypeError: a key is missing or unknown.
        """
        return cls((reason, Count(**found)) for reason, found in values.items())

    def __str__(self) -> str:
        return ", ".join(f"{r}: {n.count} (first: {n.example})" for r, n in self.items())


def _row(reason: Hashable, names: tuple[str, ...], found: Count) -> dict[str, Any]:
    parts = zip(names, reason, strict=True) if isinstance(reason, tuple) else [("reason", reason)]
    return {**dict(parts), **asdict(found)}
