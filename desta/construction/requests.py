"""Requests -> completions or refusals, in batches, each request only once.

Batches follow from the requests alone, and are formed before anyone looks into the journal: an
answer in bfloat16 depends a little on its batch, and a run that was interrupted must give the same.
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
from desta.construction.journal import Journal
from desta.generators.base import GeneratorTraits, Outcome, TextGenerator, as_text
from desta.generators.batch import complete_batch
from desta.model.backbone.sampling import Sampling
from desta.records import Message

log = logging.getLogger(__name__)

CHUNK = 64
"""Batches that are sorted together and held in memory."""

Request = Sequence[Message]


class HasRequest(Protocol):
    """Something that the backbone is to answer."""

    @property
    def request(self) -> Request:
        """The conversation, as the backbone reads it."""


J = TypeVar("J", bound=HasRequest)
B = TypeVar("B")


@dataclass(frozen=True, kw_only=True)
class Plan(Generic[B]):
    """All jobs once more, in blocks that can be planned anywhere."""

    blocks: Iterable[B]
    """In their order; read only where it is iterated over."""
    jobs_of: Callable[[B], Iterable[HasRequest]]
    """A function that other processes can be given."""


class Answers(Protocol):
    """Where completions and refusals come from."""

    def answer(
        self, jobs: Iterable[J], *, on_progress: Callable[[int], None]
    ) -> Iterator[tuple[J, Outcome]]:
        """Answer jobs in their order.

        Args:
            jobs: read as they are needed, a chunk at a time.
            on_progress: called with the number of jobs that were answered since the last call.
        """


class Requests:
    """What requests are known by, and in which batches they are answered."""

    def __init__(self, config: ConstructConfig, traits: GeneratorTraits) -> None:
        """Take the recipe and what is known of the generator."""
        self.chunk = CHUNK * config.batch_size
        """Jobs that are sorted together."""
        self._batch_size = config.batch_size
        self._traits = traits
        asked = [traits.id, traits.revision, config.dtype, to_plain(config.sampling)]
        self._start = json.dumps([*asked, config.seed]).encode()

    def key(self, request: Request) -> bytes:
        """Return the SHA-256 of all that an answer follows from, its place in a batch excepted."""
        digest = hashlib.sha256(self._start)
        # Texts stand apart from the contents: a locator in a text is not one of the content.
        parts = [[m.role, m.content, *(clip.text for clip in m.audios)] for m in request]
        digest.update(json.dumps(parts).encode())
        return digest.digest()

    def batches(self, requests: Mapping[bytes, Request]) -> Iterator[list[bytes]]:
        """Sort a chunk of requests as the generator likes them, and cut it into batches of keys."""
        if self._traits.order == "length":
            lengths = {k: self._length(r) for k, r in requests.items()}
            order = sorted(requests, key=lambda key: -lengths[key])
        else:
            order = sorted(requests, key=lambda key: [as_text(m) for m in requests[key]])
        for start in range(0, len(order), self._batch_size):
            yield order[start : start + self._batch_size]

    def _length(self, request: Request) -> int:
        """Return the length of a request; 0 of one that has none, and will be refused."""
        try:
            return self._traits.count_tokens(request)
        except Exception as error:
            log.debug("a request that cannot be laid out", exc_info=error)
            return 0


def complete(
    generator: TextGenerator,
    sampling: Sampling,
    requests: Mapping[bytes, Request],
    keep: Callable[[dict[bytes, Outcome]], None],
) -> dict[bytes, Outcome]:
    """Answer requests as one batch; the seed of an answer follows from the key of its request."""
    seeds = [int.from_bytes(key[:8]) >> 1 for key in requests]
    return complete_batch(generator, sampling, requests, seeds=seeds, keep=keep)


class Answerer:
    """A backbone that never answers the same request twice."""

    def __init__(self, config: ConstructConfig, generator: TextGenerator, journal: Journal) -> None:
        """Take a loaded backbone and the journal of what it has answered."""
        self._generator = generator
        self._sampling = config.sampling
        self._journal = journal
        self._requests = Requests(config, generator)

    def answer(
        self, jobs: Iterable[J], *, on_progress: Callable[[int], None]
    ) -> Iterator[tuple[J, Outcome]]:
        """Answer jobs in their order; a chunk of them is held in memory."""
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
