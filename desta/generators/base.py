"""Protocol of text generators."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from desta.model.backbone.sampling import Sampling
from desta.records import LOCATOR, NO_TRANSCRIPTION, Message

HELLO = Message(role="user", content="Hello")
"""The simplest question: a model or an endpoint that fails at it fails at everything."""


@dataclass(frozen=True, kw_only=True)
class Completion:
    """One response of a generator."""

    text: str
    num_tokens: int
    """Of the reasoning as well."""
    finished: bool
    """False where the response was cut off at `max_new_tokens`."""
    reasoning: str = ""
    """What the model wrote to itself first (`generators/reasoning.py`); never a part of `text`."""

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
