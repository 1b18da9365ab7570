"""Planning of construction: prompts, descriptions and messages of every pair."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from desta.construction.config import ClipsConfig, ConstructConfig
from desta.construction.description import describe_clip
from desta.construction.groups import BLOCK, Block, Group
from desta.construction.messages import generation_messages, training_messages
from desta.construction.pool import PromptPool, draw_system, ticket
from desta.construction.prompts import (
    PoolName,
    Prompt,
    asks_unknown,
    load_pool,
    load_systems,
    pool_hash,
)
from desta.construction.survey import Survey, wanted
from desta.records import (
    DOMAINS,
    NO_TRANSCRIPTION,
    AudioRef,
    AudioTextPair,
    Clip,
    Message,
    stream_clips,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Job:
    """A pair without its response."""

    id: str
    clip: Clip
    """The clip; several clips as one (`Group.union`)."""
    prompt: Prompt
    description: str
    """Seed description, one line per clip."""
    messages: tuple[Message, ...]
    """Messages for training."""
    request: tuple[Message, ...]
    """Messages for generation by the backbone."""

    @property
    def unknown(self) -> bool:
        """Whether the prompt asks for an attribute that the clip does not have."""
        return asks_unknown(self.prompt, self.clip)

    def pair(self, response: str) -> AudioTextPair:
        """Return the pair with a response, which, as published, is not repeated in the messages."""
        return AudioTextPair(
            id=self.id,
            dataset=self.clip.source,
            seed_description=self.description,
            prompt=self.prompt.text,
            response=response,
            messages=self.messages,
        )


class Planner:
    """Planner of jobs, which depend on recipe and clip alone."""

    def __init__(self, config: ConstructConfig) -> None:
        """Load the prompt pools.

        Raises:
            ConfigError: a prompt pool is broken, or a weight names no kind.
        """
        self._config = config
        names: list[PoolName] = [*DOMAINS]
        if any(corpus.groups for corpus in config.clips):
            names.append("multi")
        self._pools = {name: load_pool(name, config.prompts) for name in names}
        self._systems = load_systems(config.prompts) if config.systems == "pool" else ()
        self._drawn = [
            {domain: self._allowed(domain, corpus) for domain in DOMAINS} for corpus in config.clips
        ]
        self._about_groups = [
            [self._allowed("multi", corpus, wish.size) for wish in corpus.groups]
            for corpus in config.clips
        ]
        self.prompt_pool = pool_hash(self._pools, self._systems)
        """SHA-256 of the prompt pools."""

    def plan(self, survey: Survey) -> Iterator[tuple[Clip, list[Job] | None]]:
        """Read the clips again and yield the chosen ones with their jobs, in order.

        A group follows its first clip, and is yielded as one clip. A clip that lacks partners for a
        group is yielded again, with None.
        """
        formed: set[tuple[int, int]] = set()
        for block in self.blocks(survey):
            for kind, clip, jobs in self.plan_block(block):
                if kind is not None:
                    formed.add((block.corpus, kind))
                yield clip, jobs
        for number, corpus in enumerate(self._config.clips):
            for n, wish in enumerate(corpus.groups):
                if (number, n) not in formed:
                    log.warning(
                        "no %d clips of %s were grouped by %s", wish.size, corpus.path, wish.by
                    )

    def blocks(self, survey: Survey) -> Iterator[Block]:
        """Read the chosen clips in blocks."""
        for number, (corpus, chosen) in enumerate(
            zip(self._config.clips, survey.chosen, strict=True)
        ):
            clips = (c for c in stream_clips(corpus.path) if wanted(c, corpus, self._config))
            used = (clip for clip, use in zip(clips, chosen.tolist(), strict=True) if use)
            while block := list(islice(used, BLOCK)):
                yield Block(block, corpus=number, seed=self._config.seed)

    def plan_block(self, block: Block) -> Iterator[tuple[int | None, Clip, list[Job] | None]]:
        """Yield the clips and groups of a block with their jobs.

        The result depends on recipe and block alone. A group comes with its index in the recipe's
        `groups`, a clip with None; jobs are None if partners are lacking, as in `plan`.
        """
        corpus = self._config.clips[block.corpus]
        pools = self._drawn[block.corpus]
        about_groups = self._about_groups[block.corpus]
        for place, clip in enumerate(block.clips):
            prompts = self._draw(pools[clip.domain], clip, corpus)
            alone = Group((clip,))
            yield None, clip, [self._job(alone, p, n, corpus) for n, p in enumerate(prompts)]
            for n, group in block.groups(place, corpus.groups):
                if group is None:
                    yield None, clip, None
                    continue
                prompts = about_groups[n].draw(group.shared, count=1, seed=self._config.seed)
                yield n, group.union, [self._job(group, p, n, corpus) for p in prompts]

    def jobs_of(self, block: Block) -> Iterator[Job]:
        """Yield the jobs of a block."""
        for _, _, jobs in self.plan_block(block):
            yield from jobs or ()

    def _allowed(self, name: PoolName, corpus: ClipsConfig, num_clips: int = 1) -> PromptPool:
        """Return the pool of prompts that the recipe allows for clips of the corpus."""
        prompts = (
            prompt
            for prompt in self._pools[name]
            if (self._config.description.transcription or not prompt.needs_transcription)
            and (corpus.ask_for is None or prompt.needs.issubset(corpus.ask_for))
            and prompt.num_clips in (None, num_clips)
        )
        kinds = None if name == "multi" else self._config.kinds.get(name)
        return PromptPool(prompts, kinds, evenly=self._config.ask_evenly)

    def _draw(self, pool: PromptPool, clip: Clip, corpus: ClipsConfig) -> list[Prompt]:
        """Draw the prompts of a clip; for `unknown_share` of clips the last asks for an unknown."""
        seed, count = self._config.seed, corpus.prompts_per_clip
        prompts = pool.draw(clip, count=count, seed=seed)
        share = self._config.unknown_share
        if share and ticket(seed, f"{clip.id}?") < share:
            # All such prompts of the pool are equally likely, whatever their kind.
            unknown = pool.draw(clip, count=1, seed=seed, unknown=True)
            return [*prompts[: count - len(unknown)], *unknown]
        return prompts

    def _job(self, group: Group, prompt: Prompt, number: int, corpus: ClipsConfig) -> Job:
        config = self._config
        id = f"{group.id}#{number}"
        descriptions = [
            describe_clip(clip, config.description, needs=prompt.needs, pair=id, seed=config.seed)
            for clip in group.clips
        ]
        withheld = config.withhold > 0 and ticket(config.seed, id) < config.withhold
        heard = [
            AudioRef(
                audio=str(corpus.root / clip.audio),
                text=NO_TRANSCRIPTION if withheld else clip.transcription,
            )
            for clip in group.clips
        ]
        systems = self._systems
        system = draw_system(systems, id, seed=config.seed) if systems else config.system
        messages = training_messages(system, prompt, *heard)
        return Job(
            id=id,
            clip=group.union,
            prompt=prompt,
            description="\n".join(descriptions),
            messages=messages,
            request=generation_messages(messages, *descriptions),
        )
