"""Filter for duplicates: the same response to the same prompt for different clips.

Definition and reasons: docs/decisions/0020-duplicates.md.
"""

import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from desta.construction.attribute_values import Vocabulary
from desta.construction.filters import Candidate

DUPLICATE = "duplicate"
"""Reason of dropped responses, and name of the filter in recipes."""
SIMILARITY = 0.8
"""Share of equal minima (an estimate of the Jaccard index) from which responses count as equal."""
REMEMBERED = 128
"""Limit of different responses kept per prompt; the oldest is dropped first."""

_NUM_HASHES = 64
_SHINGLE = 3  # words
_FACTORS = np.random.Generator(np.random.PCG64(0)).integers(
    1, 1 << 63, size=(_NUM_HASHES, 1), dtype=np.uint64
) | np.uint64(1)
_ALL = np.uint64((1 << 64) - 1)


def minhash(words: Sequence[str]) -> NDArray[np.uint8]:
    """Return the MinHash of a text, (64,): one byte of each minimum.

    The probability that two texts share a byte is their Jaccard index over runs of three words,
    plus 1 in 256 by accident. A text of one or two words is one run.
    """
    size = min(_SHINGLE, len(words))
    runs = {
        zlib.crc32(" ".join(words[start : start + size]).encode())
        for start in range(len(words) - size + 1)
    }
    hashes_R = np.fromiter(runs, dtype=np.uint64, count=len(runs))
    minima_H = (hashes_R * _FACTORS).min(axis=1, initial=_ALL)  # multiplication wraps around
    return (minima_H >> np.uint64(24)).astype(np.uint8)


class DuplicateFilter:
    """Filter for responses that a prompt has already got for `max_same` different kinds of clips.

    The filter has a state: give it candidates in the order of the plan, and only those without
    another fault. Memory grows with the number of prompts, not of responses.
    """

    def __init__(self, max_same: int, *, transcription: bool = True) -> None:
        """Create a filter.

        Args:
            max_same: different kinds of clips that may get the same response to a prompt.
            transcription: whether descriptions contain the transcription.
        """
        self._max_same = max_same
        self._transcription = transcription
        self._prompts: dict[str, _Responses] = {}

    def fault(self, candidate: Candidate) -> str | None:
        """Return the reason for dropping a response; else None, and count the response as seen."""
        responses = self._prompts.get(candidate.prompt.text)
        if responses is None:
            responses = self._prompts[candidate.prompt.text] = _Responses()
        known = _digest(self._known(candidate))
        seen = responses.clips_of(minhash(candidate.words), _digest(_named(candidate)))
        if known in seen:
            return None
        if len(seen) >= self._max_same:
            return DUPLICATE
        seen.add(known)
        return None

    def _known(self, candidate: Candidate) -> list[str]:
        """Return the values that the response may depend on: those asked for, or all stated."""
        clip, prompt = candidate.clip, candidate.prompt
        if prompt.kind == "ask":
            return [clip.attributes.get(name, "") for name in sorted(prompt.needs)]
        stated = [f"{name}: {value}" for name, value in clip.attributes.items()]
        return [*stated, clip.transcription] if self._transcription else stated


class _Responses:
    """Different responses to one prompt, and the kinds of clips that got them."""

    def __init__(self) -> None:
        self._minhashes = np.zeros((0, _NUM_HASHES), np.uint8)
        self._named = np.zeros(0, np.uint32)
        self._seen: list[set[int]] = []
        self._next = 0

    def clips_of(self, minhash: NDArray[np.uint8], named: int) -> set[int]:
        """Return the kinds of clips that got an equal response; add the response if it is new."""
        count = len(self._seen)
        equal = (self._minhashes[:count] == minhash).mean(axis=1) >= SIMILARITY
        places = np.flatnonzero(equal & (self._named[:count] == named))
        if len(places):
            return self._seen[places[0]]
        if count < REMEMBERED:
            if count == len(self._named):
                room = max(4, count)
                self._minhashes = np.pad(self._minhashes, ((0, room), (0, 0)))
                self._named = np.pad(self._named, (0, room))
            place = count
            self._seen.append(set())
        else:
            place = self._next
            self._next = (place + 1) % REMEMBERED
            self._seen[place] = set()
        self._minhashes[place] = minhash
        self._named[place] = named
        return self._seen[place]


def _named(candidate: Candidate) -> list[str]:
    """Return the values that the response names; responses with other values are different."""
    clip, sets = candidate.clip, candidate.closed_sets
    own = [sets[clip.domain, name] for name in clip.attributes if (clip.domain, name) in sets]
    return sorted({value for _, _, value in Vocabulary.of(*own).find(candidate.words)})


def _digest(parts: Sequence[str]) -> int:
    return zlib.crc32("\0".join(parts).encode())
