"""First pass over the clips: collects what planning must know about all of them.

Of each clip only eight bytes of its id stay in memory, and twelve more if the recipe limits the
clips per value.
"""

from array import array
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from desta.config import suggest
from desta.construction.attribute_values import ClosedSets, closed_sets
from desta.construction.config import ClipsConfig, ConstructConfig
from desta.construction.groups import WAYS
from desta.construction.pool import hash64, ticket
from desta.errors import ConfigError, DataError
from desta.records import Clip, stream_clips


@dataclass(frozen=True, kw_only=True)
class Survey:
    """Result of the first pass."""

    closed_sets: ClosedSets
    chosen: tuple[NDArray[np.bool_], ...]
    """For each corpus: whether each clip selected by its recipe is used, in order."""
    num_prompts: int
    """Expected number of prompts: clips may get fewer, and groups are counted by their share."""


def survey_clips(config: ConstructConfig) -> Survey:
    """Read all clips once.

    Raises:
        ConfigError: a recipe names an attribute or a value that no clip has.
        DataError: clips are missing or have the same id, or none is left.
    """
    corpora = [_Corpus(corpus, config) for corpus in config.clips]
    sets = closed_sets(clip for corpus in corpora for clip in corpus.read())
    chosen = tuple(corpus.choose() for corpus in corpora)
    counts = [int(mask.sum()) for mask in chosen]
    if not any(counts):
        raise DataError(
            f'no clip of split "{config.split}" is left to construct from',
            fix="check `split`, `where` and `kinds` in the recipe",
        )
    ids = [corpus.ids()[mask] for corpus, mask in zip(corpora, chosen, strict=True)]
    _check_ids(np.concatenate(ids), config)
    prompts = [c.prompts_per_clip + sum(wish.share for wish in c.groups) for c in config.clips]
    return Survey(
        closed_sets=sets,
        chosen=chosen,
        num_prompts=round(sum(n * count for n, count in zip(prompts, counts, strict=True))),
    )


def wanted(clip: Clip, corpus: ClipsConfig, config: ConstructConfig) -> bool:
    """Return whether a clip has the split, the length and the values that the recipe selects."""
    return (
        clip.split == config.split
        and clip.duration >= corpus.min_seconds
        and all(clip.attributes.get(name) in values for name, values in corpus.where.items())
    )


class _Corpus:
    """Facts about the clips of one `clips.jsonl`, collected while they are read."""

    def __init__(self, corpus: ClipsConfig, config: ConstructConfig) -> None:
        self._corpus = corpus
        self._config = config
        self._ids = array("Q")
        self._tickets = array("d")
        self._values = {name: array("i") for name in corpus.per_value}

    def read(self) -> Iterator[Clip]:
        """Yield every clip."""
        corpus = self._corpus
        names = {"Duration": None}  # in the order of the corpus
        values: dict[str, set[str]] = {name: set() for name in corpus.where}
        codes: dict[str, dict[str, int]] = {name: {} for name in corpus.per_value}
        for clip in stream_clips(corpus.path):
            names |= dict.fromkeys(clip.attributes)
            for name, found in values.items():
                if value := clip.attributes.get(name):
                    found.add(value)
            if wanted(clip, corpus, self._config):
                self._ids.append(hash64(clip.id))
                if codes:
                    self._tickets.append(ticket(self._config.seed, clip.id))
                for name, known in codes.items():
                    value = clip.attributes.get(name)
                    self._values[name].append(known.setdefault(value, len(known)) if value else -1)
            yield clip
        _check_names(corpus, list(names), values)

    def ids(self) -> NDArray[np.uint64]:
        """Return digests of the ids of the selected clips."""
        return np.frombuffer(self._ids, np.uint64)

    def choose(self) -> NDArray[np.bool_]:
        """Draw clips if the recipe limits the number per value; otherwise use all."""
        chosen = np.ones(len(self._ids), bool)
        tickets = np.frombuffer(self._tickets)
        for name, most in self._corpus.per_value.items():
            codes = np.frombuffer(self._values[name], np.intc)
            [places] = np.nonzero(chosen & (codes >= 0))
            places = places[np.lexsort((tickets[places], codes[places]))]
            ordered = codes[places]  # sorted by value, then ticket
            rank = np.arange(len(ordered)) - np.searchsorted(ordered, ordered)
            chosen[places[rank >= most]] = False
        return chosen


def _check_names(corpus: ClipsConfig, known: list[str], values: dict[str, set[str]]) -> None:
    """Refuse attributes and values that no clip has, which would silently select nothing."""
    shared = (wish.by for wish in corpus.groups if wish.by not in WAYS)
    for name in (*corpus.where, *corpus.per_value, *(corpus.ask_for or ()), *shared):
        if name not in known:
            raise ConfigError(
                f'no clip of {corpus.path} has the attribute "{name}"', fix=suggest(name, known)
            )
    for name, asked in corpus.where.items():
        for value in asked:
            if value not in values[name]:
                raise ConfigError(
                    f'no clip of {corpus.path} has {name} "{value}"',
                    fix=suggest(value, sorted(values[name])),
                )


def _check_ids(digests: NDArray[np.uint64], config: ConstructConfig) -> None:
    """Refuse two clips with the same id; clips with equal digests are read again to compare."""
    digests = np.sort(digests)
    twice = {int(digest) for digest in digests[1:][digests[1:] == digests[:-1]]}
    seen: set[str] = set()
    for corpus in config.clips if twice else ():
        for clip in stream_clips(corpus.path):
            if not wanted(clip, corpus, config) or hash64(clip.id) not in twice:
                continue
            if clip.id in seen:
                raise DataError(
                    f"two clips have the id {clip.id!r}", fix="list every clips.jsonl once"
                )
            seen.add(clip.id)
