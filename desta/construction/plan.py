"""What construction will ask, all of it: which clips, which prompts, in which words."""

import heapq
import random
from collections.abc import Sequence
from dataclasses import dataclass

from desta.config import suggest
from desta.construction.config import ClipsConfig, ConstructConfig
from desta.construction.description import describe
from desta.construction.filters import ClosedSets, closed_sets
from desta.construction.prompts import (
    Prompt,
    asks_unknown,
    draw,
    draw_system,
    load_pool,
    load_systems,
    pool_hash,
)
from desta.construction.responses import generation_messages, training_messages
from desta.errors import ConfigError, DataError
from desta.records import (
    DOMAINS,
    NO_TRANSCRIPTION,
    AudioRef,
    AudioTextPair,
    Clip,
    Message,
    read_clips,
)


@dataclass(frozen=True, kw_only=True)
class Job:
    """One pair to be made: all but its response."""

    id: str
    clip: Clip
    prompt: Prompt
    description: str
    messages: tuple[Message, ...]
    """As the model is trained on them."""
    request: tuple[Message, ...]
    """As the backbone reads them."""

    @property
    def unknown(self) -> bool:
        """It asks for what is not known of the clip."""
        return asks_unknown(self.prompt, self.clip)

    def pair(self, response: str) -> AudioTextPair:
        """Add the response; as published, it is not repeated in the messages."""
        return AudioTextPair(
            id=self.id,
            dataset=self.clip.source,
            seed_description=self.description,
            prompt=self.prompt.text,
            response=response,
            messages=self.messages,
        )


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All that follows from a recipe before the first response."""

    jobs: tuple[Job, ...]
    unsuited: tuple[str, ...]
    """Clips that no prompt suits."""
    closed_sets: ClosedSets
    prompt_pool: str
    """SHA-256 of the prompt pools."""


def make_plan(config: ConstructConfig) -> Plan:
    """Choose clips and prompts.

    Raises:
        ConfigError: a prompt pool is broken, or a weight names no kind.
        DataError: clips are missing or have the same id, or none is left.
    """
    pools = {domain: load_pool(domain, config.prompts) for domain in DOMAINS}
    systems = load_systems(config.prompts) if config.systems == "pool" else ()
    known: list[Clip] = []
    jobs: list[Job] = []
    unsuited: list[str] = []
    for corpus in config.clips:
        clips = read_clips(corpus.path)
        _check_names(corpus, clips)
        known += clips
        allowed = {domain: _allowed(pool, corpus, config) for domain, pool in pools.items()}
        for clip in _select(clips, corpus, config):
            prompts = _draw(allowed[clip.domain], clip, corpus, config)
            jobs += [_job(clip, p, n, corpus, config, systems) for n, p in enumerate(prompts)]
            if not prompts:
                unsuited.append(clip.id)
    if not jobs:
        raise DataError(
            f'no clip of split "{config.split}" is left to construct from',
            fix="check `split`, `where` and `kinds` in the recipe",
        )
    seen: set[str] = set()
    for job in jobs:
        if job.id in seen:
            raise DataError(
                f"two clips have the id {job.clip.id!r}", fix="list every clips.jsonl once"
            )
        seen.add(job.id)
    return Plan(
        jobs=tuple(jobs),
        unsuited=tuple(unsuited),
        closed_sets=closed_sets(known),
        prompt_pool=pool_hash(pools, systems),
    )


def _check_names(corpus: ClipsConfig, clips: Sequence[Clip]) -> None:
    """Refuse attributes and values that no clip has: they would silently select nothing."""
    values: dict[str, set[str]] = {}
    for clip in clips:
        for name, value in clip.attributes.items():
            values.setdefault(name, set()).add(value)
    known = [*values, "Duration"]
    for name in (*corpus.where, *corpus.per_value, *(corpus.ask_for or ())):
        if name not in known:
            raise ConfigError(
                f'no clip of {corpus.path} has the attribute "{name}"', fix=suggest(name, known)
            )
    for name, wanted in corpus.where.items():
        for value in wanted:
            if value not in values.get(name, ()):
                raise ConfigError(
                    f'no clip of {corpus.path} has {name} "{value}"',
                    fix=suggest(value, sorted(values.get(name, ()))),
                )


def _select(clips: Sequence[Clip], corpus: ClipsConfig, config: ConstructConfig) -> list[Clip]:
    """Keep the clips of the split that the recipe wants, in their order."""
    chosen = [
        clip
        for clip in clips
        if clip.split == config.split
        and all(clip.attributes.get(name) in values for name, values in corpus.where.items())
    ]
    for name, most in corpus.per_value.items():
        by_value: dict[str, list[Clip]] = {}
        for clip in chosen:
            if value := clip.attributes.get(name):
                by_value.setdefault(value, []).append(clip)
        drawn = {
            clip.id
            for group in by_value.values()
            for clip in heapq.nsmallest(most, group, key=lambda c: _ticket(config.seed, c.id))
        }
        chosen = [c for c in chosen if c.id in drawn or not c.attributes.get(name)]
    return chosen


def _allowed(
    pool: Sequence[Prompt], corpus: ClipsConfig, config: ConstructConfig
) -> tuple[Prompt, ...]:
    """Keep the prompts that the recipe lets ask about clips of the corpus."""
    return tuple(
        prompt
        for prompt in pool
        if (config.description.transcription or not prompt.needs_transcription)
        and (corpus.ask_for is None or prompt.needs.issubset(corpus.ask_for))
    )


def _draw(
    pool: Sequence[Prompt], clip: Clip, corpus: ClipsConfig, config: ConstructConfig
) -> list[Prompt]:
    """Draw the prompts of a clip; in the stated share of clips the last asks for the unknown."""
    count, kinds = corpus.prompts_per_clip, config.kinds.get(clip.domain)
    prompts = draw(pool, clip, count=count, seed=config.seed, kinds=kinds)
    if _ticket(config.seed, f"{clip.id}?") < config.unknown_share:
        unknown = draw(pool, clip, count=1, seed=config.seed, unknown=True)
        return [*prompts[: count - len(unknown)], *unknown]
    return prompts


def _ticket(seed: int, id: str) -> float:
    """Return a number in [0, 1) that depends on the id alone: new clips displace few others."""
    return random.Random(f"{seed}/{id}").random()


def _job(
    clip: Clip,
    prompt: Prompt,
    number: int,
    corpus: ClipsConfig,
    config: ConstructConfig,
    systems: Sequence[str],
) -> Job:
    id = f"{clip.id}#{number}"
    description = describe(clip, config.description)
    withheld = _ticket(config.seed, id) < config.withhold
    heard = AudioRef(
        audio=str(corpus.root / clip.audio),
        text=NO_TRANSCRIPTION if withheld else clip.transcription,
    )
    system = draw_system(systems, id, seed=config.seed) if systems else config.system
    messages = training_messages(system, prompt, heard)
    return Job(
        id=id,
        clip=clip,
        prompt=prompt,
        description=description,
        messages=messages,
        request=generation_messages(messages, description),
    )
