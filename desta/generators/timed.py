"""A text generator whose batches are timed."""

import time
from collections.abc import Callable, Sequence
from typing import Literal

from desta.generators.base import OnOutcome, Outcome, TextGenerator
from desta.model.backbone.sampling import Sampling
from desta.records import Message


class TimedGenerator:
    """A text generator that reports how long each batch took."""

    def __init__(
        self, generator: TextGenerator, on_batch: Callable[[Sequence[Outcome], float], None]
    ) -> None:
        """Wrap a generator.

        Args:
            generator: what generates.
            on_batch: called with the outcomes of each batch and its seconds of the wall.
        """
        self._generator = generator
        self._on_batch = on_batch
        self.id = generator.id
        self.revision = generator.revision
        self.order: Literal["length", "prefix"] = generator.order

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Return the length of a conversation in tokens, generation prompt included."""
        return self._generator.count_tokens(messages)

    def complete(
        self,
        conversations: Sequence[Sequence[Message]],
        sampling: Sampling,
        *,
        seeds: Sequence[int],
        on_outcome: OnOutcome | None = None,
    ) -> list[Outcome]:
        """Generate responses as one batch."""
        began = time.perf_counter()
        outcomes = self._generator.complete(
            conversations, sampling, seeds=seeds, on_outcome=on_outcome
        )
        self._on_batch(outcomes, time.perf_counter() - began)
        return outcomes
