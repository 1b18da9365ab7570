"""Assignment of splits: no words and no recording are in two of them."""

import hashlib
import unicodedata
from collections.abc import Sequence

from desta.errors import ConfigError
from desta.records import SPLITS, Split

SHARES = (0.8, 0.1, 0.1)
"""Shares of train, validation and test."""


def assign_splits(
    texts: Sequence[str],
    recordings: Sequence[str],
    *,
    shares: Sequence[float] = SHARES,
    seed: int = 0,
) -> list[Split]:
    """Return a split for every clip.

    Clips with equal words (`plain_words`) or equal recordings form groups, which stay together. The
    split follows from the hash of a group's smallest text (its smallest recording, if nothing is
    said). So the split of a clip stays when others are added, unless they join two groups, and is
    the same in every corpus with the text.

    Args:
        texts: transcription of each clip; empty if nothing is said.
        recordings: identity of each recording, such as the hash of its bytes.
        shares: shares of train, validation and test, which sum to 1.
        seed: seed of the assignment.
    """
    if len(shares) != len(SPLITS) or min(shares) < 0 or abs(sum(shares) - 1) > 1e-6:
        raise ConfigError(
            f"split shares {list(shares)} are not three shares of a whole",
            fix="give train, validation and test, for example [0.8, 0.1, 0.1]",
        )
    parent: dict[str, str] = {}

    def find(key: str) -> str:
        root = key
        while parent.setdefault(root, root) != root:
            root = parent[root]
        while parent[key] != root:
            parent[key], key = root, parent[key]
        return root

    # "0" sorts before "1": the smallest key of a group is a text, if it has one
    keys = [f"1{recording}" for recording in recordings]
    for key, text in zip(keys, texts, strict=True):
        find(key)
        if words := plain_words(text):
            first, second = sorted((find(f"0{words}"), find(key)))
            parent[second] = first  # the root of a group is its smallest key
    return [_draw(find(key), shares, seed) for key in keys]


def plain_words(text: str) -> str:
    """Return the words in lower case without punctuation, to compare transcriptions.

    >>> plain_words("«Hello,  World!»")
    'hello world'
    """
    kept = (
        letter if unicodedata.category(letter)[0] in "LMN" else " "  # letters, marks, digits
        for letter in unicodedata.normalize("NFKC", text).casefold()
    )
    return " ".join("".join(kept).split())


def _draw(key: str, shares: Sequence[float], seed: int) -> Split:
    digest = hashlib.sha256(f"{seed}:{key}".encode()).digest()
    point = int.from_bytes(digest[:7]) / 2**56  # exact as a float, below 1
    train, validation, _ = shares
    if point < train:
        return "train"
    return "validation" if point < train + validation else "test"
