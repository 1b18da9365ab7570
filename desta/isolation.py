"""Isolation of faulty items: a batch that fails is tried again in halves.

Errors of the machine, of a model or of a recipe concern all items; callers name these, and they
end the work.
"""

import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

from desta.errors import DataError, DestaError, NoNumberError

log = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")

NO_NUMBER = "makes the model compute NaN"
"""Reason for an item without an answer although the model is intact."""
HALF = "holds half a character"
"""Reason for refusing a text with a lone surrogate, which JSON can express."""


def in_halves(
    work: Callable[[Sequence[T]], Sequence[R]],
    items: Sequence[T],
    *,
    alone: Callable[[T, Exception], R],
    fatal: tuple[type[Exception], ...] = (),
) -> list[R]:
    """Process items as one batch; if that fails, in halves, until only faulty items fail.

    Args:
        work: returns a result for each item.
        items: one or more.
        alone: returns the result of an item that failed alone, or raises an error that is not the
            item's fault.
        fatal: errors that end the work.
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
    """Convert any exception about an item to a readable error with a countable reason.

    Args:
        error: raised for the item; a `NoNumberError` becomes an error of the item, any other
            `DestaError` is returned unchanged.
        what: name of the item, which opens the message: `clip.wav`.
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
    """Return the error of an item for which an intact model computes NaN."""
    return DataError(
        f"{what} {NO_NUMBER}{detail}",
        fix="leave it out, or export its sound again as 16-bit PCM",
        reason=NO_NUMBER,
    )


def holds_half(text: str) -> bool:
    r"""Return whether a text has a lone surrogate, which no file and no tokenizer accepts.

    >>> holds_half("a\ud800b"), holds_half("a😀b")
    (True, False)
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def half_of(what: str) -> DataError:
    """Return the error of a text with a lone surrogate."""
    return DataError(
        f"{what} {HALF}: a surrogate that stands alone",
        fix="write the whole character, or take it out",
        reason=f"{what} {HALF}",
    )


def printable(text: str) -> str:
    """Return a text with lone surrogates escaped."""
    return text.encode(errors="backslashreplace").decode()
