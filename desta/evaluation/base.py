"""What every benchmark is made of, and what it asks of a model."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from desta.llm.base import Sampling
from desta.records import NO_TRANSCRIPTION, Message

MODEL = "model"
"""The system that is evaluated; the other systems are its baselines."""


class Answerer(Protocol):
    """Answers conversations that hold clips."""

    def answer(self, conversations: Sequence[Sequence[Message]], sampling: Sampling) -> list[str]:
        """Answer each conversation, in order.

        Raises:
            DataError: a clip of one of them cannot be heard.
        """


@dataclass(frozen=True, kw_only=True)
class Example:
    """One question of a benchmark."""

    id: str
    """Unique in the benchmark."""
    task: str
    """What is asked for: examples of one task are scored together."""
    group: str
    """Where the clips come from: tasks are scored apart for each group."""
    messages: tuple[Message, ...]
    """The conversation to be answered; the last message asks."""
    question: str
    """The words of the last message without the clip, to be shown."""
    target: str
    choices: tuple[str, ...]
    """The closed set that the target is one of."""
    transcription: str = NO_TRANSCRIPTION
    """What is said in the clip, for baselines; the model knows only what `messages` hold."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """What one system answered to one example; a line of `results.jsonl`.

    `answer` is null, and `skipped` the reason, where the clip could not be heard.
    """

    id: str
    system: str
    task: str
    group: str
    audio: tuple[str, ...]
    """Paths of the clips, as the recipe gives them; empty where the system hears none."""
    transcription: str
    """What stood beside the clip: one space where it was withheld."""
    spoken: str
    """What is said in the clip, whether the system was told or not."""
    question: str
    target: str
    choices: tuple[str, ...]
    answer: str | None
    skipped: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object, every field written."""
        return asdict(self)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> "Result":
        """Build a result from a JSON object.

        Raises:
            KeyError, TypeError: a field is missing or unknown.
        """
        values = dict(record)
        values["audio"] = tuple(values["audio"])
        values["choices"] = tuple(values["choices"])
        return cls(**values)


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """A named, versioned test set."""

    name: str
    version: str
    """Changes whenever a question, a rule or the choice of examples changes."""
    read: Callable[[str, Sequence[str]], str | None]
    """(answer, choices) -> the one choice that the answer names; None for none or several."""
