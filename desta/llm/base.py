"""What every text generator promises."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Literal, Protocol

from desta.errors import ConfigError
from desta.records import LOCATOR, NO_TRANSCRIPTION, Message

HELLO = Message(role="user", content="Hello")
"""The simplest question: a model or an endpoint that fails at it fails at everything."""


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How the next token is chosen."""

    temperature: float = 0.0
    """0 means greedy: always the likeliest token."""
    top_p: float = 1.0
    """Share of probability mass that sampling may use, in (0, 1]."""
    max_new_tokens: int = 256
    """Tokens after which a response is cut off."""
    stop: tuple[str, ...] = ()
    """Texts that end a response; they are not part of it."""

    def __post_init__(self) -> None:
        for name in ("temperature", "top_p"):
            value = getattr(self, name)
            if not isinstance(value, Real):
                raise ConfigError(f"{name} = {value!r} is no number", fix="give one")
        if not 0 <= self.temperature < math.inf:
            raise ConfigError(
                f"temperature = {self.temperature} is not 0 or a positive number",
                fix="give 0 (greedy) or more",
            )
        if not 0 < self.top_p <= 1:
            raise ConfigError(f"top_p = {self.top_p} is outside (0, 1]", fix="give 1.0 or less")
        if not isinstance(self.max_new_tokens, int):
            raise ConfigError(
                f"max_new_tokens = {self.max_new_tokens!r} is no whole number", fix="give one"
            )
        if self.max_new_tokens < 1:
            raise ConfigError(
                f"max_new_tokens = {self.max_new_tokens} leaves no room", fix="give 1 or more"
            )
        listed = isinstance(self.stop, Sequence) and not isinstance(self.stop, str)
        if not listed or not all(isinstance(text, str) for text in self.stop):
            raise ConfigError(
                f"stop = {self.stop!r} is not a list of texts", fix='give a list, such as ("END",)'
            )
        if "" in self.stop:
            raise ConfigError("a stop string is empty", fix="leave it out")


@dataclass(frozen=True, kw_only=True)
class Completion:
    """One response of a generator."""

    text: str
    num_tokens: int
    """Of the reasoning as well."""
    finished: bool
    """False where the response was cut off at `max_new_tokens`."""
    reasoning: str = ""
    """What the model wrote to itself before (`desta.llm.reasoning`); never a part of `text`."""

    @property
    def only_reasoning(self) -> bool:
        """Whether no answer follows the reasoning, as where it was cut off inside it."""
        return bool(self.reasoning) and not self.text


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Why a generator does not answer one request, however often it is asked."""

    reason: str
    """The same words for all requests that it befalls, by which they are counted."""
    message: str
    """What was said of this one."""


Outcome = Completion | Refusal
OnOutcome = Callable[[int, Outcome], None]
"""Is told the place of a request and what came of it."""


class GeneratorTraits(Protocol):
    """What must be known of a text generator to plan its work, wherever it runs."""

    @property
    def id(self) -> str:
        """Model id or directory, as it is written into manifests."""

    @property
    def revision(self) -> str:
        """What pins the weights: a commit, a hash or a fingerprint, and number formats."""

    @property
    def order(self) -> Literal["length", "prefix"]:
        """How requests are best sorted before they are cut into batches.

        `length`: the longest first, so that rows of a batch need little padding, and what does not
        fit into memory fails at once. `prefix`: by their text, so that one beginning is read once.
        """

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Return the length of a conversation in tokens, generation prompt included."""


class TextGenerator(GeneratorTraits, Protocol):
    """Answers conversations; a clip in a message is read as its text."""

    def complete(
        self,
        conversations: Sequence[Sequence[Message]],
        sampling: Sampling,
        *,
        seeds: Sequence[int],
        on_outcome: OnOutcome | None = None,
    ) -> list[Outcome]:
        """Answer each conversation, in order; one that cannot be answered leaves the others alone.

        Args:
            conversations: each is answered on its own.
            sampling: how their tokens are chosen.
            seeds: one for each conversation, in [0, 2**63): an answer follows from conversation,
                sampling and seed, and not from its place.
            on_outcome: called as soon as something has come of a request, by generators that answer
                one request of a batch before another: so it is known where an error ends the batch.
        """


def as_text(message: Message) -> str:
    """Write a message as it is read: the text of each clip stands where the clip is heard."""
    first, *others = message.content.split(LOCATOR)
    texts = [clip.text or NO_TRANSCRIPTION for clip in message.audios]
    return first + "".join(text + part for text, part in zip(texts, others, strict=True))
