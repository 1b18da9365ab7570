"""Response filters.

Every filter is a pure function that returns whether a response has one fault. Its key in `FILTERS`
is its id in recipes; dropped responses are counted under its reason. All of them with examples:
docs/guides/filters.md.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from desta.construction.attribute_values import (
    ClosedSets,
    first_attributes,
    first_words,
    named_values,
    names_attribute,
    other_values,
    split_words,
)
from desta.construction.description import stated_attributes
from desta.construction.language import in_wrong_language
from desta.construction.prompts import Prompt, asks_unknown
from desta.generators.base import Completion
from desta.generators.reasoning import holds_mark
from desta.records import Clip

WRONG_LANGUAGE = "wrong_language"
"""Id of the filter that needs an extra package."""

_NOUNS = ("text", "description", "transcript", "transcription", "caption", "metadata")
_TEXT = rf"(?P<noun>{'|'.join(_NOUNS)})s?"
_TEXT_WORDS = frozenset(noun + ending for noun in _NOUNS for ending in ("", "s"))
_TEXT_TALK = re.compile(
    rf"\b(?:the|this|that|your|provided|given|above)\s+(?:\w+\s+){{0,2}}?{_TEXT}\b", re.IGNORECASE
)
_FORMAT = re.compile(
    r"\bmetadata\b|\[\d\d:\d\d|\bDuration: [\d.]+s\b|</?(?:start|begin|end)_[a-z]+", re.IGNORECASE
)
"""Text in the format of a seed description or of the conversation around it."""

_HEAR = r"(?:hear|listen(?: to)?|play|access|process|open|analy[sz]e|perceive)"
_CANNOT = r"(?:can\s?not|can['’]t|could\s?n['’]t|could not|(?:am|['’]m) (?:not able|unable) to)"
_RECORDING = r"(?:audio|recording|sound|clip|file|speech|music)s?"
_MACHINE = re.compile(
    r"\bas an? (?:\w+[- ]){0,3}?(?:AI|language model|(?:AI |virtual |text-based )assistant)\b"
    r"|\b(?:I am|I['’]m) (?:just |only )?an? (?:\w+[- ]){0,3}?(?:language model|AI)\b"
    rf"|\b(?:there (?:is|was)|I see|I have) no (?:\w+ )?{_RECORDING}(?: \w+)? ?"
    r"(?:here|attached|provided|included|given|file|available|to (?:listen|hear|describe))"
    rf"|\bno (?:audio|recording)(?: file| clip)? (?:was|is|has been|were) (?:\w+ )?"
    r"(?:provided|attached|given|included|shared|uploaded)"
    rf"|\b(?:please|could you) (?:\w+ )?(?:provide|upload|share|attach|send)\b[^.?!]*\b{_RECORDING}"
    rf"|\bI (?:do not|don['’]t) (?:\w+ )?have (?:the (?:ability|capability)|access|any way|ears)\b"
    rf"[^.?!]*\b(?:{_HEAR}|{_RECORDING})\b",
    re.IGNORECASE,
)
"""Statements of being a program that cannot hear."""
_DEAF = re.compile(
    rf"\bI (?:\w+ )?{_CANNOT} (?:\w+ )?{_HEAR}\b[^.?!]{{0,40}}?\b{_RECORDING}\b"
    rf"|\bI(?:['’]m| am)? (?:\w+ )?{_CANNOT} hear (?:it|anything|you)\b",
    re.IGNORECASE,
)
_DECLINES = re.compile(
    r"\s*(?:unfortunately,? )?(?:I['’]m sorry|I am sorry|sorry|I apologi[sz]e|my apologies)\b"
    rf"[^.?!]{{0,60}}\b(?:{_CANNOT}|do not|don['’]t|no)\b"
    rf"|\s*(?:unfortunately,? )?I(?:['’]m| am)? ?(?:{_CANNOT}|unable to|won['’]t|will not) "
    r"(?:\w+ )?(?:assist|help|answer|fulfil|comply|provide|do that|determine|tell|say|identify"
    r"|describe)\b",
    re.IGNORECASE,
)
"""Beginnings of a refusal, which is right only for unknown attributes."""
_REFUSING = frozenset(
    ("i", "ai", "model", "assistant", "no", "please", "could", "sorry", "apologies")
)
"""Words of which every refusal holds one."""
_PROGRAM = re.compile(r"\b(?:AI|robot|computer|machine|assistant|chatbot|android)\b", re.IGNORECASE)

FIRST_WORDS = 8
"""Words among which a response names what was asked, if the recipe does not say otherwise."""
_LONG_WORD = 20  # letters; no shorter ordinary word is a loop
_WORD_LOOP = re.compile(r"(\w{1,10}?)\1{4,}")


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A response with all inputs of the filters."""

    clip: Clip
    prompt: Prompt
    completion: Completion
    closed_sets: ClosedSets
    first_words: int = FIRST_WORDS
    """Words among which the value that is asked for must be named."""

    @cached_property
    def words(self) -> list[str]:
        """The words of the response, case folded."""
        return split_words(self.completion.text)

    @cached_property
    def unknown(self) -> bool:
        """Whether the prompt asks on purpose for an attribute that the clip does not have."""
        return asks_unknown(self.prompt, self.clip)


def first_failed(candidate: Candidate, filters: Sequence[str]) -> str | None:
    """Return the reason of the first filter that drops the response; None if none does."""
    chosen = (FILTERS[id] for id in filters)
    return next((each.reason for each in chosen if each.drops(candidate)), None)


def is_empty(candidate: Candidate) -> bool:
    """Return whether the response has no words."""
    return not candidate.words


def is_cut_off(candidate: Candidate) -> bool:
    """Return whether the response reached the length limit."""
    return not candidate.completion.finished


def repeats_itself(candidate: Candidate) -> bool:
    """Return whether a word or a part of it occurs five times in a row, or a phrase three times."""
    return has_loop(candidate.words)


def talks_about_text(candidate: Candidate) -> bool:
    """Return whether the response is about the description, not the sound, or copies its format.

    A response to a prompt that mentions a caption or a transcript may contain one.
    """
    text = candidate.completion.text
    about_text = not _TEXT_WORDS.isdisjoint(candidate.words)
    if (about_text or any(mark in text for mark in "[<:")) and _FORMAT.search(text):
        return True
    if not about_text:
        return False
    nouns = {match["noun"].casefold() for match in _TEXT_TALK.finditer(text)}
    return bool(nouns) and any(noun not in candidate.prompt.text.casefold() for noun in nouns)


def has_reasoning_mark(candidate: Candidate) -> bool:
    """Return whether a reasoning tag is left in the response, part of which may be reasoning."""
    return holds_mark(candidate.completion)


def refuses(candidate: Candidate) -> bool:
    """Return whether the response claims that it cannot hear, is a program, or will not answer.

    "Cannot be told" is the right response to a prompt about an unknown attribute.
    """
    if _REFUSING.isdisjoint(candidate.words):
        return False
    text = candidate.completion.text
    if _MACHINE.search(text) and not _PROGRAM.search(candidate.prompt.text):
        return True
    return not candidate.unknown and bool(_DEAF.search(text) or _DECLINES.match(text))


def is_in_wrong_language(candidate: Candidate) -> bool:
    """Return whether the response is neither in English nor in the language of the prompt."""
    return in_wrong_language(
        candidate.completion.text, candidate.words, candidate.prompt, candidate.clip
    )


def misses_attribute(candidate: Candidate) -> bool:
    """Return whether the response names no value of a known attribute that the prompt asks for."""
    if candidate.prompt.kind != "ask" or candidate.unknown:
        return False
    return not all(
        names_attribute(candidate.completion.text, candidate.words, candidate.clip, name)
        for name in candidate.prompt.needs
    )


def begins_with_other(candidate: Candidate) -> bool:
    """Return whether the first words do not name what was asked, or another attribute before it."""
    if candidate.prompt.kind != "ask" or candidate.unknown:
        return False
    clip, needs = candidate.clip, candidate.prompt.needs
    start = first_words(candidate.completion.text, candidate.first_words)
    words = split_words(start)
    if not all(names_attribute(start, words, clip, name) for name in needs):
        return True
    first = first_attributes(words, clip, candidate.closed_sets)
    return bool(first) and first.isdisjoint(needs)


def invents_attribute(candidate: Candidate) -> bool:
    """Return whether the response names a value although the prompt asks for an unknown one."""
    if not candidate.unknown:
        return False
    domain, own = candidate.clip.domain, stated_attributes(candidate.clip)
    possible = frozenset[str]().union(
        *(candidate.closed_sets.get((domain, n), ()) for n in candidate.prompt.needs - own.keys())
    )
    return bool(named_values(candidate.completion.text, possible))


def states_other_value(candidate: Candidate) -> bool:
    """Return whether the response names a wrong value of an attribute of the clip.

    A prompt about no attribute may introduce values: "Translate it into Spanish".
    """
    prompt = candidate.prompt
    return bool(
        other_values(
            candidate.words,
            candidate.clip,
            candidate.closed_sets,
            asked=prompt.needs,
            given="" if prompt.needs else prompt.text,
        )
    )


class Filter(NamedTuple):
    """A filter of responses."""

    reason: str
    """Reason under which dropped responses are counted, in manifests and in `dropped.ndjson`."""
    drops: Callable[[Candidate], bool]


FILTERS: Mapping[str, Filter] = {
    "empty": Filter("empty", is_empty),
    "cut_off": Filter("cut off", is_cut_off),
    "repeats_itself": Filter("repeats itself", repeats_itself),
    "talks_about_text": Filter("talks about the text", talks_about_text),
    "has_reasoning_mark": Filter("holds a mark of reasoning", has_reasoning_mark),
    "refuses": Filter("refuses", refuses),
    WRONG_LANGUAGE: Filter("wrong language", is_in_wrong_language),
    "misses_attribute": Filter("misses the attribute", misses_attribute),
    "begins_with_other": Filter(
        "begins with something else than what was asked", begins_with_other
    ),
    "invents_attribute": Filter("invents the attribute", invents_attribute),
    "states_other_value": Filter("states another value", states_other_value),
}


def has_loop(words: Sequence[str]) -> bool:
    """Return whether a word or a part of it occurs five times in a row, or a phrase three times."""
    if any(len(word) >= _LONG_WORD and _WORD_LOOP.search(word) for word in words):
        return True
    return _has_loop(words)


def _has_loop(words: Sequence[str]) -> bool:
    """Return whether there are five equal words or three equal phrases in a row.

    Runs of 1, 2, 4, ... words are numbered by content. Three equal phrases of p words in a row hold
    a run of k words, p <= k < 2p, that is repeated after p words. So only such distances are
    checked, and if no run of k words is repeated, there is no longer phrase either.
    """
    runs: Sequence[object] = words
    if len(set(zip(words, words[1:], words[2:], strict=False))) >= len(words) - 2:
        return False  # a loop repeats a run of three words
    size = 1
    while size <= len(words):
        last: dict[object, int] = {}
        periods = set()
        for place, run in enumerate(runs):
            distance = place - last.get(run, place)
            if 0 < distance <= size:
                periods.add(distance)
            last[run] = place
        if any(_repeats(words, period) for period in periods):
            return True
        if len(last) == len(runs):
            return False
        numbers: dict[object, int] = {}
        runs = [
            numbers.setdefault(pair, len(numbers)) for pair in zip(runs, runs[size:], strict=False)
        ]
        size *= 2
    return False


def _repeats(words: Sequence[str], period: int) -> bool:
    repeats = max(2 * period, 4)
    run = 0
    for word, before in zip(words[period:], words, strict=False):
        run = run + 1 if word == before else 0
        if run >= repeats:
            return True
    return False
