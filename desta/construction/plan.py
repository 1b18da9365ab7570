"""What construction asks: which prompts a clip gets, in which words; one clip after another."""

from collections.abc import Iterator
from dataclasses import dataclass

from desta.construction.config import ClipsConfig, ConstructConfig
from desta.construction.description import describe
from desta.construction.pool import PromptPool, draw_system, ticket
from desta.construction.prompts import Prompt, asks_unknown, load_pool, load_systems, pool_hash
from desta.construction.responses import generation_messages, training_messages
from desta.construction.survey import Survey, wanted
from desta.records import (
    DOMAINS,
    NO_TRANSCRIPTION,
    AudioRef,
    AudioTextPair,
    Clip,
    Domain,
    Message,
    stream_clips,
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


class Planner:
    """Turns clips into jobs; what it makes of a clip follows from recipe and clip alone."""

    def __init__(self, config: ConstructConfig) -> None:
        """Load the prompts.

        Raises:
            ConfigError: a prompt pool is broken, or a weight names no kind.
        """
        self._config = config
        self._pools = {domain: load_pool(domain, config.prompts) for domain in DOMAINS}
        self._systems = load_systems(config.prompts) if config.systems == "pool" else ()
        self._drawn = [
            {domain: self._allowed(domain, corpus) for domain in DOMAINS} for corpus in config.clips
        ]
        self.prompt_pool = pool_hash(self._pools, self._systems)
        """SHA-256 of the prompt pools."""

    def plan(self, survey: Survey) -> Iterator[tuple[Clip, list[Job]]]:
        """Read the clips again and yield those that are used with their jobs, in their order."""
        config = self._config
        for corpus, pools, chosen in zip(config.clips, self._drawn, survey.chosen, strict=True):
            clips = (c for c in stream_clips(corpus.path) if wanted(c, corpus, config))
            for clip, used in zip(clips, chosen.tolist(), strict=True):
                if used:
                    prompts = self._draw(pools[clip.domain], clip, corpus)
                    yield clip, [self._job(clip, p, n, corpus) for n, p in enumerate(prompts)]

    def _allowed(self, domain: Domain, corpus: ClipsConfig) -> PromptPool:
        """Keep the prompts that the recipe lets ask about clips of the corpus."""
        prompts = (
            prompt
            for prompt in self._pools[domain]
            if (self._config.description.transcription or not prompt.needs_transcription)
            and (corpus.ask_for is None or prompt.needs.issubset(corpus.ask_for))
        )
        return PromptPool(prompts, self._config.kinds.get(domain))

    def _draw(self, pool: PromptPool, clip: Clip, corpus: ClipsConfig) -> list[Prompt]:
        """Draw the prompts of a clip; in the stated share of clips the last asks the unknown."""
        seed, count = self._config.seed, corpus.prompts_per_clip
        prompts = pool.draw(clip, count=count, seed=seed)
        share = self._config.unknown_share
        if share and ticket(seed, f"{clip.id}?") < share:
            # of the whole pool's prompts of that sort each is equally likely: kinds do not matter
            unknown = pool.draw(clip, count=1, seed=seed, unknown=True)
            return [*prompts[: count - len(unknown)], *unknown]
        return prompts

    def _job(self, clip: Clip, prompt: Prompt, number: int, corpus: ClipsConfig) -> Job:
        config = self._config
        id = f"{clip.id}#{number}"
        description = describe(
            clip, config.description, needs=prompt.needs, pair=id, seed=config.seed
        )
        withheld = config.withhold > 0 and ticket(config.seed, id) < config.withhold
        heard = AudioRef(
            audio=str(corpus.root / clip.audio),
            text=NO_TRANSCRIPTION if withheld else clip.transcription,
        )
        systems = self._systems
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
