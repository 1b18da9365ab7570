"""The thread that generates: requests join and leave its batch between tokens."""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from desta.errors import DestaError
from desta.inference.clip_cache import EncodedClip
from desta.inference.engine import Engine, Prepared
from desta.inference.requests import Request
from desta.isolation import error_of, no_number
from desta.model.backbone.running_batch import RunningBatch
from desta.model.backbone.writer import Writer
from desta.records import AudioRef
from desta.serving.errors import ServingError, busy, internal_error
from desta.serving.limits import ServingLimits
from desta.serving.metrics import Metrics


@dataclass(frozen=True)
class Begun:
    """The first event of a request: its answers are being generated."""

    prepared: Prepared
    num_cached: int
    """Positions of the prompt that were found in the prefix cache."""


@dataclass(frozen=True)
class Piece:
    """New text of one answer."""

    index: int
    text: str
    writer: Writer
    num_tokens: int
    """Tokens so far."""
    finish: str | None


@dataclass(eq=False)
class Job:
    """A request whose clips are encoded."""

    request: Request
    refs: Sequence[AudioRef]
    clips: Sequence[EncodedClip | DestaError]
    deliver: Callable[[Begun | Piece | DestaError], None]
    """Called on the decoding thread with each event; an error is the last one."""
    deadline: float
    """Of `time.monotonic`: answers end there."""
    is_cancelled: bool = False
    """Set by the caller to give the request up."""
    submitted: float = field(default_factory=time.perf_counter)
    stages: dict[str, float] = field(default_factory=dict)
    """Seconds per stage so far."""


@dataclass(eq=False)
class _Row:
    """An answer in the batch."""

    job: Job
    prepared: Prepared
    writer: Writer
    index: int


class Decoder:
    """Generator of all answers, on a thread of its own."""

    def __init__(self, engine: Engine, limits: ServingLimits, metrics: Metrics) -> None:
        """Create a decoder; `start` begins its thread."""
        self._engine = engine
        self._limits = limits
        self._metrics = metrics
        self._batch = RunningBatch(engine.model.llm_model)
        self._rows: list[_Row] = []  # in the order of the batch
        self._jobs: deque[Job] = deque()
        self._next: tuple[Job, Prepared] | None = None  # laid out, and waiting for room
        self._changed = threading.Condition()
        self._is_closing = False
        self._thread = threading.Thread(target=self._run, name="decode", daemon=True)

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    @property
    def is_busy(self) -> bool:
        """Whether answers are being generated."""
        return bool(self._rows)

    @property
    def num_rows(self) -> int:
        """Answers that are being generated."""
        return len(self._rows)

    def submit(self, job: Job) -> None:
        """Queue a request."""
        with self._changed:
            self._jobs.append(job)
            self._changed.notify()

    def close(self, seconds: float) -> None:
        """Finish what was submitted, and end the thread; after `seconds`, give the rest up."""
        with self._changed:
            self._is_closing = True
            self._changed.notify()
        self._thread.join(seconds)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not (self._jobs or self._next or self._rows or self._is_closing):
                    self._changed.wait()
                if not (self._jobs or self._next or self._rows):
                    return
            try:
                self._step()
            except Exception as error:  # one batch must not end the server
                self._fail_all(_readable(error))
            self._metrics.rows.set(len(self._rows))
            self._metrics.waiting.set(len(self._jobs) + (self._next is not None))

    def _step(self) -> None:
        """Admit at most one request, and generate one token for each row."""
        self._drop(lambda row: row.job.is_cancelled)
        with self._changed:  # recordings of those who left must not wait for room
            if any(job.is_cancelled for job in self._jobs):
                self._jobs = deque(job for job in self._jobs if not job.is_cancelled)
        self._admit()
        for place in self._batch.damaged_rows():
            self._deliver_error(self._rows[place].job, no_number("the request"))
        self._drop(lambda row: row.job.is_cancelled)
        pieces = self._batch.write()
        now = time.monotonic()
        for row, text in zip(self._rows, pieces, strict=True):
            self._deliver_piece(row, text, is_late=now > row.job.deadline)
        self._drop(lambda row: row.writer.finish is not None, keep=True)
        self._batch.advance()

    def _deliver_piece(self, row: _Row, text: str, *, is_late: bool) -> None:
        writer = row.writer
        if is_late and writer.finish is None:
            writer.finish = "length"
        num_tokens = len(writer.ids)
        if row.index == 0 and num_tokens == 1:
            seconds = time.perf_counter() - row.job.submitted
            self._metrics.observe("first_token", seconds)
        row.job.deliver(Piece(row.index, text, writer, num_tokens, writer.finish))

    def _deliver_error(self, job: Job, error: DestaError) -> None:
        """End a request with an error."""
        job.is_cancelled = True
        job.deliver(error)

    def _drop(self, is_out: Callable[[_Row], bool], *, keep: bool = False) -> None:
        """Remove rows; with `keep`, put the first answer of each request into the prefix cache."""
        out = [place for place, row in enumerate(self._rows) if is_out(row)]
        if not out:
            return
        for place in out if keep else ():
            row = self._rows[place]
            if row.index == 0:
                self._engine.keep(row.prepared, row.writer, self._batch.cache_of(place))
        self._batch.remove(out)
        gone = set(out)
        self._rows = [row for place, row in enumerate(self._rows) if place not in gone]

    def _admit(self) -> None:
        """Add the next request to the batch if there is room for it."""
        if self._next is None:
            self._next = self._lay_out_next()
        if self._next is None:
            return
        job, prepared = self._next
        if job.is_cancelled:
            self._next = None
            return
        if time.monotonic() > job.deadline:
            self._next = None
            self._deliver_error(job, busy("the request waited too long"))
            return
        if self._rows and not self._has_room(job, prepared):
            return
        self._next = None
        start = time.perf_counter()
        job.stages["queue"] = start - job.submitted
        try:
            state, num_cached = self._engine.begin(prepared)
        except Exception as error:
            self._deliver_error(job, _readable(error))
            return
        job.stages["prefill"] = time.perf_counter() - start
        for stage in ("queue", "prefill"):
            self._metrics.observe(stage, job.stages[stage])
        writers = self._engine.writers(job.request)
        self._batch.add(state, writers)
        self._rows += [_Row(job, prepared, writer, n) for n, writer in enumerate(writers)]
        job.deliver(Begun(prepared, num_cached))

    def _lay_out_next(self) -> tuple[Job, Prepared] | None:
        with self._changed:
            job = self._jobs.popleft() if self._jobs else None
        if job is None or job.is_cancelled:
            return None
        try:
            prepared = self._engine.lay_out(job.request, job.refs, job.clips)
            self._check_length(job, prepared)
        except Exception as error:
            self._deliver_error(job, _readable(error))
            return None
        return job, prepared

    def _check_length(self, job: Job, prepared: Prepared) -> None:
        rows, length = job.request.num_answers, _length(job, prepared)
        if rows * length > self._limits.max_positions:
            each = f" for each of {rows} answers" if rows > 1 else ""
            raise ServingError(
                f"the conversation and its answer need {length} tokens{each}, and this server has "
                f"{self._limits.max_positions}",
                fix="ask about shorter clips, shorten the messages, or lower max_tokens",
                code="context_length_exceeded",
            )

    def _has_room(self, job: Job, prepared: Prepared) -> bool:
        """Return whether a request fits beside the rows, also at their longest."""
        rows = len(self._rows) + job.request.num_answers
        longest = max(_length(row.job, row.prepared) for row in self._rows)
        width = max(longest, _length(job, prepared))
        limits = self._limits
        return rows <= limits.max_rows and rows * width <= limits.max_positions

    def _fail_all(self, error: DestaError) -> None:
        """End every request of the batch with an error, and begin a new batch."""
        for job in {row.job for row in self._rows}:
            self._deliver_error(job, error)
        self._rows = []
        self._batch = RunningBatch(self._engine.model.llm_model)


def _length(job: Job, prepared: Prepared) -> int:
    """Return the positions of a request with its longest answer."""
    return len(prepared.tokens.ids) + job.request.sampling.max_new_tokens


def _readable(error: Exception) -> DestaError:
    """Return an error for the client."""
    if isinstance(error, DestaError):
        return error_of(error, "the request")
    return internal_error(error)
