"""Search for attribute values in running text, and checks of the values that a response names."""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

from desta.construction.description import stated_attributes
from desta.records import NO_TRANSCRIPTION, Clip, Domain
from desta.sources.glossary import JOINED, OPEN_ATTRIBUTES

ClosedSets = Mapping[tuple[Domain, str], frozenset[str]]
"""(domain, attribute) -> all values in the corpora, case folded; without open attributes."""

ORIGINS = frozenset(
    ("Language", "Native language", "Accent", "Dialect", "Country", "Ethnicity", "Race")
)
"""Attributes with a common vocabulary, of which one speaker may have different values."""

_DURATION = "Duration"

_WORD = re.compile(r"[\u3040-\u9fff\uac00-\ud7af]|[^\W\u3040-\u9fff\uac00-\ud7af]+")
"""A word, or one character of a script without spaces between words."""

_ASCII_WORD = re.compile(r"\w+", re.ASCII)  # the same, three times as fast

_NUMBER = re.compile(r"[\d.,]+")

_WORDINGS: Mapping[str, tuple[str, ...]] = {
    "female": ("female", "woman", "women", "girl", "lady", "ladies", "she"),
    "male": ("male", "man", "men", "boy", "gentleman", "gentlemen", "he"),
}
"""Value -> words for it in running text, other than its name."""

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

_ACCENT = frozenset(("accent", "accents", "accented"))
_DIALECT = frozenset(("dialect", "dialects"))
_NATIVE = frozenset(("native", "natively", "mother", "first"))
_LANGUAGE = frozenset(
    ("in", "language", "languages", "speak", "speaks", "speaking", "spoke", "spoken")
)


class Vocabulary:
    """Index of values, to find them in texts in time that does not grow with their number."""

    def __init__(self, values: Iterable[str]) -> None:
        self._words: dict[str, str] = {}
        self._phrases: dict[str, dict[tuple[str, ...], str]] = {}
        self._lengths: dict[str, tuple[int, ...]] = {}
        plurals: dict[tuple[str, ...], str] = {}
        names: dict[tuple[str, ...], str] = {}
        for value in sorted(values):
            for wording in _WORDINGS.get(value, (value,)):
                if spelt_out(wording):
                    name = tuple(split_words(wording))
                    names[name] = value
                    for ending in ("s", "es"):
                        plurals[*name[:-1], name[-1] + ending] = value
        for name, value in {**plurals, **names}.items():  # a name wins over a plural
            if len(name) == 1:
                self._words[name[0]] = value
            else:
                self._phrases.setdefault(name[0], {})[name] = value
        self._firsts = self._words.keys() | self._phrases.keys()
        for first, phrases in self._phrases.items():
            self._lengths[first] = tuple(sorted({len(name) for name in phrases}, reverse=True))

    @staticmethod
    @lru_cache(maxsize=4096)
    def of(*groups: frozenset[str]) -> "Vocabulary":
        """Return the vocabulary of sets of values, cached for clips that share them."""
        return Vocabulary(frozenset[str]().union(*groups))

    def find(self, words: Sequence[str]) -> list[tuple[int, int, str]]:
        """Return start, end and value of every match; of overlapping ones the longest."""
        found = []
        after = 0
        for start in [place for place, word in enumerate(words) if word in self._firsts]:
            if start >= after:
                after, value = self._at(words, start)
                if value is not None:
                    found.append((start, after, value))
        return found

    def _at(self, words: Sequence[str], start: int) -> tuple[int, str | None]:
        first = words[start]
        for length in self._lengths.get(first, ()):
            value = self._phrases[first].get(tuple(words[start : start + length]))
            if value is not None:
                return start + length, value
        return start + 1, self._words.get(first)


def split_words(text: str) -> list[str]:
    """Return the words of a text, case folded."""
    folded = text.casefold()
    return _ASCII_WORD.findall(folded) if folded.isascii() else _WORD.findall(folded)


def first_words(text: str, count: int) -> str:
    """Return the beginning of a text, up to the end of a number of words.

    >>> first_words("It is 2.5 s long, I think.", 4)
    'It is 2.5'
    """
    ends = [match.end() for match in _WORD.finditer(text)]
    return text if len(ends) <= count else text[: ends[count - 1]]


def spelt_out(value: str) -> bool:
    """Return whether a value can be searched for as a word, unlike "c#" and "a"."""
    return len(value) > 1 and not value.endswith("#")


def closed_sets(clips: Iterable[Clip]) -> ClosedSets:
    """Collect the single values of every attribute with a closed set of values."""
    values: dict[tuple[Domain, str], set[str]] = {}
    for clip in clips:
        for name, value in clip.attributes.items():
            if name != _DURATION and name not in OPEN_ATTRIBUTES:
                words = {v for v in single_values(name, value) if not _NUMBER.fullmatch(v)}
                values.setdefault((clip.domain, name), set()).update(words)
    return {key: frozenset(found) for key, found in values.items()}


def named_values(text: str, values: frozenset[str]) -> frozenset[str]:
    """Return the values, case folded, that a text names as whole words.

    Of overlapping values the longest counts: "bass drum" does not name "bass".

    >>> sorted(named_values("Two Dogs and a bass drum", frozenset(["dog", "bass", "bass drum"])))
    ['bass drum', 'dog']
    """
    return frozenset(value for _, _, value in Vocabulary.of(values).find(split_words(text)))


def names_attribute(text: str, words: Sequence[str], clip: Clip, attribute: str) -> bool:
    """Return whether a response names a value that the clip has for the attribute.

    Args:
        text: the response.
        words: `split_words(text)`.
        clip: clip that the response is about.
        attribute: an attribute of the clip.
    """
    value = stated_attributes(clip)[attribute]
    if attribute == _DURATION:
        lengths = {
            (_NUMBERS.get(match["number"], match["number"]), match["unit"])
            for match in _LENGTH.finditer(text.casefold())
        }
        return lengths == {(value.removesuffix("s"), "s")}  # "2 minutes and 2 seconds" is not 2 s
    own = single_values(attribute, value)
    if Vocabulary.of(own).find(words):
        return True
    return any(  # a note: "C" is not the "c" of "c'est", nor that of C#
        re.search(rf"(?<![\w'’]){re.escape(v.upper())}(?![\w#'’])", text)
        for v in own
        if not spelt_out(v)
    )


def first_attributes(words: Sequence[str], clip: Clip, sets: ClosedSets) -> frozenset[str]:
    """Return the attributes of the clip that the first value in a text may belong to.

    Args:
        words: from `split_words`.
        clip: clip that the text is about.
        sets: values of closed attributes in all corpora.

    Returns:
        One or more, of those with a closed set; none if no value of them is named.
    """
    own = {name: sets.get((clip.domain, name), frozenset[str]()) for name in clip.attributes}
    found = Vocabulary.of(*own.values()).find(words)
    return frozenset(name for name, values in own.items() if found and found[0][2] in values)


def other_values(
    words: Sequence[str],
    clip: Clip,
    sets: ClosedSets,
    *,
    asked: frozenset[str] = frozenset(),
    given: str = "",
    of: frozenset[str] | None = None,
) -> frozenset[str]:
    """Return the values that a response names although the clip does not have them.

    A value is right if any attribute of the clip has it, or if the transcription contains it. A
    word such as "English" can be the language, the accent or the mother tongue: it is compared with
    the attribute that the words around it or the prompt refer to. If neither does, it is wrong only
    if the clip has all the attributes that it could be a value of.

    Args:
        words: the response, from `split_words`.
        clip: clip that the response is about.
        sets: values of closed attributes in all corpora.
        asked: attributes that the prompt asks for.
        given: text whose values the response may repeat.
        of: attributes whose values count; None for all attributes of the clip.
    """
    groups = tuple(
        sets[clip.domain, name]
        for name in clip.attributes
        if (clip.domain, name) in sets and (of is None or name in of)
    )
    found = Vocabulary.of(*groups).find(words)
    if not found:
        return frozenset()
    own = _own_values(clip)
    wrong = [hit for hit in found if hit[2] not in own]
    if not wrong:
        return frozenset()
    spans = Vocabulary(own).find(words)  # also of open attributes: a song may be called "French"
    if clip.transcription != NO_TRANSCRIPTION or given:
        heard = split_words(f"{clip.transcription} {given}")
        own |= {value for _, _, value in Vocabulary.of(*groups).find(heard)}
    return frozenset(
        value
        for start, end, value in wrong
        if value not in own
        and not any(first <= start < last for first, last, _ in spans)
        and _contradicts(value, clip, sets, _meant(words, start, end), asked)
    )


def _contradicts(
    value: str, clip: Clip, sets: ClosedSets, meant: str | None, asked: frozenset[str]
) -> bool:
    owners = {
        name for (domain, name), found in sets.items() if domain == clip.domain and value in found
    }
    if (owners & clip.attributes.keys()) - ORIGINS:
        return True
    if meant is None and len(asked & owners) == 1:
        (meant,) = asked & owners
    if meant in owners:
        return meant in clip.attributes
    return owners <= clip.attributes.keys()


def _meant(words: Sequence[str], start: int, end: int) -> str | None:
    """Return the attribute that the words around a language, people or country refer to."""
    if not _ACCENT.isdisjoint(words[max(start - 2, 0) : end + 2]):
        return "Accent"
    if not _DIALECT.isdisjoint(words[max(start - 3, 0) : end + 2]):
        return "Dialect"
    if not _NATIVE.isdisjoint(words[max(start - 4, 0) : end + 2]):
        return "Native language"
    if not _LANGUAGE.isdisjoint(words[max(start - 3, 0) : end + 1]):
        return "Language"
    return None


def _own_values(clip: Clip) -> frozenset[str]:
    return frozenset[str]().union(
        *(single_values(name, v) for name, v in clip.attributes.items() if name != _DURATION)
    )


@lru_cache(maxsize=65536)
def single_values(attribute: str, value: str) -> frozenset[str]:
    """Return the single values, case folded, of a joined value."""
    parts = [value] if attribute in OPEN_ATTRIBUTES else value.split(JOINED)
    return frozenset(part.strip().casefold() for part in parts if part.strip())
