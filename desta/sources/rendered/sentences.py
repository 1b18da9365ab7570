"""Sentences that voices read: this project's own, in `assets/sentences/LANGUAGE.txt`.

Voices that are not for training read those of `assets/sentences/held_out`, which no other reads.

A line is a sentence; behind a tab follows its reading where spelling does not tell it (Japanese in
kana, words apart). A line `# TOPIC` opens a topic.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

_ASSETS = Path(__file__).parents[2] / "assets" / "sentences"


@dataclass(frozen=True, kw_only=True)
class Sentence:
    """A sentence of a language."""

    id: str
    """Language and number: `en-017`, or `en-held-out-017`."""
    topic: str
    text: str
    reading: str
    """Text to pronounce; equal to `text` where spelling tells the sound."""


@cache
def read_sentences(language: str, *, held_out: bool = False) -> tuple[Sentence, ...]:
    """Return the sentences of a language, by its code."""
    found: list[Sentence] = []
    topic = ""
    folder, name = (
        (_ASSETS / "held_out", f"{language}-held-out") if held_out else (_ASSETS, language)
    )
    for line in (folder / f"{language}.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            topic = line[1:].strip()
        elif line.strip():
            text, _, reading = line.strip().partition("\t")
            id = f"{name}-{len(found):03}"
            found.append(Sentence(id=id, topic=topic, text=text, reading=reading or text))
    return tuple(found)
