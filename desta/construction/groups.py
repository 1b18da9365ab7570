"""Groups: several clips that one prompt is about.

Partners are found among the clips that stand near each other in a corpus (a `Block`), so that
nothing but a block is held in memory. The ways are those of the published code: any other clips,
those that come next, the same clip again, or clips with the same value of an attribute.
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
"""Clips among which partners are found."""

RANDOM, NEXT, SAME = WAYS = ("random", "next", "same")


@dataclass(frozen=True, kw_only=True)
class GroupsConfig:
    """Pairs about several clips at once, beside those about one."""

    share: float
    """Share of clips that get such a pair, with others of their corpus."""
    size: int = 2
    """Clips in a group."""
    by: str = RANDOM
    """`random`: any other clips. `next`: those that follow in `clips.jsonl`, such as the next turns
    of a talk. `same`: the same clip again. Else an attribute of which they have the same value."""

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ConfigError(
                f"groups: share = {self.share} is no share of clips",
                fix="give more than 0, up to 1",
            )
        if self.size < 2:
            raise ConfigError(f"groups: size = {self.size} is no group", fix="give 2 or more")


@dataclass(frozen=True)
class Group:
    """The clips of a pair, one or several, in the order in which they are heard."""

    clips: tuple[Clip, ...]

    @property
    def id(self) -> str:
        """As in the published code, the ids of the clips with `@` between them."""
        return "@".join(clip.id for clip in self.clips)

    @property
    def shared(self) -> Clip:
        """What is known of every clip, as one: a prompt that suits this suits the group."""
        names = [
            n for n in self.clips[0].attributes if all(c.attributes.get(n) for c in self.clips)
        ]
        spoken = all(clip.transcription != NO_TRANSCRIPTION for clip in self.clips)
        return self._merge(names, spoken)

    @cached_property
    def union(self) -> Clip:
        """What is known of any clip, as one: a value that this has not is wrong of all of them."""
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
    """Clips that stand beside each other in a corpus, and the groups that they form."""

    def __init__(self, clips: Sequence[Clip], *, corpus: int = 0, seed: int) -> None:
        """Take the clips, in their order, and the number of their corpus in the recipe."""
        self.clips = clips
        self.corpus = corpus
        self._seed = seed
        self._places: dict[str, dict[str, list[int]]] = {}

    def groups(
        self, place: int, wishes: Sequence[GroupsConfig]
    ) -> Iterator[tuple[int, Group | None]]:
        """Yield the groups that a clip is the first of, each with the number of the wish.

        What is drawn follows from the seed and the clips of the block. A clip that was drawn and
        has too few partners in it is the first of None.

        Args:
            place: of the clip in the block.
            wishes: how many clips get a group, and which.
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
        own = bisect_left(fellows, place)  # it is no partner of itself
        chosen = (fellows[other + (other >= own)] for other in others)
        return Group((clip, *(self.clips[index] for index in chosen)))

    def _fellows(self, place: int, by: str) -> Sequence[int]:
        """Return the places of all that may be in one group with a clip, itself included."""
        if by == RANDOM:
            return range(len(self.clips))
        if by not in self._places:
            places: dict[str, list[int]] = {}
            for other, clip in enumerate(self.clips):
                places.setdefault(clip.attributes.get(by, ""), []).append(other)
            self._places[by] = places
        value = self.clips[place].attributes.get(by)
        return self._places[by][value] if value else ()
