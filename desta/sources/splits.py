"""Assignment of splits: no voice, words or recording are in two of them."""

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
    groups: Sequence[str | None] | None = None,
    *,
    shares: Sequence[float] = SHARES,
    seed: int = 0,
) -> list[Split]:
    """Return a split for every clip.

    Clips of one voice or instrument stay together, whatever is said. Of clips of unknown voices,
    those with equal words (`plain_words`) stay together. So do equal recordings. The split follows
    from the hash of the smallest voice (text, if no voice is known; recording, if nothing is said).
    So the split of a clip stays when others are added, unless they join two groups, and is the
    same in every corpus with that voice or text.

    Args:
        texts: transcription of each clip; empty if nothing is said.
        recordings: identity of each recording, such as the hash of its bytes.
        groups: voice or instrument of each clip, `Metadata.group`; None if unknown.
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

    # "+" sorts before "0" and that before "1": the smallest key is a voice, else a text
    keys = [f"1{recording}" for recording in recordings]
    for key, text, group in zip(keys, texts, groups or [None] * len(keys), strict=True):
        find(key)
        shared = f"+{group}" if group else f"0{words}" if (words := plain_words(text)) else key
        first, second = sorted((find(shared), find(key)))
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
