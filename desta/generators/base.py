"""Protocol of text generators."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from desta.model.backbone.sampling import Sampling
from desta.records import LOCATOR, NO_TRANSCRIPTION, Message

HELLO = Message(role="user", content="Hello")
"""The simplest request: a model or an endpoint that fails on it fails on every request."""


@dataclass(frozen=True, kw_only=True)
class Completion:
    """One response of a generator."""

    text: str
    num_tokens: int
    """Tokens of text and reasoning."""
    finished: bool
    """False if the response was cut off at `max_new_tokens`."""
    reasoning: str = ""
    """Reasoning before the response (`generators/reasoning.py`); never part of `text`."""

    @property
    def only_reasoning(self) -> bool:
        """True if no response follows the reasoning, for example because it was cut off."""
        return bool(self.reasoning) and not self.text


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Permanent failure of one request."""

    reason: str
    """Reason by which requests are counted; the same for all of its kind."""
    message: str
    """Details of this request."""


Outcome = Completion | Refusal
OnOutcome = Callable[[int, Outcome], None]
"""Callback with the index of a request and its outcome."""


class GeneratorTraits(Protocol):
    """Properties of a text generator that are needed to plan its work."""

    @property
    def id(self) -> str:
        """Model id or directory, as written into manifests."""

    @property
    def revision(self) -> str:
        """Version of the model: commit, hash or fingerprint of its weights, and number formats."""

    @property
    def order(self) -> Literal["length", "prefix"]:
        """Best order of requests before they are cut into batches.

        `length`: the longest first, so that batches need little padding, and a batch that does not
        fit into memory fails at once. `prefix`: by text, so that a common prefix is computed once.
        """

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Return the length of a conversation in tokens, generation prompt included."""


class TextGenerator(GeneratorTraits, Protocol):
    """Generator of responses; each clip in a message is replaced by its text."""

    def complete(
        self,
        conversations: Sequence[Sequence[Message]],
        sampling: Sampling,
        *,
        seeds: Sequence[int],
        on_outcome: OnOutcome | None = None,
    ) -> list[Outcome]:
        """Return a response or a refusal for each conversation, in order.

        Args:
            conversations: independent conversations.
            sampling: sampling settings of all.
            seeds: one per conversation, in [0, 2**63); a response depends on conversation, sampling
                and seed, not on its index.
            on_outcome: called for each request as soon as it is finished, by generators that finish
                them one by one, so that finished ones survive an error.
        """


def as_text(message: Message) -> str:
    """Return the content of a message, with each clip replaced by its text."""
    first, *others = message.content.split(LOCATOR)
    texts = [clip.text or NO_TRANSCRIPTION for clip in message.audios]
    return first + "".join(text + part for text, part in zip(texts, others, strict=True))
