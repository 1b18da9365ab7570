"""Conversations of several turns."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from desta.audio import AudioInput
from desta.errors import DataError
from desta.inference.engine import Engine
from desta.inference.requests import Request
from desta.model.backbone.sampling import Sampling
from desta.records import LOCATOR, AudioRef, Message, with_audios

SYSTEM_PROMPT = "Focus on the audio clips and instructions."
"""System prompt of the published evaluation protocol, for checkpoints that record none."""


def user_message(
    text: str,
    audios: Sequence[AudioInput] = (),
    *,
    locator: str = LOCATOR,
    texts: Sequence[str | None] = (),
) -> Message:
    """Create a user message: the clips, then the text.

    Args:
        text: the question.
        audios: the clips.
        locator: the model's marker of a clip.
        texts: known transcriptions; None or missing ones are made by Whisper.

    Raises:
        DataError: there are more transcriptions than clips, or an argument is not a list.
    """
    for name, given in (("clips", audios), ("transcriptions", texts)):
        if isinstance(given, str | bytes):  # a sequence, but of characters
            raise DataError(f"the {name} are no list", fix=f"give a list, such as [{given!r}]")
        if not isinstance(given, Sequence):
            raise DataError(f"the {name} are no list", fix="give a list, also of one")
    if len(texts) > len(audios):
        raise DataError(
            f"{len(texts)} transcriptions for {len(audios)} clips", fix="give one per clip"
        )
    known = [*texts, *[None] * (len(audios) - len(texts))]
    blocks = "\n".join([locator] * len(audios))
    return Message(
        role="user",
        content=f"{blocks}\n\n{text}" if audios else text,
        audios=tuple(
            AudioRef(audio=str(clip) if isinstance(clip, Path) else clip, text=known_text)
            for clip, known_text in zip(audios, known, strict=True)
        ),
    )


def system_messages(engine: Engine, prompt: str | None) -> list[Message]:
    """Return the system message as a list; None means that of the training data."""
    if prompt is None:
        prompt = SYSTEM_PROMPT if engine.system_prompt is None else engine.system_prompt
    return [Message(role="system", content=prompt)] if prompt else []


@dataclass
class Conversation:
    """A conversation with one engine; every clip is transcribed once."""

    engine: Engine
    sampling: Sampling
    system_prompt: str | None = None
    """None means the prompt that the model was trained with."""
    seed: int | None = None
    """Seed of every turn; None draws one from PyTorch's generator."""
    messages: list[Message] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not self.messages:
            self.messages = system_messages(self.engine, self.system_prompt)

    def ask(
        self, text: str, audios: Sequence[AudioInput] = (), texts: Sequence[str | None] = ()
    ) -> Iterator[str]:
        """Yield the answer to a new turn piece by piece; a complete turn is added to `messages`."""
        turn = user_message(text, audios, locator=self.engine.layout.locator, texts=texts)
        turns = [*self.messages, turn]
        request = Request(messages=turns, sampling=self.sampling, seed=self.seed)
        stream = self.engine.stream(request)
        yield from stream.pieces
        answer = Message(role="assistant", content=stream.writer.text)
        self.messages = [*with_audios(turns, stream.audios), answer]
