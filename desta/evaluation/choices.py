"""Which of a closed set of choices an answer names, told by its words."""

import unicodedata
from collections.abc import Mapping, Sequence

NOT_OFFERED = "the right answer is not among the choices"


def named_choices(
    answer: str, choices: Sequence[str], synonyms: Mapping[str, Sequence[str]] | None = None
) -> set[str]:
    """Return the choices whose words the answer holds one after another.

    Case and punctuation do not count. A longer choice hides the shorter ones inside it.

    Args:
        answer: what was said.
        choices: the closed set.
        synonyms: words that count as naming a choice, beside the choice itself.

    >>> named_choices("It is a bass drum.", ["Drum", "Bass drum"])
    {'Bass drum'}
    """
    words = _words(answer)
    spellings = sorted(
        (
            (_words(text), choice)
            for choice in choices
            for text in (choice, *(synonyms or {}).get(choice, ()))
        ),
        key=lambda spelling: -len(spelling[0]),
    )
    named = set()
    for spelling, choice in spellings:
        for start in range(len(words) if spelling else 0):
            if words[start : start + len(spelling)] == spelling:
                named.add(choice)
                words[start : start + len(spelling)] = [""] * len(spelling)  # not to be read again
    return named


def check_offered(target: str, choices: Sequence[str]) -> str | None:
    """Return `NOT_OFFERED` where a right answer is known and is none of the choices.

    Case, punctuation and the order of words do not count.

    >>> check_offered("a dog", ["cat", "cow"])
    'the right answer is not among the choices'
    """
    if not target or not choices:
        return None
    right = set(_words(target)) or target.strip()
    return None if any(right == (set(_words(c)) or c.strip()) for c in choices) else NOT_OFFERED


def _words(text: str) -> list[str]:
    kept = (c if c.isalnum() or unicodedata.category(c)[0] == "M" else " " for c in text.casefold())
    return "".join(kept).split()  # marks are vowels in many scripts
