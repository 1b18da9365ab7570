"""Draws from prompt pools, identical on every machine.

Every prompt has a ticket, a number that follows from a hash of seed, clip and prompt. Prompts are
hashed once; the hash of a clip is then mixed into thousands of them in a few microseconds.
"""

import hashlib
import json
import math
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray

from desta.config import suggest
from desta.construction.prompts import PROMPT_KINDS, Prompt, asks_unknown, suits
from desta.errors import ConfigError
from desta.records import NO_TRANSCRIPTION, Clip

Hashes = NDArray[np.uint64]

_MOST_PATTERNS = 512
"""Cached lists of candidates; each takes about 50 KB with a pool of thousands."""
_FEW = 8
"""Up to this count, repeated search for the maximum is faster than a partition."""


@dataclass(frozen=True)
class _Candidates:
    """Prompts that suit clips of one pattern, sorted by kind."""

    prompts: tuple[Prompt, ...]
    hashes: Hashes
    groups: tuple[tuple[float, slice], ...]
    """Weight of each prompt of a kind, and their positions."""


class PromptPool:
    """Pool of prompts of one domain, from which prompts are drawn for millions of clips."""

    def __init__(self, prompts: Iterable[Prompt], kinds: Mapping[str, float] | None = None) -> None:
        """Hash the prompts.

        Args:
            prompts: prompts with different texts.
            kinds: kind -> weight, shared by its prompts that suit the clip; kinds not named are not
                drawn. None makes every prompt equally likely.

        Raises:
            ConfigError: a kind is unknown, a weight is below 0, or no weight is above 0.
        """
        if kinds is not None:
            _check_kinds(kinds)
        self._kinds = kinds
        self._prompts = sorted(prompts, key=lambda prompt: (prompt.kind, prompt.text))
        self._names = frozenset(name for prompt in self._prompts for name in prompt.needs)
        self._candidates: dict[tuple[frozenset[str], bool, bool], _Candidates] = {}

    def draw(self, clip: Clip, *, count: int, seed: int, unknown: bool = False) -> list[Prompt]:
        """Draw different prompts that suit a clip, or that ask for an unknown attribute.

        Every prompt gets an exponential arrival time from its ticket, and the first arrivals are
        drawn: weighted sampling without replacement. So the draw depends neither on other clips nor
        on the order of the pool, and without `kinds` a prompt added to the pool changes only the
        draws that it is part of.

        Args:
            clip: clip that the prompts are about.
            count: number of prompts; fewer are returned if fewer suit.
            seed: seed of the draw.
            unknown: draw from the prompts that `asks_unknown` instead of those that suit the clip.
        """
        candidates = self._find(clip, unknown)
        tickets = mix(candidates.hashes, seed, clip.id)
        arrivals = []
        for weight, place in candidates.groups:
            for index in (place.start + p for p in _highest(tickets[place], count)):
                uniform = (int(tickets[index]) + 1) / 2**64  # in (0, 1]
                prompt = candidates.prompts[index]
                arrivals.append((-math.log(uniform) / weight, prompt.text, prompt))
        return [prompt for _, _, prompt in sorted(arrivals, key=itemgetter(0, 1))[:count]]

    def _find(self, clip: Clip, unknown: bool) -> _Candidates:
        """Return the candidates for a clip, cached for clips with the same known attributes."""
        known = frozenset(n for n, v in clip.attributes.items() if v and n in self._names)
        pattern = known, clip.transcription != NO_TRANSCRIPTION, unknown
        found = self._candidates.get(pattern)
        if found is None:
            if len(self._candidates) >= _MOST_PATTERNS:
                self._candidates.clear()
            found = self._candidates[pattern] = self._choose(clip, unknown)
        return found

    def _choose(self, clip: Clip, unknown: bool) -> _Candidates:
        applies = asks_unknown if unknown else suits
        groups: dict[str, list[Prompt]] = {}
        for prompt in self._prompts:
            if applies(prompt, clip):
                groups.setdefault(prompt.kind, []).append(prompt)
        chosen: list[Prompt] = []
        places: list[tuple[float, slice]] = []
        for kind, group in groups.items():
            weight = 1.0 if self._kinds is None else self._kinds.get(kind, 0.0) / len(group)
            if weight > 0:
                places.append((weight, slice(len(chosen), len(chosen) + len(group))))
                chosen += group
        return _Candidates(tuple(chosen), _hashes(tuple(p.text for p in chosen)), tuple(places))


def draw_system(systems: tuple[str, ...], id: str, *, seed: int) -> str:
    """Draw the system prompt of a pair by its id; each is equally likely."""
    return systems[int(np.argmax(mix(_hashes(systems), seed, id)))]


def ticket(seed: int, id: str) -> float:
    """Return a number in [0, 1) that depends on seed and id alone, not on other clips."""
    return random.Random(f"{seed}/{id}").random()


def hash64(text: str) -> int:
    """Return a number below 2**64 that depends on the text alone."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())


def mix(hashes: Hashes, seed: int, id: str) -> Hashes:
    """Return the tickets that hashed texts have for an id (splitmix64 of Vigna, 2015)."""
    mixed = hashes ^ np.uint64(hash64(json.dumps([seed, id])))
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


@lru_cache(maxsize=8)
def _hashes(texts: tuple[str, ...]) -> Hashes:
    return np.fromiter(map(hash64, texts), np.uint64, len(texts))


def _highest(tickets: Hashes, count: int) -> list[int]:
    """Return the indices of the highest tickets, unordered."""
    if count >= len(tickets):
        return list(range(len(tickets)))
    if count > _FEW:
        return np.argpartition(tickets, -count)[-count:].tolist()
    rest, places = tickets.copy(), []
    for _ in range(count):
        places.append(int(rest.argmax()))
        rest[places[-1]] = 0
    return places


def _check_kinds(kinds: Mapping[str, float]) -> None:
    for kind, weight in kinds.items():
        if kind not in PROMPT_KINDS:
            raise ConfigError(f'unknown kind of prompt "{kind}"', fix=suggest(kind, PROMPT_KINDS))
        if not 0 <= weight < math.inf:
            raise ConfigError(
                f'the weight of prompt kind "{kind}" is {weight}', fix="give 0 or a positive number"
            )
    if not any(kinds.values()):
        raise ConfigError(
            "no kind of prompt has a weight", fix=f"weigh one of {', '.join(PROMPT_KINDS)}"
        )
