"""Prompt pools: which instructions exist, and which of them suit a clip.

A pool is a text file, one prompt a line. A header in square brackets opens a section: first the
kind of its prompts, then what a clip must have for them to make sense, attribute names or the word
`transcription`, separated by commas. Blank lines and lines that begin with `#` are skipped.

    [ask Language]
    Which language is spoken here?
    [transform transcription]
    Summarise what the speaker says in one sentence.

System prompts lie beside them in `system.txt`, without sections. What the kinds are for, with
examples: docs/prompts.md.
"""

import hashlib
import importlib.resources
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

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
    lines, where = _read(f"{domain}.txt", directory)
    prompts = _parse(lines, where=where)
    if not prompts:
        raise ConfigError(f"prompt pool {where} holds no prompts", fix="write one prompt a line")
    return prompts


def load_systems(directory: Path | None = None) -> tuple[str, ...]:
    """Read the pool of system prompts, `system.txt`.

    Args:
        directory: folder with pools of the user's own; None for those of this package.

    Raises:
        ConfigError: the file is missing, empty or not UTF-8, or a prompt stands twice.
    """
    lines, where = _read("system.txt", directory)
    systems = tuple(text for _, text in _entries(lines, where=where))
    if not systems:
        raise ConfigError(f"prompt pool {where} holds no prompts", fix="write one prompt a line")
    return systems


def suits(prompt: Prompt, clip: Clip) -> bool:
    """Say whether the clip has all that the prompt speaks of."""
    if prompt.needs_transcription and clip.transcription == NO_TRANSCRIPTION:
        return False
    return all(_known(name, clip) for name in prompt.needs)


def asks_unknown(prompt: Prompt, clip: Clip) -> bool:
    """Say whether the prompt asks for the value of an attribute that the clip has not."""
    return prompt.kind == "ask" and not all(_known(name, clip) for name in prompt.needs)


def pool_hash(pools: Mapping[Domain, Iterable[Prompt]], systems: Iterable[str] = ()) -> str:
    """Return the SHA-256 of all that a draw depends on; the order of prompts is not part of it."""
    content: dict[str, list[Any]] = {
        domain: sorted([p.text, p.kind, sorted(p.needs), p.needs_transcription] for p in pool)
        for domain, pool in pools.items()
    }
    if pooled := sorted(systems):
        content["system"] = pooled
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _known(name: str, clip: Clip) -> bool:
    return name == _DURATION or bool(clip.attributes.get(name))


def _read(name: str, directory: Path | None) -> tuple[list[str], str]:
    """Return the lines of a pool and the path to name in errors about it."""
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
        return file.read_text(encoding="utf-8").splitlines(), str(file)
    except UnicodeDecodeError as error:
        raise ConfigError(f"prompt pool {file} is not UTF-8", fix="save it as UTF-8") from error


def _entries(lines: Sequence[str], *, where: str) -> Iterator[tuple[int, str]]:
    """Yield headers and prompts with the numbers of their lines.

    Raises:
        ConfigError: a prompt stands twice.
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


def _parse(lines: Sequence[str], *, where: str) -> tuple[Prompt, ...]:
    header: tuple[str, frozenset[str]] | None = None
    prompts = []
    for number, text in _entries(lines, where=where):
        if text.startswith("["):
            header = _parse_header(text, where=f"{where}:{number}")
            continue
        if header is None:
            raise ConfigError(
                f"{where}:{number} is a prompt before the first header",
                fix='write a header such as "[describe]" above it',
            )
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
