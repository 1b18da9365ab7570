"""Requests -> completions, in batches, each request only once.

Batches follow from the requests alone, and are formed before anyone looks into the journal: an
answer in bfloat16 depends a little on its batch, and a run that was interrupted must give the same.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Protocol, TypeVar

from desta.config import to_plain
from desta.construction.config import ConstructConfig
from desta.construction.journal import Journal
from desta.llm.base import Completion, TextGenerator, as_text
from desta.records import Message

CHUNK = 64
"""Batches that are sorted together and held in memory."""

Request = Sequence[Message]


class HasRequest(Protocol):
    """Something that the backbone is to answer."""

    @property
    def request(self) -> Request:
        """The conversation, as the backbone reads it."""


J = TypeVar("J", bound=HasRequest)


class Answerer:
    """A backbone that never answers the same request twice."""

    def __init__(self, config: ConstructConfig, generator: TextGenerator, journal: Journal) -> None:
        """Take a loaded backbone and the journal of what it has answered."""
        self._generator = generator
        self._journal = journal
        self._sampling = config.sampling
        self._batch_size = config.batch_size
        asked = [generator.id, generator.revision, config.dtype, to_plain(config.sampling)]
        self._start = hashlib.sha256(json.dumps([*asked, config.seed]).encode())

    def answer(
        self, jobs: Iterable[J], *, on_progress: Callable[[int], None]
    ) -> Iterator[tuple[J, Completion]]:
        """Answer jobs in their order; a chunk of them is held in memory.

        Args:
            jobs: read as they are needed.
            on_progress: called with the number of jobs that were answered since the last call.
        """
        rest = iter(jobs)
        while chunk := list(islice(rest, CHUNK * self._batch_size)):
            keys = [self.key(job.request) for job in chunk]
            requests = {key: job.request for key, job in zip(keys, chunk, strict=True)}
            found = self._journal.find(requests)
            on_progress(len(chunk) - len(requests) + len(found))
            if len(found) < len(requests):
                for batch in self._batches(requests):
                    if missing := [key for key in batch if key not in found]:
                        found |= self._generate(missing, requests)
                        on_progress(len(missing))
            for key, job in zip(keys, chunk, strict=True):
                yield job, found[key]

    def key(self, request: Request) -> bytes:
        """Return the SHA-256 of all that an answer follows from, its place in a batch excepted."""
        digest = self._start.copy()
        # Texts stand apart from the contents: a locator in a text is not one of the content.
        parts = [[m.role, m.content, *(clip.text for clip in m.audios)] for m in request]
        digest.update(json.dumps(parts).encode())
        return digest.digest()

    def _generate(
        self, keys: Sequence[bytes], requests: Mapping[bytes, Request]
    ) -> dict[bytes, Completion]:
        completions = self._generator.complete(
            [requests[key] for key in keys],
            self._sampling,
            seeds=[int.from_bytes(key[:8]) >> 1 for key in keys],
        )
        answers = dict(zip(keys, completions, strict=True))
        self._journal.add(answers)
        return answers

    def _batches(self, requests: Mapping[bytes, Request]) -> Iterator[list[bytes]]:
        """Sort requests as the generator likes them, and cut them into batches."""
        if self._generator.order == "length":
            lengths = {k: self._generator.count_tokens(r) for k, r in requests.items()}
            order = sorted(requests, key=lambda key: -lengths[key])
        else:
            order = sorted(requests, key=lambda key: [as_text(m) for m in requests[key]])
        for start in range(0, len(order), self._batch_size):
            yield order[start : start + self._batch_size]
