"""Construction on a Ray cluster: Ray Data plans and answers, this process judges and writes.

    here                     tasks                           workers (actors, an engine each)
    clips, in blocks   --->  describe, draw, leave out  ---> answer a batch
                             what was answered before               |
    journal, filters, shards  <------- completions, as they come ---+

The journal and the shards have this one writer, and the shards are written by the code that also
writes them without a cluster, in the order of the clips. Hence the number of workers and the order
in which they answer change nothing, and a call that was killed goes on where the journal ends.
"""

import gc
import logging
import os
import pickle
import socket
import warnings
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from desta.construction.cluster_config import LOCAL, ClusterConfig, check_room
from desta.construction.config import ConstructConfig
from desta.construction.journal import ResponseJournal
from desta.construction.pipeline import construct_by
from desta.construction.requests import (
    HasRequest,
    J,
    Request,
    RequestBatcher,
    RequestPlan,
    Responder,
    complete,
)
from desta.errors import ConfigError, DataError, DestaError, need
from desta.generators.base import Outcome, TextGenerator, as_text
from desta.model.backbone.sampling import Sampling
from desta.records import Message
from desta.shards import Manifest

Load = Callable[[], TextGenerator]
P = ParamSpec("P")
T = TypeVar("T")

# Shares of a CPU, as Ray counts them. With at most one worker for every CPU, half of them stays
# free for tasks: workers that hold them all wait for ever for something to answer. The two differ,
# or Ray Data would plan and answer a whole block in one step.
_WORKER_CPUS = 0.5
_TASK_CPUS = 0.25

_MOST_DEATHS = 3  # of workers over one batch, before the batch is taken to be the cause
_STORE_BYTES = 1 << 30  # of this machine's memory for clips and requests on their way
_KEY = np.dtype("S32")


def construct_on_cluster(
    config: ConstructConfig,
    out: Path,
    load: Load,
    cluster: ClusterConfig,
    *,
    retry: bool = False,
) -> Manifest:
    """Do what `desta.construction.pipeline.construct` does, with responses from a Ray cluster.

    Args:
        config: the recipe.
        out: directory of the data set, here.
        load: loads the engine; called in every worker, so that its files must be there.
        cluster: where.
        retry: ask again what was refused, also if the data set is finished.

    Raises:
        ConfigError: there is no cluster at that address, or it has no room for the workers.
        DataError: what `construct` raises, or a batch that its workers did not survive.
        MissingExtraError: Ray is not installed.
    """
    with _session(cluster) as ray, ExitStack() as stack:
        check_room(ray.nodes(), cluster)
        traits = _ask_for_traits(ray, load, cluster)

        def answering(plan: RequestPlan[Any], journal: ResponseJournal) -> Responder:
            requests = RequestBatcher(config, traits)
            answered = np.sort(np.frombuffer(b"".join(journal.keys()), _KEY))
            batches = _plan_on_cluster(ray, plan, requests, answered)
            worker = (load, traits, config.sampling)
            arrivals = stack.enter_context(closing(_arrivals(ray, batches, worker, cluster)))
            return ClusterGenerator(requests, journal, arrivals)

        return construct_by(config, out, traits, answering, retry=retry)


@dataclass(frozen=True, kw_only=True)
class _Traits:
    """Of a generator that is in the workers."""

    id: str
    revision: str
    order: Literal["length", "prefix"]

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Return its length in characters: the tokenizer is with the workers, and order is all."""
        return sum(len(as_text(message)) for message in messages)


class ClusterGenerator:
    """Completions and refusals that arrive in any order, and are journalled as they do."""

    def __init__(
        self,
        requests: RequestBatcher,
        journal: ResponseJournal,
        arrivals: Iterator[dict[bytes, Outcome]],
    ) -> None:
        """Take the journal, and all that it does not hold yet."""
        self._requests = requests
        self._journal = journal
        self._arrivals = arrivals

    def answer(
        self, jobs: Iterable[J], *, on_progress: Callable[[int], None]
    ) -> Iterator[tuple[J, Outcome]]:
        """Wait for what comes of a chunk of jobs, and yield them in the jobs' order."""
        rest = iter(jobs)
        while chunk := list(islice(rest, self._requests.chunk)):
            keys = [self._requests.key(job.request) for job in chunk]
            wanted = set(keys)
            found = self._journal.find(wanted)
            on_progress(len(chunk) - len(wanted) + len(found))
            while len(found) < len(wanted):
                arrived = next(self._arrivals)
                known = self._journal.find(arrived)  # clips that are described alike in two blocks
                new = {key: c for key, c in arrived.items() if key not in known}
                self._journal.add(new)
                ours = {key: c for key, c in new.items() if key in wanted}
                found |= ours
                on_progress(len(ours))
            for key, job in zip(keys, chunk, strict=True):
                yield job, found[key]


class _Worker:
    """An engine in a process of its own.

    Its errors are handed over like responses: raised there, they would reach nobody as they are.
    """

    def __init__(self, load: Load, traits: _Traits, sampling: Sampling) -> None:
        self._load = load
        self._traits = traits
        self._sampling = sampling
        self._generator = _caught(self._loaded)

    def __call__(self, row: dict[str, bytes]) -> dict[str, bytes]:
        generator = self._generator
        if not isinstance(generator, DestaError):
            requests: dict[bytes, Request] = pickle.loads(row["requests"])
            come: dict[bytes, Outcome] = {}
            result = _caught(complete, generator, self._sampling, requests, come.update)
            return {"result": pickle.dumps((come, result))}
        return {"result": pickle.dumps(({}, generator))}

    def _loaded(self) -> TextGenerator:
        generator, first = self._load(), self._traits
        if (generator.id, generator.revision) != (first.id, first.revision):
            raise DataError(
                f"a worker holds {generator.revision}, and another {first.revision}",
                fix="let the same files and versions be on all machines of the cluster",
            )
        return generator


def _caught(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | DestaError:
    """Return what a function returns, or what a user has to mend."""
    try:
        return function(*args, **kwargs)
    except DestaError as error:
        return error


def _uncaught(result: T | DestaError) -> T:
    if isinstance(result, DestaError):
        raise result
    return result


def _plan_block(
    row: dict[str, bytes],
    *,
    jobs_of: Callable[[Any], Iterable[HasRequest]],
    requests: RequestBatcher,
    answered: Any,
) -> list[dict[str, bytes]]:
    """Turn a block into the batches of what was not answered before, a row each."""
    asked = {requests.key(job.request): job.request for job in jobs_of(pickle.loads(row["block"]))}
    known = _members(asked, _ray().get(answered))
    rows = []
    for batch in requests.batches(asked):
        if missing := {key: asked[key] for key in batch if key not in known}:
            rows.append({"requests": pickle.dumps(missing)})
    return rows


def _members(keys: Collection[bytes], among: NDArray[np.bytes_]) -> set[bytes]:
    """Return those keys that are among others, which are sorted."""
    if not len(among):
        return set()
    sought = np.array(list(keys), _KEY)  # compared as bytes, filled with zeros
    places = np.searchsorted(among, sought).clip(max=len(among) - 1)
    return {key for key, there in zip(keys, among[places] == sought, strict=True) if there}


def _ask_for_traits(ray: Any, load: Load, cluster: ClusterConfig) -> _Traits:
    """Load the engine once where it will run, and return what it says of itself."""

    def traits() -> _Traits | DestaError:
        generator = _caught(load)
        if isinstance(generator, DestaError):
            return generator
        return _Traits(id=generator.id, revision=generator.revision, order=generator.order)

    task = ray.remote(
        num_cpus=_WORKER_CPUS,
        num_gpus=cluster.gpus_per_worker,
        max_calls=1,  # the process ends, and gives back the memory of its GPU
    )(traits)
    with _telling(ray):
        return _uncaught(ray.get(task.remote()))


def _plan_on_cluster(
    ray: Any, plan: RequestPlan[Any], requests: RequestBatcher, answered: NDArray[np.bytes_]
) -> Any:
    """Return the data set of batches to be answered; nothing is planned yet."""
    arrow = _need("pyarrow")
    blocks = [ray.put(arrow.table({"block": [pickle.dumps(block)]})) for block in plan.blocks]
    dataset = ray.data.from_arrow_refs(blocks)
    dataset.context.target_max_block_size = 1  # byte: every batch travels, and is lost, alone
    dataset.context.enable_progress_bars = False
    dataset.context.print_on_execution_start = False
    return dataset.flat_map(
        _plan_block,
        fn_kwargs={"jobs_of": plan.jobs_of, "requests": requests, "answered": ray.put(answered)},
        num_cpus=_TASK_CPUS,
    )


def _arrivals(
    ray: Any, batches: Any, worker: tuple[Load, _Traits, Sampling], cluster: ClusterConfig
) -> Generator[dict[bytes, Outcome], None, None]:
    """Yield what came of a batch at a time, in the order in which they are written."""
    pool = ray.data.ActorPoolStrategy(size=cluster.workers, max_tasks_in_flight_per_actor=2)
    with warnings.catch_warnings():  # Ray has no other name yet for a bound of these retries
        warnings.simplefilter("ignore", DeprecationWarning)
        answers = batches.map(
            _Worker,
            fn_constructor_args=worker,
            compute=pool,
            num_cpus=_WORKER_CPUS,
            num_gpus=cluster.gpus_per_worker or None,
            max_task_retries=_MOST_DEATHS,
        )
    # Blocks are fetched here: `iter_batches` does it in threads of its own, which outlive an error,
    # and a thread that touches Ray after its shutdown ends the process without a word.
    bundles = None
    try:
        with _telling(ray):
            bundles = answers.iter_internal_ref_bundles()  # waits for the first
            for bundle in bundles:
                for block in ray.get(bundle.block_refs):
                    if not block.num_rows:  # nor columns: nothing of it was left to answer
                        continue
                    for row in block.column("result").to_pylist():
                        come, result = pickle.loads(row)
                        yield come  # before the error that ended its batch
                        _uncaught(result)
    finally:
        del bundles  # ends what Ray Data still runs; the frames of an error would keep it
        gc.collect()  # and lets go of workers that only cycles hold, with their GPUs


@contextmanager
def _session(cluster: ClusterConfig) -> Iterator[Any]:
    """Join the cluster, or begin one on this machine, for as long as the block runs."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray = _ray()
    if ray.is_initialized():  # by whoever calls this
        yield ray
        return
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    for name in ("ray.data._internal.progress", "ray._private.authentication"):
        logging.getLogger(name).setLevel(logging.ERROR)  # they warn of what is wanted
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.WARNING}
    if cluster.address == LOCAL:
        options |= {"include_dashboard": False, "object_store_memory": _STORE_BYTES}
    try:
        _knock(cluster.address)
        ray.init(address=cluster.address, **options)
    except (OSError, RuntimeError, ValueError) as error:
        raise ConfigError(
            f"no Ray cluster at {cluster.address} can be joined: {error}",
            fix="start one with `ray start --head`, or give --cluster local",
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """Raise an OSError where nobody listens at HOST:PORT; Ray takes minutes to find that out."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=10).close()


@contextmanager
def _telling(ray: Any) -> Iterator[None]:
    """Turn the deaths of workers into what a user can do about them."""
    try:
        yield
    except ray.exceptions.RayTaskError:
        raise  # a bug in a worker
    except ray.exceptions.RayError as error:
        raise DataError(
            "a batch was given up, because every worker that had it died: "
            + str(error).strip().splitlines()[0],
            fix="read the workers' logs in /tmp/ray/session_latest/logs (too little memory?), mend "
            "it, and give the command again: what was answered is kept",
        ) from error


def _ray() -> Any:
    _need("pyarrow")
    _need("ray.data")
    return _need("ray")


def _need(module: str) -> ModuleType:
    return need(module, extra="cluster", to="construct on a cluster")
