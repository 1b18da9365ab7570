"""Conversation on the page, and the body of the request that continues it."""

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Clip:
    """A recording that somebody recorded or dropped."""

    path: Path
    heard: str = ""
    """Transcription that the model used last."""
    edited: str | None = None
    """Transcription that was typed in its place; None leaves it to the model."""


@dataclass
class Turn:
    """A question with its clips, and the answer."""

    question: str
    clips: list[Clip] = field(default_factory=list)
    answer: str = ""


@dataclass
class Talk:
    """Conversation of one visitor."""

    turns: list[Turn] = field(default_factory=list)

    @property
    def clips(self) -> list[Clip]:
        """All clips, in the order of the conversation."""
        return [clip for turn in self.turns for clip in turn.clips]


@dataclass(frozen=True)
class Settings:
    """Settings of an answer."""

    system: str = ""
    max_tokens: int = 256
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None

    def options(self) -> dict[str, Any]:
        """Return the fields of a request; those that change nothing are left out."""
        options: dict[str, Any] = {"max_tokens": self.max_tokens, "temperature": self.temperature}
        if self.top_p < 1:
            options["top_p"] = self.top_p
        if self.seed is not None:
            options["seed"] = self.seed
        return options


def body_of(
    talk: Talk,
    settings: Settings,
    *,
    model: str,
    encode: Callable[[Path], str] = lambda path: base64.b64encode(path.read_bytes()).decode(),
) -> dict[str, Any]:
    """Return the body of the request for the answer to the last question.

    Args:
        talk: the conversation.
        settings: of the answer.
        model: name of the model.
        encode: file -> its bytes in base64.
    """
    messages: list[dict[str, Any]] = []
    if settings.system.strip():
        messages.append({"role": "system", "content": settings.system.strip()})
    for number, turn in enumerate(talk.turns):
        parts = [_part(clip, encode) for clip in turn.clips]
        text = {"type": "text", "text": turn.question}
        content = [*parts, text] if parts else turn.question
        messages.append({"role": "user", "content": content})
        if number < len(talk.turns) - 1:
            messages.append({"role": "assistant", "content": turn.answer})
    return {"model": model, "messages": messages, **settings.options()}


def _part(clip: Clip, encode: Callable[[Path], str]) -> Mapping[str, Any]:
    audio = {"data": encode(clip.path), "format": clip.path.suffix.lstrip(".").lower()}
    if clip.edited is not None:
        audio["transcription"] = clip.edited
    return {"type": "input_audio", "input_audio": audio}
