"""Prompt pools, and the choice of prompts that suit a clip.

A pool is a text file with one prompt per line. A header in square brackets opens a section: first
the kind of its prompts, then what a clip must have for them to make sense, attribute names or the
word `transcription`, separated by commas. Blank lines and lines that begin with `#` are skipped.

    [ask Language]
    Which language is spoken here?
    [transform transcription]
    Summarise what the speaker says in one sentence.

The pool `multi.txt` holds prompts about several clips, with kinds of its own. All of the clips must
have the names in a header, and a number is the number of clips: `[compare 2, Gender]`.

System prompts are in `system.txt`, without sections. All kinds with examples:
docs/guides/prompts.md.
"""

import hashlib
import importlib.resources
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Literal

from desta.config import suggest
from desta.errors import ConfigError
from desta.records import NO_TRANSCRIPTION, Clip, Domain

PROMPT_KINDS = ("describe", "ask", "reason", "converse", "transform", "role-play", "format")
"""Kinds of prompts: `ask` is for the value of one attribute, `transform` for a task on the words,
`format` prescribes the form of the response."""

MULTI_KINDS = ("compare", "count", "which", "order", "common", "each")
"""Kinds of prompts about several clips: `which` picks clips, `each` goes through them."""

PoolName = Domain | Literal["multi"]

_TRANSCRIPTION = "transcription"
_DURATION = "Duration"  # known for every clip, also if its attributes do not list it


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """An instruction about a clip."""

    text: str
    kind: str
    """One of `PROMPT_KINDS` or, for several clips, of `MULTI_KINDS`."""
    needs: frozenset[str] = frozenset()
    """Attributes that the clip must have."""
    needs_transcription: bool = False
    num_clips: int | None = None
    """Number of clips that it is about; None for any number that its pool is for."""


def load_pool(name: PoolName, directory: Path | None = None) -> tuple[Prompt, ...]:
    """Read the prompt pool of a domain, or the one for several clips.

    Args:
        name: name of the file, without `.txt`.
        directory: folder with custom pools; None for those of this package.

    Raises:
        ConfigError: the file is missing, empty or not UTF-8, a header is malformed, or a prompt
            appears twice or before the first header.
    """
    lines, where = _read(f"{name}.txt", directory)
    prompts = _parse(lines, MULTI_KINDS if name == "multi" else PROMPT_KINDS, where=where)
    if not prompts:
        raise ConfigError(f"prompt pool {where} holds no prompts", fix="write one prompt a line")
    return prompts


def load_systems(directory: Path | None = None) -> tuple[str, ...]:
    """Read the pool of system prompts, `system.txt`.

    Args:
        directory: folder with custom pools; None for those of this package.

    Raises:
        ConfigError: the file is missing, empty or not UTF-8, or a prompt appears twice.
    """
    lines, where = _read("system.txt", directory)
    systems = tuple(text for _, text in _entries(lines, where=where))
    if not systems:
        raise ConfigError(f"prompt pool {where} holds no prompts", fix="write one prompt a line")
    return systems


def suits(prompt: Prompt, clip: Clip) -> bool:
    """Return whether a clip has all that a prompt needs."""
    if prompt.needs_transcription and clip.transcription == NO_TRANSCRIPTION:
        return False
    return all(_known(name, clip) for name in prompt.needs)


def asks_unknown(prompt: Prompt, clip: Clip) -> bool:
    """Return whether a prompt asks for an attribute that a clip does not have."""
    return prompt.kind == "ask" and not all(_known(name, clip) for name in prompt.needs)


def pool_hash(pools: Mapping[PoolName, Iterable[Prompt]], systems: Iterable[str] = ()) -> str:
    """Return the SHA-256 of the prompts that draws depend on, whatever their order."""
    content: dict[str, list[Any]] = {
        name: sorted(
            [p.text, p.kind, sorted(p.needs), p.needs_transcription, *filter(None, [p.num_clips])]
            for p in pool
        )
        for name, pool in pools.items()
    }
    if pooled := sorted(systems):
        content["system"] = pooled
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _known(name: str, clip: Clip) -> bool:
    return name == _DURATION or bool(clip.attributes.get(name))


def _read(name: str, directory: Path | None) -> tuple[list[str], str]:
    """Return the lines of a pool, and its path for error messages."""
    folder: Traversable = (
        importlib.resources.files("desta") / "assets" / "prompts"
        if directory is None
        else directory
    )
    file = folder / name
    if not file.is_file():
        raise ConfigError(
            f"prompt pool {file} not found", fix=f"put a file {name}, one prompt a line, there"
        )
    try:
        return file.read_text(encoding="utf-8-sig").splitlines(), str(file)
    except UnicodeDecodeError as error:
        raise ConfigError(f"prompt pool {file} is not UTF-8", fix="save it as UTF-8") from error


def _entries(lines: Sequence[str], *, where: str) -> Iterator[tuple[int, str]]:
    """Yield headers and prompts with their line numbers.

    Raises:
        ConfigError: a prompt appears twice.
    """
    seen: dict[str, int] = {}
    for number, line in enumerate(lines, start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        if text in seen and not text.startswith("["):
            raise ConfigError(
                f"{where}:{number} repeats the prompt of line {seen[text]}",
                fix="delete one of the two",
            )
        seen[text] = number
        yield number, text


def _parse(lines: Sequence[str], kinds: Sequence[str], *, where: str) -> tuple[Prompt, ...]:
    header: Prompt | None = None
    prompts = []
    for number, text in _entries(lines, where=where):
        if text.startswith("["):
            header = _parse_header(text, kinds, where=f"{where}:{number}")
            continue
        if header is None:
            raise ConfigError(
                f"{where}:{number} is a prompt before the first header",
                fix='write a header such as "[describe]" above it',
            )
        prompts.append(replace(header, text=text))
    return tuple(prompts)


def _parse_header(text: str, kinds: Sequence[str], *, where: str) -> Prompt:
    """Return a prompt without text, with the requirements of a section."""
    if not text.endswith("]"):
        raise ConfigError(f'{where}: header "{text}" is not closed', fix='end it with "]"')
    kind, _, rest = text[1:-1].strip().partition(" ")
    if kind not in kinds:
        raise ConfigError(f'{where}: unknown kind of prompt "{kind}"', fix=suggest(kind, kinds))
    needs = [name.strip() for name in rest.split(",")] if rest else []
    if not all(needs):
        raise ConfigError(
            f'{where}: header "{text}" has an empty name',
            fix="separate attribute names by single commas",
        )
    counts = [name for name in needs if name.isdecimal() and kind in MULTI_KINDS]
    if len(counts) > 1 or any(int(count) < 2 for count in counts):
        raise ConfigError(
            f'{where}: header "{text}" does not state a number of clips',
            fix="give one number, 2 or more, or none",
        )
    return Prompt(
        text="",
        kind=kind,
        needs=frozenset(needs) - {_TRANSCRIPTION, *counts},
        needs_transcription=_TRANSCRIPTION in needs,
        num_clips=int(counts[0]) if counts else None,
    )
