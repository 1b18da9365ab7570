"""Balanced epochs: attributes come as often as they weigh, and values of each equally often.

A pair keeps nothing of the prompt's kind or of the attribute that it asks for. What its response is
about is read off the response: the attribute whose stated value it names first.
"""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

from desta.construction.attribute_values import Vocabulary, single_values, split_words
from desta.data.dataset import PairDataset
from desta.data.described import stated_value
from desta.errors import ConfigError

log = logging.getLogger(__name__)

Cell = tuple[str, str]
"""An attribute and a value of it, case folded."""


class Balance:
    """Draw of the rows of an epoch.

    An epoch has as many rows as the data set. Rows without a cell are in it once. The others are
    drawn so that every attribute gets the same number of rows, or in proportion to its weight, and
    every value of an attribute:
    rows of rare values are repeated, all equally often but for one, of frequent values some are
    left out, others in every epoch.
    """

    def __init__(
        self, cells: Sequence[Cell | None], weights: Mapping[str, float] | None = None
    ) -> None:
        """Create a draw.

        Args:
            cells: attribute and value that each row counts for; None for a row of its own share.
            weights: attribute -> how often it is drawn; 1 where it is not listed.
        """
        numbers = {cell: n for n, cell in enumerate(dict.fromkeys(filter(None, cells)))}
        of_row = np.array([-1 if cell is None else numbers[cell] for cell in cells], np.int32)
        self.cells = tuple(numbers)
        """Every attribute with every value."""
        self._others = np.flatnonzero(of_row < 0)
        order = np.argsort(of_row, kind="stable")[len(self._others) :]
        borders = np.cumsum(np.bincount(of_row[order], minlength=len(numbers)))[:-1]
        self._members = np.split(order, borders) if numbers else []
        per_attribute = Counter(attribute for attribute, _ in self.cells)
        weight = {attribute: (weights or {}).get(attribute, 1.0) for attribute in per_attribute}
        shares = [weight[attribute] / per_attribute[attribute] for attribute, _ in self.cells]
        self._shares = np.array(shares) / sum(weight.values() or [1.0])

    @classmethod
    def of(
        cls,
        rows: PairDataset,
        attributes: Sequence[str],
        weights: Mapping[str, float] | None = None,
    ) -> Self:
        """Read the cell of every row off its texts.

        Raises:
            ConfigError: no response names a value of one of the attributes first.
        """
        balance = cls([named_first(*texts, attributes) for texts in rows.texts()], weights)
        for attribute in attributes:
            values = {
                value: len(members)
                for (name, value), members in zip(balance.cells, balance._members, strict=True)
                if name == attribute
            }
            if not values:
                raise ConfigError(
                    f'no response of the training data begins with its clip\'s "{attribute}"',
                    fix="take it out of data.balance, or correct its name",
                )
            rarest = min(values, key=values.__getitem__)
            log.info(
                "balance: %s has %d values; the rarest, %s, has %d pairs",
                *(attribute, len(values), rarest, values[rarest]),
            )
        return balance

    def __call__(self, generator: np.random.Generator) -> NDArray[np.int64]:
        """Draw the rows of an epoch."""
        parts = [self._others]
        for members, count in zip(self._members, self._counts(generator), strict=True):
            times, rest = divmod(int(count), len(members))
            parts += [members] * times + [generator.choice(members, rest, replace=False)]
        return generator.permutation(np.concatenate(parts))

    def _counts(self, generator: np.random.Generator) -> NDArray[np.int64]:
        """Return the rows that each cell gets; a remainder is spread at random."""
        total = sum(map(len, self._members))
        counts = np.floor(self._shares * total + 1e-9).astype(np.int64)
        extra = generator.permutation(len(counts))[: total - int(counts.sum())]
        counts[extra] += 1
        return counts


def named_first(description: str, response: str, attributes: Sequence[str]) -> Cell | None:
    """Return the attribute whose stated value a response names first, and that value.

    >>> described = "[00:00-00:02] (Language: French, Gender: Female, Duration: 2s)"
    >>> named_first(described, "A woman speaks French.", ["Language", "Gender"])
    ('Gender', 'female')
    """
    owners: dict[str, str] = {}
    for attribute in attributes:
        for value in single_values(attribute, stated_value(description, attribute) or ""):
            owners.setdefault(value, attribute)
    found = Vocabulary.of(frozenset(owners)).find(split_words(response))
    return (owners[found[0][2]], found[0][2]) if found else None
