"""Filters: why a response is not kept.

Every filter is a pure function that says whether a response has one fault. Its name in `FILTERS`
is what recipes select it by and the reason under which dropped responses are counted.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from desta.construction.description import stated_attributes
from desta.construction.prompts import Prompt, asks_unknown
from desta.llm.base import Completion
from desta.records import Clip, Domain
from desta.sources.glossary import JOINED, OPEN_ATTRIBUTES

ClosedSets = Mapping[tuple[Domain, str], frozenset[str]]
"""(domain, attribute) -> all values that the corpora know, case folded; not of open attributes."""

_DURATION = "Duration"

_WORD = re.compile(r"[\u3040-\u9fff\uac00-\ud7af]|[^\W\u3040-\u9fff\uac00-\ud7af]+")
"""A word, or one character of the scripts that put no spaces between words."""

_TEXT_TALK = re.compile(
    r"\b(?:the|this|that|your|provided|given|above)\s+(?:\w+\s+){0,2}?"
    r"(?:text|description|transcript|transcription|caption|metadata)s?\b"
    r"|\bmetadata\b|\[\d\d:\d\d|\bDuration: [\d.]+s\b|</?(?:start|end)_audio",
    re.IGNORECASE,
)

_NUMBER = re.compile(r"[\d.,]+")

_WORDINGS: Mapping[str, tuple[str, ...]] = {
    "female": ("female", "woman", "women", "girl", "lady", "she"),
    "male": ("male", "man", "men", "boy", "gentleman", "he"),
}
"""What values are called in running text, where that is not just their name."""

_NUMBERS: Mapping[str, str] = {
    word: str(number)
    for number, word in enumerate(
        ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"), start=1
    )
}

_LENGTH = re.compile(
    rf"(?<![\w.])(?P<number>\d+(?:\.\d+)?|{'|'.join(_NUMBERS)})[\s-]?"
    r"(?P<unit>s|m|h)(?:ecs?|econds?|ins?|inutes?|ours?)?\b"
)

_ENGLISH = frozenset(
    _WORD.findall(
        "a about an and are as at be by can for from has have he hear i in is it its like not of "
        "on or she so that the there they this to very was what which who with yes you"
    )
)
"""The commonest words, among them those that answers about audio are made of."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A response with all that a filter may look at."""

    clip: Clip
    prompt: Prompt
    completion: Completion
    closed_sets: ClosedSets


def find_fault(candidate: Candidate, filters: Sequence[str]) -> str | None:
    """Return the first of the filters that the response does not pass."""
    return next((name for name in filters if FILTERS[name](candidate)), None)


def closed_sets(clips: Iterable[Clip]) -> ClosedSets:
    """Collect the single values of every attribute whose values are words out of a list."""
    values: dict[tuple[Domain, str], set[str]] = {}
    for clip in clips:
        for name, value in clip.attributes.items():
            if name != _DURATION and name not in OPEN_ATTRIBUTES:
                words = {v for v in _single_values(name, value) if not _NUMBER.fullmatch(v)}
                values.setdefault((clip.domain, name), set()).update(words)
    return {key: frozenset(found) for key, found in values.items()}


def empty(candidate: Candidate) -> bool:
    """Nothing was written."""
    return not re.search(r"\w", candidate.completion.text)


def cut_off(candidate: Candidate) -> bool:
    """The length limit came before the end."""
    return not candidate.completion.finished


def repeats_itself(candidate: Candidate) -> bool:
    """A word stands five times in a row, or a phrase three times."""
    words = _WORD.findall(candidate.completion.text.casefold())
    for period in range(1, len(words) // 3 + 1):
        repeats = max(2 * period, 4)
        run = 0
        for word, before in zip(words[period:], words, strict=False):
            run = run + 1 if word == before else 0
            if run >= repeats:
                return True
    return False


def talks_about_text(candidate: Candidate) -> bool:
    """It speaks of the description instead of the sound, or copies its format."""
    return bool(_TEXT_TALK.search(candidate.completion.text))


def is_not_english(candidate: Candidate) -> bool:
    """Hardly any of the commonest English words occur; too short responses are not judged."""
    words = _WORD.findall(candidate.completion.text.casefold())
    return len(words) > 3 and sum(word in _ENGLISH for word in words) < 0.15 * len(words)


def misses_attribute(candidate: Candidate) -> bool:
    """The prompt asks for a known attribute, and the response names none of its values."""
    if candidate.prompt.kind != "ask" or asks_unknown(candidate.prompt, candidate.clip):
        return False
    stated = stated_attributes(candidate.clip)
    return not all(_names(candidate.completion.text, a, stated[a]) for a in candidate.prompt.needs)


def invents_attribute(candidate: Candidate) -> bool:
    """The prompt asks for an unknown attribute, and the response names a value of it."""
    if not asks_unknown(candidate.prompt, candidate.clip):
        return False
    domain, own = candidate.clip.domain, stated_attributes(candidate.clip)
    possible = frozenset[str]().union(
        *(candidate.closed_sets.get((domain, n), ()) for n in candidate.prompt.needs - own.keys())
    )
    return bool(named_values(candidate.completion.text, possible))


def states_other_value(candidate: Candidate) -> bool:
    """It names a value that an attribute of the clip could have, but has not."""
    clip = candidate.clip
    own = frozenset[str]().union(
        *(_single_values(name, v) for name, v in clip.attributes.items() if name != _DURATION)
    )
    possible = own.union(
        *(candidate.closed_sets.get((clip.domain, name), ()) for name in clip.attributes)
    )
    return bool(named_values(candidate.completion.text, possible) - own)


FILTERS: Mapping[str, Callable[[Candidate], bool]] = {
    "empty": empty,
    "cut off": cut_off,
    "repeats itself": repeats_itself,
    "talks about the text": talks_about_text,
    "is not English": is_not_english,
    "misses the attribute": misses_attribute,
    "invents the attribute": invents_attribute,
    "states another value": states_other_value,
}


def named_values(text: str, values: frozenset[str]) -> frozenset[str]:
    """Return the values, case folded, that a text names in whole words.

    Where values overlap the longest counts: "bass drum" does not name "bass".

    >>> sorted(named_values("Two Dogs and a bass drum", frozenset(["dog", "bass", "bass drum"])))
    ['bass drum', 'dog']
    """
    pattern, owners = _matcher(values)
    return frozenset(owners[match["value"]] for match in pattern.finditer(text.casefold()))


def _single_values(attribute: str, value: str) -> frozenset[str]:
    """Return the values, case folded, that a corpus joined into one."""
    parts = [value] if attribute in OPEN_ATTRIBUTES else value.split(JOINED)
    return frozenset(part.strip().casefold() for part in parts if part.strip())


@lru_cache(maxsize=1024)
def _matcher(values: frozenset[str]) -> tuple[re.Pattern[str], dict[str, str]]:
    owners = {
        wording: value for value in sorted(values) for wording in _WORDINGS.get(value, (value,))
    }
    longest_first = sorted(owners, key=len, reverse=True)
    wordings = "|".join(map(re.escape, longest_first)) or r"(?!)"  # (?!) never matches
    return re.compile(rf"(?<!\w)(?P<value>{wordings})(?:s|es)?(?!\w)"), owners


def _names(text: str, attribute: str, value: str) -> bool:
    if attribute != _DURATION:
        return bool(named_values(text, _single_values(attribute, value)))
    lengths = {
        (_NUMBERS.get(match["number"], match["number"]), match["unit"])
        for match in _LENGTH.finditer(text.casefold())
    }
    return lengths == {(value.removesuffix("s"), "s")}  # "2 minutes and 2 seconds" is not 2 s
