"""Requests to an engine, and its answers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from desta.errors import ConfigError, DestaError
from desta.model.backbone.sampling import Sampling
from desta.model.backbone.writer import Alternatives, Writer
from desta.records import AudioRef, Message

MAX_ANSWERS = 128
"""Most answers to one request."""
MAX_LOGPROBS = 100
"""Most alternatives to one token."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """A conversation to be answered, with settings."""

    messages: Sequence[Message]
    """Messages whose content holds one locator per clip."""
    sampling: Sampling = field(default_factory=Sampling)
    seed: int | None = None
    """Random seed; the same seed gives the same answer, alone or in a batch."""
    num_answers: int = 1
    """Number of answers, each with different random numbers."""
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
    """An answer of the model, with the transcriptions that were used."""

    text: str
    ids: list[int]
    """New token ids, end token included."""
    finish: Literal["stop", "length"]
    """Ended by an end token or stop string, or cut off at `max_new_tokens`."""
    audios: tuple[AudioRef, ...]
    """The clips of the conversation with the transcriptions that were used."""
    logprobs: list[tuple[float, Alternatives]]
    """Log-probability of each token and its likeliest alternatives, if requested."""

    @classmethod
    def of(cls, writer: Writer, audios: tuple[AudioRef, ...]) -> "Answer":
        """Create the answer of a finished writer."""
        assert writer.finish is not None
        return cls(writer.text, writer.ids, writer.finish, audios, writer.logprobs)


@dataclass(frozen=True, kw_only=True)
class RequestResult:
    """The answers to a request, or its error."""

    answers: tuple[Answer, ...] = ()
    error: DestaError | None = None

    def unwrap(self) -> tuple[Answer, ...]:
        """Return the answers, or raise the error."""
        if self.error is not None:
            raise self.error
        return self.answers


@dataclass(frozen=True)
class Stream:
    """An answer that is being generated."""

    pieces: Iterator[str]
    """Text as it is generated; must be read to the end."""
    audios: tuple[AudioRef, ...]
    """The clips of the conversation with the transcriptions that are used."""
    writer: Writer
    """Tokens and text so far."""


def _is_message(value: object) -> bool:
    return (
        isinstance(value, Message)
        and isinstance(value.content, str)
        and all(isinstance(ref, AudioRef) for ref in value.audios)
    )
