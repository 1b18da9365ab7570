"""What an engine is asked, and what it replies."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from desta.errors import ConfigError, DestaError
from desta.model.backbone.sampling import Sampling
from desta.model.backbone.writer import Alternatives, Writer
from desta.records import AudioRef, Message

MAX_ANSWERS = 128
"""Answers to one request."""
MAX_LOGPROBS = 100
"""Alternatives to one token."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """A conversation to be continued."""

    messages: Sequence[Message]
    """Their content holds one locator per clip."""
    sampling: Sampling = field(default_factory=Sampling)
    seed: int | None = None
    """Of the random numbers: the same seed gives the same answer, alone or in a batch."""
    num_answers: int = 1
    """Answers that are drawn, each with random numbers of its own."""
    num_logprobs: int | None = None
    """Likeliest alternatives to return with every token; None returns no log-probabilities."""

    def __post_init__(self) -> None:
        if not isinstance(self.messages, Sequence) or not all(map(_is_message, self.messages)):
            raise ConfigError(
                "the messages of a request are not a list of desta.records.Message",
                fix="turn a dictionary into one with Message.from_json(...)",
            )
        if not isinstance(self.sampling, Sampling):
            raise ConfigError("sampling is no Sampling", fix="give Sampling(...)")
        for name, least, most in (
            ("num_answers", 1, MAX_ANSWERS),
            ("num_logprobs", 0, MAX_LOGPROBS),
            ("seed", 0, 2**63 - 1),
        ):
            value = getattr(self, name)
            if value is None and name != "num_answers":
                continue
            if type(value) is not int or not least <= value <= most:
                raise ConfigError(
                    f"{name} = {value!r} is no whole number from {least} to {most}",
                    fix="give one",
                )


@dataclass(frozen=True)
class Answer:
    """What the model says, and what it took as said in the clips."""

    text: str
    ids: list[int]
    """New token ids, end token included."""
    finish: Literal["stop", "length"]
    """It ended by itself or at a stop string, or was cut off at `max_new_tokens`."""
    audios: tuple[AudioRef, ...]
    """The clips of the conversation with the transcriptions that were used."""
    logprobs: list[tuple[float, Alternatives]]
    """Log-probability of each token and its likeliest alternatives, where they were wanted."""

    @classmethod
    def of(cls, writer: Writer, audios: tuple[AudioRef, ...]) -> "Answer":
        """Take what a finished writer wrote."""
        assert writer.finish is not None
        return cls(writer.text, writer.ids, writer.finish, audios, writer.logprobs)


@dataclass(frozen=True, kw_only=True)
class Reply:
    """The answers to a request, or why there are none."""

    answers: tuple[Answer, ...] = ()
    error: DestaError | None = None

    def unwrap(self) -> tuple[Answer, ...]:
        """Return the answers, or raise the error."""
        if self.error is not None:
            raise self.error
        return self.answers


@dataclass(frozen=True)
class Stream:
    """An answer that is being written."""

    pieces: Iterator[str]
    """Text as it comes; to be read to the end."""
    audios: tuple[AudioRef, ...]
    """The clips of the conversation with the transcriptions that are used."""
    writer: Writer
    """What has been written so far."""


def _is_message(value: object) -> bool:
    return (
        isinstance(value, Message)
        and isinstance(value.content, str)
        and all(isinstance(ref, AudioRef) for ref in value.audios)
    )


def with_audios(messages: Sequence[Message], refs: Sequence[AudioRef]) -> list[Message]:
    """Return the messages with these clips, now with their texts, in place of their own."""
    rest = iter(refs)
    return [replace(m, audios=tuple(next(rest) for _ in m.audios)) for m in messages]
