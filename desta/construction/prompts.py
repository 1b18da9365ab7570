"""Prompt pools: which instructions exist, which of them suit a clip, and which one it gets.

A pool is a text file, one prompt a line. A header in square brackets opens a section: first the
kind of its prompts, then what a clip must have for them to make sense, attribute names or the word
`transcription`, separated by commas. Blank lines and lines that begin with `#` are skipped.

    [ask Language]
    Which language is spoken here?
    [transform transcription]
    Summarise what the speaker says in one sentence.
"""

import hashlib
import importlib.resources
import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from pathlib import Path

from desta.config import suggest
from desta.errors import ConfigError
from desta.records import NO_TRANSCRIPTION, Clip, Domain

KINDS = ("describe", "ask", "reason", "converse", "transform", "role-play", "format")
"""`ask` wants the value of one attribute, `transform` works on the words, `format` prescribes the
shape of the response."""

_TRANSCRIPTION = "transcription"
_DURATION = "Duration"  # known of every clip, whether or not its attributes list it


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """One instruction about a clip."""

    text: str
    kind: str
    """One of `KINDS`."""
    needs: frozenset[str] = frozenset()
    """Attributes that the clip must have, written as its source writes them."""
    needs_transcription: bool = False


def load_pool(domain: Domain, directory: Path | None = None) -> tuple[Prompt, ...]:
    """Read the prompt pool of a domain.

    Args:
        domain: names the file, `<domain>.txt`.
        directory: folder with pools of the user's own; None for those of this package.

    Raises:
        ConfigError: the file is missing, empty or not UTF-8, a header is malformed, or a prompt
            stands twice or before the first header.
    """
    folder: Traversable = (
        importlib.resources.files("desta") / "assets" / "prompts"
        if directory is None
        else directory
    )
    file = folder / f"{domain}.txt"
    if not file.is_file():
        raise ConfigError(
            f"prompt pool {file} not found",
            fix=f"put a file {domain}.txt, one prompt a line, there",
        )
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ConfigError(f"prompt pool {file} is not UTF-8", fix="save it as UTF-8") from error
    prompts = _parse(lines, where=str(file))
    if not prompts:
        raise ConfigError(f"prompt pool {file} holds no prompts", fix="write one prompt a line")
    return prompts


def suits(prompt: Prompt, clip: Clip) -> bool:
    """Say whether the clip has all that the prompt speaks of."""
    if prompt.needs_transcription and clip.transcription == NO_TRANSCRIPTION:
        return False
    return all(name == _DURATION or clip.attributes.get(name) for name in prompt.needs)


def draw(
    pool: Iterable[Prompt],
    clip: Clip,
    *,
    count: int,
    seed: int,
    kinds: Mapping[str, float] | None = None,
) -> list[Prompt]:
    """Draw different prompts that suit a clip.

    Every prompt gets an exponential arrival time from a hash of seed, clip and prompt, and the
    first to arrive win, which is weighted sampling without replacement. So the draw depends neither
    on other clips nor on the order of the pool, and without `kinds` a prompt that is added to the
    pool changes only the draws that it wins.

    Args:
        pool: prompts with different texts.
        clip: what the prompts are about.
        count: prompts wanted; fewer are returned where fewer suit.
        seed: another seed, another draw.
        kinds: weight of each kind, shared by its prompts that suit the clip; a kind that is not
            named is not drawn. None makes every prompt equally likely.

    Raises:
        ConfigError: an unknown kind, a weight below 0, or no weight above 0.
    """
    if kinds is not None:
        _check_kinds(kinds)
    suitable = [prompt for prompt in pool if suits(prompt, clip)]
    siblings = Counter(prompt.kind for prompt in suitable)
    start = hashlib.blake2b(json.dumps([seed, clip.id]).encode(), digest_size=8)
    arrivals = []
    for prompt in suitable:
        weight = 1.0 if kinds is None else kinds.get(prompt.kind, 0.0) / siblings[prompt.kind]
        if weight > 0:
            ticket = start.copy()
            ticket.update(prompt.text.encode())
            uniform = (int.from_bytes(ticket.digest(), "big") + 1) / 2**64  # in (0, 1]
            arrivals.append((-math.log(uniform) / weight, prompt.text, prompt))
    return [prompt for _, _, prompt in sorted(arrivals, key=lambda a: a[:2])[:count]]


def pool_hash(pools: Mapping[Domain, Iterable[Prompt]]) -> str:
    """Return the SHA-256 of all that a draw depends on; the order of prompts is not part of it."""
    content = {
        domain: sorted([p.text, p.kind, sorted(p.needs), p.needs_transcription] for p in pool)
        for domain, pool in pools.items()
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _parse(lines: Sequence[str], *, where: str) -> tuple[Prompt, ...]:
    header: tuple[str, frozenset[str]] | None = None
    seen: dict[str, int] = {}
    prompts = []
    for number, line in enumerate(lines, start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        if text.startswith("["):
            header = _parse_header(text, where=f"{where}:{number}")
            continue
        if header is None:
            raise ConfigError(
                f"{where}:{number} is a prompt before the first header",
                fix='write a header such as "[describe]" above it',
            )
        if text in seen:
            raise ConfigError(
                f"{where}:{number} repeats the prompt of line {seen[text]}",
                fix="delete one of the two",
            )
        seen[text] = number
        kind, needs = header
        prompts.append(
            Prompt(
                text=text,
                kind=kind,
                needs=needs - {_TRANSCRIPTION},
                needs_transcription=_TRANSCRIPTION in needs,
            )
        )
    return tuple(prompts)


def _parse_header(text: str, *, where: str) -> tuple[str, frozenset[str]]:
    if not text.endswith("]"):
        raise ConfigError(f'{where}: header "{text}" is not closed', fix='end it with "]"')
    kind, _, rest = text[1:-1].strip().partition(" ")
    if kind not in KINDS:
        raise ConfigError(f'{where}: unknown kind of prompt "{kind}"', fix=suggest(kind, KINDS))
    needs = [name.strip() for name in rest.split(",")] if rest else []
    if not all(needs):
        raise ConfigError(
            f'{where}: header "{text}" has an empty name',
            fix="separate attribute names by single commas",
        )
    return kind, frozenset(needs)


def _check_kinds(kinds: Mapping[str, float]) -> None:
    for kind, weight in kinds.items():
        if kind not in KINDS:
            raise ConfigError(f'unknown kind of prompt "{kind}"', fix=suggest(kind, KINDS))
        if not 0 <= weight < math.inf:
            raise ConfigError(
                f'the weight of prompt kind "{kind}" is {weight}', fix="give 0 or a positive number"
            )
    if not any(kinds.values()):
        raise ConfigError("no kind of prompt has a weight", fix=f"weigh one of {', '.join(KINDS)}")
