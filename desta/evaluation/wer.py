"""Word error rate, on texts normalised as Whisper's authors do."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

from desta.errors import DataError, need

_EXTRA = "eval"


@dataclass(frozen=True, kw_only=True)
class WordErrors:
    """What has to be changed in one hypothesis to make it its reference."""

    num_errors: int
    """Substituted, deleted and inserted words."""
    num_words: int
    """Words of the reference."""


def normalize(text: str) -> str:
    """Return a text in lower case without punctuation and without what stands in brackets.

    The basic normaliser, which knows no language. Angle brackets are dropped before it, as
    Speech-IFEval does, so that what stands in them is kept.
    """
    normalized: str = _normalizer()(text.replace("<", "").replace(">", ""))
    return normalized.strip()


def count_word_errors(reference: str, hypothesis: str) -> WordErrors:
    """Compare two texts after normalisation."""
    jiwer = need("jiwer", extra=_EXTRA, to="count word errors")
    output = jiwer.process_words([normalize(reference)], [normalize(hypothesis)])
    return WordErrors(
        num_errors=output.substitutions + output.deletions + output.insertions,
        num_words=output.hits + output.substitutions + output.deletions,
    )


def word_error_rate(errors: Iterable[WordErrors]) -> float:
    """Return all errors over all reference words; above 1 where much was inserted.

    Raises:
        DataError: there is not one reference word.
    """
    all_errors = list(errors)
    num_words = sum(e.num_words for e in all_errors)
    if not num_words:
        raise DataError(
            "no reference holds a word, so there is no word error rate",
            fix="give transcriptions with words in them",
        )
    return sum(e.num_errors for e in all_errors) / num_words


@cache
def _normalizer() -> Any:
    return need(
        "whisper_normalizer.basic", extra=_EXTRA, to="normalise texts"
    ).BasicTextNormalizer()
