"""What one item of many does is its own affair: a batch that fails is tried again in halves.

Errors of the machine, of a model or of a recipe are no item's own; who works on items knows which
those are, and lets them end the work.
"""

import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

from desta.errors import DataError, DestaError, NoNumberError

log = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")

NO_NUMBER = "makes the model compute NaN"
"""Why an item has no answer although the model is whole."""
HALF = "holds half a character"
"""Why a text is of no use in which a surrogate stands alone, as JSON can write it."""


def in_halves(
    work: Callable[[Sequence[T]], Sequence[R]],
    items: Sequence[T],
    *,
    alone: Callable[[T, Exception], R],
    fatal: tuple[type[Exception], ...] = (),
) -> list[R]:
    """Work on items together; where that fails, on halves of them, so that one alone is lost.

    Args:
        work: gives a result for each item.
        items: one or more.
        alone: gives the result of an item whose work failed alone, or raises what is not its fault.
        fatal: errors that are never of one item.
    """
    try:
        return list(work(items))
    except fatal:
        raise
    except Exception as error:
        if len(items) == 1:
            return [alone(items[0], error)]
    middle = len(items) // 2
    return [
        result
        for half in (items[:middle], items[middle:])
        for result in in_halves(work, half, alone=alone, fatal=fatal)
    ]


def error_of(error: Exception, what: str) -> DestaError:
    """Return an error that a user can read and that can be counted, whatever befell an item.

    Args:
        error: what was raised for it; a `NoNumberError` of a model that is whole is the item's,
            any other `DestaError` is returned as it is.
        what: the item, as a message begins: `clip.wav`.
    """
    if isinstance(error, NoNumberError):
        return no_number(what)
    if isinstance(error, DestaError):
        return error
    log.debug("%s", what, exc_info=error)
    name = type(error).__name__
    if isinstance(error, MemoryError):
        reason, fix = "needs more memory than there is", "cut it into parts, or leave it out"
    else:
        reason, fix = f"fails with {name}", "leave it out; `desta -v` tells where it fails"
    detail = " ".join(str(error).split())[:200]
    return DataError(
        printable(f"{what} {reason}{f': {detail}' if detail else ''}"), fix=fix, reason=reason
    )


def no_number(what: str, detail: str = "") -> DataError:
    """Return the error of an item that makes a model that is whole compute what is no number."""
    return DataError(
        f"{what} {NO_NUMBER}{detail}",
        fix="leave it out, or export its sound again as 16-bit PCM",
        reason=NO_NUMBER,
    )


def holds_half(text: str) -> bool:
    r"""Say whether half a character stands alone in a text: no file and no tokenizer takes it.

    >>> holds_half("a\ud800b"), holds_half("a😀b")
    (True, False)
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def half_of(what: str) -> DataError:
    """Return the error of a text that holds half a character."""
    return DataError(
        f"{what} {HALF}: a surrogate that stands alone",
        fix="write the whole character, or take it out",
        reason=f"{what} {HALF}",
    )


def printable(text: str) -> str:
    """Return a text with escapes in place of halves of characters."""
    return text.encode(errors="backslashreplace").decode()
