"""A conversation that goes on: earlier turns and their clips are kept."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from desta.audio import AudioInput
from desta.errors import DataError
from desta.inference.engine import Engine
from desta.inference.requests import Request, with_audios
from desta.model.backbone.sampling import Sampling
from desta.records import LOCATOR, AudioRef, Message

SYSTEM_PROMPT = "Focus on the audio clips and instructions."
"""Of the published evaluation protocol; used where a checkpoint does not say what it knows."""


def user_message(
    text: str,
    audios: Sequence[AudioInput] = (),
    *,
    locator: str = LOCATOR,
    texts: Sequence[str | None] = (),
) -> Message:
    """Return a user's turn: the clips first, then the words.

    Args:
        text: the question.
        audios: the clips.
        locator: the model's mark for a clip (`engine.layout.locator`).
        texts: transcriptions that are known; the others are made by Whisper.

    Raises:
        DataError: there are more transcriptions than clips, or one stands where a list should.
    """
    for name, given in (("clips", audios), ("transcriptions", texts)):
        if isinstance(given, str | bytes):  # a list of letters to Python
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
    """Return the beginning of a conversation; None takes what the model was trained with."""
    if prompt is None:
        prompt = SYSTEM_PROMPT if engine.system_prompt is None else engine.system_prompt
    return [Message(role="system", content=prompt)] if prompt else []


@dataclass
class Conversation:
    """The turns so far; every clip is transcribed once."""

    engine: Engine
    sampling: Sampling
    system_prompt: str | None = None
    """None takes the one that the model was trained with."""
    seed: int | None = None
    """Of the random numbers of every turn; None takes one from PyTorch's generator."""
    messages: list[Message] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not self.messages:
            self.messages = system_messages(self.engine, self.system_prompt)

    def ask(
        self, text: str, audios: Sequence[AudioInput] = (), texts: Sequence[str | None] = ()
    ) -> Iterator[str]:
        """Add a turn and yield the answer piece by piece; the turn counts once it is answered."""
        turn = user_message(text, audios, locator=self.engine.layout.locator, texts=texts)
        turns = [*self.messages, turn]
        request = Request(messages=turns, sampling=self.sampling, seed=self.seed)
        stream = self.engine.stream(request)
        yield from stream.pieces
        answer = Message(role="assistant", content=stream.writer.text)
        self.messages = [*with_audios(turns, stream.audios), answer]
