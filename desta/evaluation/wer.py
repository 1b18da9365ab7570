"""Word error rate, on texts normalised as Whisper's authors do."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from desta.errors import need

_NO_SPACES = ("zh", "ja", "th", "lo", "my", "yue", "chinese", "japanese", "thai", "mandarin")
"""Languages written without spaces: their signs are counted in place of words."""
_ENGLISH = ("en", "english")
_EXTRA = "eval"
_TO = "measure word error rates"


@dataclass(frozen=True, kw_only=True)
class WordErrors:
    """Edits that turn one hypothesis into its reference."""

    num_errors: int
    """Words to substitute, delete and insert."""
    num_words: int
    """Words of the reference."""


def normalise(text: str, language: str = "en") -> str:
    """Normalise a text: English in spelling, contractions and numbers, any other basically.

    Args:
        text: as it was written.
        language: code or English name.
    """
    return _normaliser(_without_region(language))(text).strip()


def is_english(language: str) -> bool:
    """Return whether texts of a language are normalised by the English rules."""
    return _without_region(language) in _ENGLISH


def is_split(language: str) -> bool:
    """Return whether Whisper's authors count characters of a language in place of words."""
    return _without_region(language) in _NO_SPACES


def normalise_basically(text: str) -> str:
    """Return a text in lower case without punctuation and without what stands in brackets.

    The basic normaliser, which knows no language. Angle brackets are dropped before it, as
    Speech-IFEval does, so that what stands in them is kept.
    """
    return _normaliser("")(text.replace("<", "").replace(">", "")).strip()


def count_word_errors(reference: str, hypothesis: str) -> WordErrors:
    """Compare two normalised texts; without a reference, every word is an insertion."""
    num_words = len(reference.split())
    if not num_words:
        return WordErrors(num_errors=len(hypothesis.split()), num_words=0)
    jiwer = need("jiwer", extra=_EXTRA, to=_TO)
    found: Any = jiwer.process_words(reference, hypothesis)
    num_errors = found.substitutions + found.deletions + found.insertions
    return WordErrors(num_errors=num_errors, num_words=num_words)


def _without_region(language: str) -> str:
    return language.casefold().replace("_", "-").split("-")[0]


@cache
def _normaliser(language: str) -> Callable[[str], str]:
    if language in _ENGLISH:
        english = need("whisper_normalizer.english", extra=_EXTRA, to=_TO)
        return english.EnglishTextNormalizer()
    basic = need("whisper_normalizer.basic", extra=_EXTRA, to=_TO)
    return basic.BasicTextNormalizer(split_letters=language in _NO_SPACES)
