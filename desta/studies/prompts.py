"""Study `prompts`: how many different prompts does it take?"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from desta.construction.config import ConstructConfig
from desta.construction.pool import ticket
from desta.construction.prompts import Prompt, load_pool, suits
from desta.errors import ConfigError
from desta.files import write_atomic
from desta.records import DOMAINS, Clip, Domain, stream_clips
from desta.studies.recipe import Base
from desta.studies.variant import Family, Variant, variant

COUNTS = (1, 10, 100)
DESCRIBE = "describe"


def variants(base: Base) -> list[Variant]:
    """Return pools of all prompts, and of fewer; each smaller one lies in the larger."""
    free = replace(
        base.construct,
        kinds={},  # a pool of one prompt has one kind
        ask_evenly=False,
        unknown_share=0.0,
        clips=tuple(replace(c, prompts_per_clip=1, groups=()) for c in base.construct.clips),
    )
    return [
        variant(base, "all", "the whole pool", construct=free),
        *(
            variant(
                base,
                f"{count}" if count > 1 else "one",
                f"at most {count} prompts a domain" if count > 1 else "one prompt: describe it",
                construct=free,
                num_prompts=count,
            )
            for count in reversed(COUNTS)
        ),
    ]


def draw_prompts(config: ConstructConfig, count: int) -> dict[Domain, tuple[Prompt, ...]]:
    """Draw prompts of each domain that suit its clips; the first one asks for a description.

    Args:
        config: clips, prompts and the seed of the draw.
        count: most prompts of a domain.

    Raises:
        ConfigError: no prompt of a domain asks for a description.
        DataError: clips cannot be read.
    """
    clips = _kinds_of_clips(config)
    drawn: dict[Domain, tuple[Prompt, ...]] = {}
    for domain in DOMAINS:
        pool = load_pool(domain, config.prompts)
        fitting = [p for p in pool if _is_drawn(p, config, clips.get(domain, ()))]
        order = sorted(
            fitting,
            key=lambda p: (p.kind != DESCRIBE or bool(p.needs), ticket(config.seed, p.text)),
        )
        if order and order[0].kind != DESCRIBE:
            raise ConfigError(
                f"no prompt of the pool {domain} asks for a description of any clip",
                fix="put one below a header [describe]",
            )
        rest = sorted(order[1:], key=lambda p: ticket(config.seed, p.text))
        drawn[domain] = (*order[:1], *rest[: count - 1]) or pool[:1]  # no clip: any will do
    return drawn


def write_prompts(config: ConstructConfig, count: int, folder: Path) -> None:
    """Write pools of few prompts for a recipe."""
    folder.mkdir(parents=True, exist_ok=True)
    for domain, prompts in draw_prompts(config, count).items():
        lines = [line for prompt in prompts for line in (_header(prompt), prompt.text)]
        write_atomic(folder / f"{domain}.txt", ("\n".join(lines) + "\n").encode())


def _kinds_of_clips(
    config: ConstructConfig,
) -> dict[Domain, list[tuple[Clip, Sequence[str] | None]]]:
    """Return a clip of each set of known attributes, with what may be asked of it, by domain."""
    found: dict[Domain, dict[object, tuple[Clip, Sequence[str] | None]]] = {}
    for corpus in config.clips:
        for clip in stream_clips(corpus.path):
            key = (frozenset(clip.attributes), clip.transcription.isspace(), corpus.ask_for)
            found.setdefault(clip.domain, {}).setdefault(key, (clip, corpus.ask_for))
    return {domain: list(kinds.values()) for domain, kinds in found.items()}


def _is_drawn(
    prompt: Prompt,
    config: ConstructConfig,
    clips: Iterable[tuple[Clip, Sequence[str] | None]],
) -> bool:
    if prompt.needs_transcription and not config.description.transcription:
        return False
    return any(
        suits(prompt, clip) and (asked is None or prompt.needs.issubset(asked))
        for clip, asked in clips
    )


def _header(prompt: Prompt) -> str:
    needs = sorted(prompt.needs) + (["transcription"] if prompt.needs_transcription else [])
    return f"[{' '.join([prompt.kind, ', '.join(needs)]).strip()}]"


FAMILY = Family(
    name="prompts",
    title="How many different prompts?",
    expected=(
        "Varied prompts beat one prompt: a model that was always asked for a description describes "
        "whatever it is asked (DeSTA2.5-Audio, arXiv 2507.02768)."
    ),
    variants=variants,
)
