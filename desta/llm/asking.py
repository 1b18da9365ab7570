"""One batch of requests, of which nothing is lost that has come when an error ends it."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from desta.llm.base import Outcome, Sampling, TextGenerator
from desta.records import Message

K = TypeVar("K")


def ask(
    generator: TextGenerator,
    sampling: Sampling,
    requests: Mapping[K, Sequence[Message]],
    *,
    seeds: Sequence[int],
    keep: Callable[[dict[K, Outcome]], None],
) -> dict[K, Outcome]:
    """Answer requests as one batch.

    Args:
        generator: answers.
        sampling: how.
        requests: conversations by their keys.
        seeds: one for each of them.
        keep: called once with all that has come, also where an error or Ctrl-C ends the batch.
    """
    keys = list(requests)
    found: dict[K, Outcome] = {}

    def note(place: int, outcome: Outcome) -> None:
        found[keys[place]] = outcome

    try:
        outcomes = generator.complete(
            list(requests.values()), sampling, seeds=seeds, on_outcome=note
        )
        found.update(zip(keys, outcomes, strict=True))
    finally:
        keep(found)
    return found
