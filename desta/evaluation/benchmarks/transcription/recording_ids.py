"""Ids of recordings: those that two files give to the same one, and words that are none."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from desta.errors import DataError

_ID = re.compile(r"(?=\S*\d)(?=\S*(?:[^\W\d]|[-/]))\S+")
"""Digits, and letters or signs that join."""
_JOINTS = re.compile(r"[-_/.]")
_NUMBER = re.compile(r"\d+")
_SUFFIX = re.compile(r"\.(?!\d+(?:@|$))\w{2,5}(?=@|$)")
"""Of a file, also where an offset follows."""
_MOST_WORDS = 3  # that one with joints may be in another spelling


def common_keys(said: Sequence[str], understood: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return keys of the ids of two files; those of the same recording are equal.

    Ids are keys as they are if any is in both files. Otherwise they are paths from two places: the
    key is the shortest end of a path, without the suffix, that no other id of either file has.

    >>> common_keys(["a/1.wav", "b/1.wav"], ["/x/b/1.flac"])
    (['a/1', 'b/1'], ['b/1'])
    """
    if set(said) & set(understood):
        return list(said), list(understood)
    once = Counter(end for id in said for end in set(_ends(id)))
    once |= Counter(end for id in understood for end in set(_ends(id)))
    first, second = (
        [next((end for end in _ends(id) if once[end] == 1), id) for id in ids]
        for ids in (said, understood)
    )
    return first, second


def _ends(id: str) -> Iterator[str]:
    """Yield the ends of a path, the shortest first, and the id itself last."""
    parts = [part for part in re.split(r"[/\\]", _SUFFIX.sub("", id)) if part]
    yield from ("/".join(parts[-count:]) for count in range(1, len(parts) + 1))
    yield id


def check_ids(ids: Sequence[str | None], where: str) -> None:
    """Raise DataError if an id occurs twice."""
    counts = Counter(id for id in ids if id is not None)
    if twice := next((id for id, count in counts.items() if count > 1), None):
        raise DataError(
            f"{where}: id {twice!r} occurs {counts[twice]} times",
            fix="keep one row of every recording",
        )


def are_ids(words: Sequence[str], others: Sequence[str]) -> bool:
    """Return whether the first words of lines are the ids that another file has.

    Args:
        words: the first word of every line.
        others: ids of the other file.
    """
    if not others or len(set(words)) < len(words):
        return False
    mine, theirs = map(set, common_keys(others, words))
    return mine <= theirs or theirs <= mine


def seem_ids(words: Sequence[str], lines: Sequence[str] = ()) -> bool:
    """Return whether the first words of lines look like ids: `utt-1`, `u1`, `u2`; not B52, MP3.

    Args:
        words: the first word of every line.
        lines: those of the other file, or its ids; if some begin with one of `words` in another
            spelling, and none with one as it is, they are words.
    """
    if len(words) < 2 or len(set(words)) < len(words) or not all(map(_ID.fullmatch, words)):
        return False
    shapes = {_NUMBER.sub("0", word) for word in words}
    if len(shapes) > 1 and not all(map(_JOINTS.search, words)):
        return False
    begun = [line.split() for line in lines]
    if {line[0] for line in begun if line} & set(words):
        return True
    said = {_spoken("".join(line[:count])) for line in begun for count in range(1, _MOST_WORDS + 1)}
    return said.isdisjoint(map(_spoken, words))


def is_id(word: str) -> bool:
    """Return whether a word looks like an id: digits, and letters or signs that join."""
    return _ID.fullmatch(word) is not None


def _spoken(word: str) -> str:
    return re.sub(r"[\W_]+", "", word).casefold()
