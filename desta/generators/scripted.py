"""Scripted generator for tests: each response is a function of the last message."""

from collections.abc import Callable, Sequence
from typing import Literal

from desta.generators.base import Completion, OnOutcome, Outcome, as_text
from desta.generators.reasoning import completion
from desta.model.backbone.sampling import Sampling
from desta.records import Message


class ScriptedGenerator:
    """Generator of scripted responses; words count as tokens."""

    id = "scripted"
    order: Literal["length", "prefix"] = "length"

    def __init__(self, script: Callable[[str], str], *, revision: str = "1") -> None:
        """Create a generator.

        Args:
            script: last message, with clips replaced by their texts -> response.
            revision: version of the script.
        """
        self._script = script
        self.revision = revision

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Return the number of words of the conversation."""
        return sum(len(as_text(m).split()) for m in messages)

    def complete(
        self,
        conversations: Sequence[Sequence[Message]],
        sampling: Sampling,
        *,
        seeds: Sequence[int],
        on_outcome: OnOutcome | None = None,
    ) -> list[Outcome]:
        """Return the scripted responses, cut off after `max_new_tokens` words."""
        return [self._cut(self._script(as_text(c[-1])), sampling) for c in conversations]

    def _cut(self, response: str, sampling: Sampling) -> Completion:
        words = response.split(" ")
        kept = words[: sampling.max_new_tokens]
        return completion(" ".join(kept), num_tokens=len(kept), finished=len(kept) == len(words))
