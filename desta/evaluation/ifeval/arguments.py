"""Arguments of an instruction: `{"num_bullets": 3}`.

Where an argument is left out or makes no sense, the official scorers draw one at random, anew in
each run. So that a score can be had twice, the draw is seeded here, and it is counted.
"""

import math
import operator
import random
import re
import string
from collections.abc import Callable, Mapping
from typing import Any

from desta.errors import DataError

Relation = Callable[[float, float], bool]

_RELATIONS: dict[str, Relation] = {"less than": operator.lt, "at least": operator.ge}
_FIX = "take the question file of the benchmark as it was published"


class Arguments:
    """The arguments of one instruction, by name.

    Every method reads one of them. Null counts as left out.

    Raises:
        DataError: an argument is of the wrong type, or is needed and missing.
    """

    def __init__(self, instruction: str, values: Mapping[str, Any], *, seed: str) -> None:
        self._instruction = instruction
        self._values = {name: value for name, value in values.items() if value is not None}
        self._random = random.Random(f"{seed}/{instruction}")  # noqa: S311  no secret
        self._read: set[str] = set()
        self.drawn: list[str] = []
        """Names of the arguments that were drawn."""

    def number(
        self, name: str, low: int, high: int, *, least: float = 0, most: float = math.inf
    ) -> float:
        """Return a number from `least` to `most`, else drawn from `low` to `high`, inclusive."""
        value = self._get(name)
        if isinstance(value, bool) or not isinstance(value, int | float | None):
            raise self._wrong(name, value, "a number")
        if value is None or not least <= value <= most:
            self.drawn.append(name)
            return self._random.randint(low, high)
        return value

    def relation(self, name: str) -> Relation:
        """Return the comparison of a count with its limit: `less than` or `at least`."""
        value = self.text(name, *_RELATIONS)
        if value not in _RELATIONS:
            raise self._wrong(name, value, " or ".join(_RELATIONS))
        return _RELATIONS[value]

    def text(self, name: str, *choices: str) -> str:
        """Return a text; one of `choices` where it has to be drawn.

        Without choices the text is needed: the official scorers draw from a list of 1,500 words.
        """
        value = self._get(name)
        if value is None and choices:
            self.drawn.append(name)
            return self._random.choice(choices)
        if not isinstance(value, str) or not (value or choices):
            raise self._wrong(name, value, "a text")
        return value

    def texts(self, name: str) -> list[str]:
        """Return a list of texts, of which there has to be one."""
        value = self._get(name)
        if not isinstance(value, list) or not value or not all(isinstance(v, str) for v in value):
            raise self._wrong(name, value, "a list of texts")
        return value

    def pattern(self, pattern: str, flags: re.RegexFlag = re.NOFLAG) -> re.Pattern[str]:
        """Compile a pattern that an argument is part of, unescaped as the official scorers do."""
        try:
            return re.compile(pattern, flags)
        except re.error as error:
            raise DataError(
                f"{self._instruction}: {pattern!r} is no regular expression: {error}", fix=_FIX
            ) from error

    def letter(self, name: str) -> str:
        """Return a lower-case letter from a to z, drawn where the argument is none."""
        value = self._get(name)
        if not isinstance(value, str | None):
            raise self._wrong(name, value, "a letter")
        if value and len(value) == 1 and value.lower() in string.ascii_lowercase:
            return value.lower()
        self.drawn.append(name)
        return self._random.choice(string.ascii_lowercase)

    def check_all_read(self) -> None:
        """Refuse arguments that the instruction does not know."""
        if unknown := sorted(self._values.keys() - self._read):
            raise DataError(
                f"{self._instruction} has no argument {', '.join(map(repr, unknown))}", fix=_FIX
            )

    def _get(self, name: str) -> Any:
        self._read.add(name)
        return self._values.get(name)

    def _wrong(self, name: str, value: Any, wanted: str) -> DataError:
        found = "missing" if value is None else repr(value)
        return DataError(
            f"{self._instruction}: argument {name!r} is {found}, not {wanted}", fix=_FIX
        )
