"""Batches of requests whose finished responses survive an error."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

from desta.errors import ConfigError, MissingExtraError, UnavailableError
from desta.generators.base import HELLO, Completion, Outcome, Refusal, TextGenerator
from desta.isolation import error_of, half_of, holds_half, in_halves
from desta.model.backbone.sampling import Sampling
from desta.records import Message

K = TypeVar("K")

_FATAL = (ConfigError, MissingExtraError, UnavailableError)
"""Errors that no single request causes."""


def complete_batch(
    generator: TextGenerator,
    sampling: Sampling,
    requests: Mapping[K, Sequence[Message]],
    *,
    seeds: Sequence[int],
    keep: Callable[[dict[K, Outcome]], None],
) -> dict[K, Outcome]:
    """Generate responses to a batch of requests; a request that fails becomes a refusal.

    Args:
        generator: the text generator.
        sampling: sampling settings of all.
        requests: conversations by key.
        seeds: one per request.
        keep: called once with all outcomes, also if an error or Ctrl-C ends the batch.

    Raises:
        DestaError: the generator fails on every request.
    """
    found: dict[K, Outcome] = {}
    seed_of = dict(zip(requests, seeds, strict=True))

    def complete(keys: Sequence[K]) -> list[Outcome]:
        left = [key for key in keys if key not in found]

        def note(place: int, outcome: Outcome) -> None:
            found[left[place]] = _whole(outcome)

        if left:
            talks = [requests[key] for key in left]
            seeds = [seed_of[key] for key in left]
            outcomes = generator.complete(talks, sampling, seeds=seeds, on_outcome=note)
            found.update(zip(left, map(_whole, outcomes), strict=True))
        return [found[key] for key in keys]

    def refuse(key: K, error: Exception) -> Outcome:
        if key not in found:
            _check(generator, error)
            fault = error_of(error, "the request")
            found[key] = Refusal(reason=fault.reason, message=fault.message)
        return found[key]

    try:
        for key, messages in requests.items():
            if any(map(holds_half, _texts(messages))):
                found[key] = _half("a message")
        in_halves(complete, list(requests), alone=refuse, fatal=_FATAL)
    finally:
        keep(found)
    return found


def _whole(outcome: Outcome) -> Outcome:
    """Return an outcome, or a refusal if it holds half a character, which no file can store."""
    is_half = isinstance(outcome, Completion) and holds_half(outcome.text)
    return _half("a response") if is_half else outcome


def _half(what: str) -> Refusal:
    error = half_of(what)
    return Refusal(reason=error.reason, message=error.message)


def _texts(messages: Sequence[Message]) -> Iterator[str]:
    for message in messages:
        yield message.content
        yield from (clip.text for clip in message.audios if clip.text is not None)


def _check(generator: TextGenerator, error: Exception) -> None:
    """Raise the error if the generator fails on the simplest request as well."""
    try:
        generator.complete([[HELLO]], Sampling(max_new_tokens=1), seeds=[0])
    except Exception:
        raise error from None
