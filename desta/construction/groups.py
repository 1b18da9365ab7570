"""Groups of clips for prompts about several clips.

Partners are drawn from neighbouring clips of a corpus (a `Block`), so that only one block is held
in memory. The ways to group are those of the published code: any other clips, the next clips, the
same clip again, or clips with the same value of an attribute.
"""

import random
from bisect import bisect_left
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from desta.construction.pool import ticket
from desta.errors import ConfigError
from desta.records import NO_TRANSCRIPTION, Clip
from desta.sources.glossary import JOINED

BLOCK = 4096
"""Number of clips among which partners are drawn."""

RANDOM, NEXT, SAME = WAYS = ("random", "next", "same")


@dataclass(frozen=True, kw_only=True)
class GroupsConfig:
    """Configuration of pairs about several clips."""

    share: float
    """Share of clips that get such a pair."""
    size: int = 2
    """Clips in a group."""
    by: str = RANDOM
    """`random`: any other clips. `next`: the next clips in `clips.jsonl`, such as the next turns of
    a conversation. `same`: the same clip again. Else an attribute whose value they share."""

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ConfigError(
                f"groups: share = {self.share} is not a share of clips",
                fix="give more than 0, up to 1",
            )
        if self.size < 2:
            raise ConfigError(f"groups: size = {self.size} is not a group", fix="give 2 or more")


@dataclass(frozen=True)
class Group:
    """The clips of a pair, one or several, in the order of their locators."""

    clips: tuple[Clip, ...]

    @property
    def id(self) -> str:
        """The ids of the clips joined by `@`, as in the published code."""
        return "@".join(clip.id for clip in self.clips)

    @property
    def shared(self) -> Clip:
        """One clip with the metadata that all clips have: its prompts suit the group."""
        names = [
            n for n in self.clips[0].attributes if all(c.attributes.get(n) for c in self.clips)
        ]
        spoken = all(clip.transcription != NO_TRANSCRIPTION for clip in self.clips)
        return self._merge(names, spoken)

    @cached_property
    def union(self) -> Clip:
        """One clip with the metadata of all clips: a value that it lacks is wrong for the group."""
        if len(self.clips) == 1:
            return self.clips[0]
        return self._merge(dict.fromkeys(name for c in self.clips for name in c.attributes), True)

    def _merge(self, names: Collection[str], spoken: bool) -> Clip:
        values = {n: dict.fromkeys(c.attributes.get(n, "") for c in self.clips) for n in names}
        return replace(
            self.clips[0],
            id=self.id,
            duration=sum(clip.duration for clip in self.clips),
            segments=tuple(s for clip in self.clips if spoken for s in clip.segments),
            attributes={name: JOINED.join(filter(None, found)) for name, found in values.items()},
        )


class Block:
    """Neighbouring clips of a corpus, and the groups that they form."""

    def __init__(self, clips: Sequence[Clip], *, corpus: int = 0, seed: int) -> None:
        """Create a block.

        Args:
            clips: clips in the order of their corpus.
            corpus: index of the corpus in the recipe.
            seed: seed of the draw.
        """
        self.clips = clips
        self.corpus = corpus
        self._seed = seed
        self._places: dict[str, dict[str, list[int]]] = {}

    def groups(
        self, place: int, wishes: Sequence[GroupsConfig]
    ) -> Iterator[tuple[int, Group | None]]:
        """Yield the groups that begin with a clip, each with the index of its configuration.

        The draw depends on the seed and the clips of the block alone. None stands for a group with
        too few partners.

        Args:
            place: index of the clip in the block.
            wishes: configurations of groups.
        """
        for number, wish in enumerate(wishes):
            draw = f"{self.clips[place].id}/{wish.by}/{wish.size}"
            if ticket(self._seed, draw) < wish.share:
                yield number, self._group(place, wish, draw)

    def _group(self, place: int, wish: GroupsConfig, draw: str) -> Group | None:
        clip = self.clips[place]
        if wish.by == SAME:
            return Group((clip,) * wish.size)
        if wish.by == NEXT:
            following = self.clips[place : place + wish.size]
            return Group(tuple(following)) if len(following) == wish.size else None
        fellows = self._fellows(place, wish.by)
        if len(fellows) < wish.size:
            return None
        others = random.Random(f"{self._seed}/{draw}/partners").sample(
            range(len(fellows) - 1), wish.size - 1
        )
        own = bisect_left(fellows, place)  # a clip is not its own partner
        chosen = (fellows[other + (other >= own)] for other in others)
        return Group((clip, *(self.clips[index] for index in chosen)))

    def _fellows(self, place: int, by: str) -> Sequence[int]:
        """Return the indices of the clips that may be grouped with a clip, including its own."""
        if by == RANDOM:
            return range(len(self.clips))
        if by not in self._places:
            places: dict[str, list[int]] = {}
            for other, clip in enumerate(self.clips):
                places.setdefault(clip.attributes.get(by, ""), []).append(other)
            self._places[by] = places
        value = self.clips[place].attributes.get(by)
        return self._places[by][value] if value else ()
