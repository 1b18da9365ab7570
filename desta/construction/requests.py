"""Batches of requests to the backbone, each request sent only once.

Batches depend on the requests alone, and are formed before the journal is read: a response in
bfloat16 depends slightly on its batch, and a resumed run must give the same responses.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Generic, Protocol, TypeVar

from desta.config import to_plain
from desta.construction.config import ConstructConfig
from desta.construction.journal import ResponseJournal
from desta.generators.base import GeneratorTraits, Outcome, TextGenerator, as_text
from desta.generators.batch import complete_batch
from desta.model.backbone.sampling import Sampling
from desta.records import Message

log = logging.getLogger(__name__)

CHUNK = 64
"""Number of batches that are sorted together and held in memory."""

Messages = Sequence[Message]


class HasRequest(Protocol):
    """A job with a request to the backbone."""

    @property
    def request(self) -> Messages:
        """The messages for the backbone."""


J = TypeVar("J", bound=HasRequest)
B = TypeVar("B")


@dataclass(frozen=True, kw_only=True)
class RequestPlan(Generic[B]):
    """All jobs again, in blocks that can be planned in other processes."""

    blocks: Iterable[B]
    """Blocks in order, read lazily."""
    jobs_of: Callable[[B], Iterable[HasRequest]]
    """Block -> jobs; can be pickled."""


class Responder(Protocol):
    """Source of completions and refusals."""

    def respond(
        self, jobs: Iterable[J], *, on_progress: Callable[[int], None]
    ) -> Iterator[tuple[J, Outcome]]:
        """Yield jobs with their outcomes, in the order of the jobs.

        Args:
            jobs: read lazily, a chunk at a time.
            on_progress: called with the number of jobs finished since the last call.
        """


class RequestBatcher:
    """Keys and batches of requests."""

    def __init__(self, config: ConstructConfig, traits: GeneratorTraits) -> None:
        """Create a batcher for a recipe and a generator."""
        self.chunk = CHUNK * config.batch_size
        """Number of jobs that are sorted together."""
        self._batch_size = config.batch_size
        self._traits = traits
        asked = [traits.id, traits.revision, config.dtype, to_plain(config.sampling)]
        self._start = json.dumps([*asked, config.seed]).encode()

    def key(self, request: Messages) -> bytes:
        """Return the SHA-256 of all that determines a response, except its place in a batch."""
        digest = hashlib.sha256(self._start)
        # Texts are separate from contents: a locator in a text is not a locator of the content.
        parts = [[m.role, m.content, *(clip.text for clip in m.audios)] for m in request]
        digest.update(json.dumps(parts).encode())
        return digest.digest()

    def batches(self, requests: Mapping[bytes, Messages]) -> Iterator[list[bytes]]:
        """Sort a chunk of requests in the generator's order, and yield batches of keys."""
        if self._traits.order == "length":
            lengths = {k: self._length(r) for k, r in requests.items()}
            order = sorted(requests, key=lambda key: -lengths[key])
        else:
            order = sorted(requests, key=lambda key: [as_text(m) for m in requests[key]])
        for start in range(0, len(order), self._batch_size):
            yield order[start : start + self._batch_size]

    def _length(self, request: Messages) -> int:
        """Return the tokens of a request; 0 for one that cannot be laid out and will be refused."""
        try:
            return self._traits.count_tokens(request)
        except Exception as error:
            log.debug("a request that cannot be laid out", exc_info=error)
            return 0


def complete(
    generator: TextGenerator,
    sampling: Sampling,
    requests: Mapping[bytes, Messages],
    keep: Callable[[dict[bytes, Outcome]], None],
) -> dict[bytes, Outcome]:
    """Generate responses as one batch; the seed of each follows from the key of its request."""
    seeds = [int.from_bytes(key[:8]) >> 1 for key in requests]
    return complete_batch(generator, sampling, requests, seeds=seeds, keep=keep)


class BatchedGenerator:
    """Responder with a local generator, which gets every request only once."""

    def __init__(
        self, config: ConstructConfig, generator: TextGenerator, journal: ResponseJournal
    ) -> None:
        """Create a responder from a loaded backbone and the journal of earlier responses."""
        self._generator = generator
        self._sampling = config.sampling
        self._journal = journal
        self._requests = RequestBatcher(config, generator)

    def respond(
        self, jobs: Iterable[J], *, on_progress: Callable[[int], None]
    ) -> Iterator[tuple[J, Outcome]]:
        """Yield jobs with their outcomes, in order; a chunk of jobs is held in memory."""
        rest = iter(jobs)
        while chunk := list(islice(rest, self._requests.chunk)):
            keys = [self._requests.key(job.request) for job in chunk]
            requests = {key: job.request for key, job in zip(keys, chunk, strict=True)}
            found = self._journal.find(requests)
            on_progress(len(chunk) - len(requests) + len(found))
            if len(found) < len(requests):
                for batch in self._requests.batches(requests):
                    if missing := {key: requests[key] for key in batch if key not in found}:
                        found |= complete(
                            self._generator, self._sampling, missing, self._journal.add
                        )
                        on_progress(len(missing))
            for key, job in zip(keys, chunk, strict=True):
                yield job, found[key]
