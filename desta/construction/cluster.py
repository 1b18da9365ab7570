"""Construction on a Ray cluster: Ray Data plans and generates, this process filters and writes.

    here                     tasks                           workers (actors, an engine each)
    clips, in blocks   --->  describe, draw, leave out  ---> generate a batch
                             requests of the journal                |
    journal, filters, shards  <------- completions, as they come ---+

This process is the only writer of journal and shards, and writes the shards in the order of the
clips with the same code as without a cluster. Hence the number of workers and the order of their
completions change nothing, and a killed call continues where the journal ends.
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
from desta.construction.pipeline import construct_with
from desta.construction.requests import (
    HasRequest,
    J,
    Messages,
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

# Shares of a CPU, as Ray counts them. With at most one worker per CPU, half of every CPU stays free
# for tasks: workers that held them all would wait for requests for ever. The two shares differ,
# else Ray Data would fuse planning and generation of a whole block into one step.
_WORKER_CPUS = 0.5
_TASK_CPUS = 0.25

_MOST_DEATHS = 3  # of workers over one batch, before the batch counts as the cause
_STORE_BYTES = 1 << 30  # memory of this machine for clips and requests in transit
_KEY = np.dtype("S32")


def construct_on_cluster(
    config: ConstructConfig,
    out: Path,
    load: Load,
    cluster: ClusterConfig,
    *,
    retry: bool = False,
) -> Manifest:
    """Construct a data set with responses from a Ray cluster; else like `pipeline.construct`.

    Args:
        config: the recipe.
        out: directory of the data set, on this machine.
        load: loads the engine; called in every worker, where its files must exist.
        cluster: address and workers.
        retry: retry refused requests, also if the data set is finished.

    Raises:
        ConfigError: there is no cluster at that address, or it has no room for the workers.
        DataError: as `construct`, or a batch killed its workers.
        MissingExtraError: Ray is not installed.
    """
    with _session(cluster) as ray, ExitStack() as stack:
        check_room(ray.nodes(), cluster)
        traits = _ask_for_traits(ray, load, cluster)

        def make_responder(plan: RequestPlan[Any], journal: ResponseJournal) -> Responder:
            requests = RequestBatcher(config, traits)
            answered = np.sort(np.frombuffer(b"".join(journal.keys()), _KEY))
            batches = _plan_on_cluster(ray, plan, requests, answered)
            worker = (load, traits, config.sampling)
            arrivals = stack.enter_context(closing(_arrivals(ray, batches, worker, cluster)))
            return ClusterGenerator(requests, journal, arrivals)

        return construct_with(config, out, traits, make_responder, retry=retry)


@dataclass(frozen=True, kw_only=True)
class _Traits:
    """Traits of the generator in the workers."""

    id: str
    revision: str
    order: Literal["length", "prefix"]

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Return the length in characters, enough to sort by: the tokenizer is in the workers."""
        return sum(len(as_text(message)) for message in messages)


class ClusterGenerator:
    """Responder of a cluster: completions arrive in any order, and are journalled at once."""

    def __init__(
        self,
        requests: RequestBatcher,
        journal: ResponseJournal,
        arrivals: Iterator[dict[bytes, Outcome]],
    ) -> None:
        """Create a responder; `arrivals` brings all outcomes that the journal lacks."""
        self._requests = requests
        self._journal = journal
        self._arrivals = arrivals

    def respond(
        self, jobs: Iterable[J], *, on_progress: Callable[[int], None]
    ) -> Iterator[tuple[J, Outcome]]:
        """Wait for the outcomes of a chunk of jobs, and yield them in the order of the jobs."""
        rest = iter(jobs)
        while chunk := list(islice(rest, self._requests.chunk)):
            keys = [self._requests.key(job.request) for job in chunk]
            wanted = set(keys)
            found = self._journal.find(wanted)
            on_progress(len(chunk) - len(wanted) + len(found))
            while len(found) < len(wanted):
                arrived = next(self._arrivals)
                known = self._journal.find(arrived)  # equal requests of two blocks
                new = {key: c for key, c in arrived.items() if key not in known}
                self._journal.add(new)
                ours = {key: c for key, c in new.items() if key in wanted}
                found |= ours
                on_progress(len(ours))
            for key, job in zip(keys, chunk, strict=True):
                yield job, found[key]


class _Worker:
    """An engine in a process of its own.

    Errors are returned like responses: raised in the worker, they would be wrapped by Ray.
    """

    def __init__(self, load: Load, traits: _Traits, sampling: Sampling) -> None:
        self._load = load
        self._traits = traits
        self._sampling = sampling
        self._generator = _caught(self._loaded)

    def __call__(self, row: dict[str, bytes]) -> dict[str, bytes]:
        generator = self._generator
        if not isinstance(generator, DestaError):
            requests: dict[bytes, Messages] = pickle.loads(row["requests"])
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
    """Return the result of a function, or the DestaError that it raises."""
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
    """Return the batches of requests in a block that the journal lacks, a row each."""
    asked = {requests.key(job.request): job.request for job in jobs_of(pickle.loads(row["block"]))}
    known = _members(asked, _ray().get(answered))
    rows = []
    for batch in requests.batches(asked):
        if missing := {key: asked[key] for key in batch if key not in known}:
            rows.append({"requests": pickle.dumps(missing)})
    return rows


def _members(keys: Collection[bytes], among: NDArray[np.bytes_]) -> set[bytes]:
    """Return the keys that occur in a sorted array."""
    if not len(among):
        return set()
    sought = np.array(list(keys), _KEY)  # compared as bytes, padded with zeros
    places = np.searchsorted(among, sought).clip(max=len(among) - 1)
    return {key for key, there in zip(keys, among[places] == sought, strict=True) if there}


def _ask_for_traits(ray: Any, load: Load, cluster: ClusterConfig) -> _Traits:
    """Load the engine once in the cluster, and return its traits."""

    def traits() -> _Traits | DestaError:
        generator = _caught(load)
        if isinstance(generator, DestaError):
            return generator
        return _Traits(id=generator.id, revision=generator.revision, order=generator.order)

    task = ray.remote(
        num_cpus=_WORKER_CPUS,
        num_gpus=cluster.gpus_per_worker,
        max_calls=1,  # the process ends, and frees the memory of its GPU
    )(traits)
    with _telling(ray):
        return _uncaught(ray.get(task.remote()))


def _plan_on_cluster(
    ray: Any, plan: RequestPlan[Any], requests: RequestBatcher, answered: NDArray[np.bytes_]
) -> Any:
    """Return the Ray data set of batches to generate; it is planned lazily."""
    arrow = _need("pyarrow")
    blocks = [ray.put(arrow.table({"block": [pickle.dumps(block)]})) for block in plan.blocks]
    dataset = ray.data.from_arrow_refs(blocks)
    dataset.context.target_max_block_size = 1  # byte: every batch is sent, and lost, alone
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
    """Yield the outcomes of one batch at a time, as they are completed."""
    pool = ray.data.ActorPoolStrategy(size=cluster.workers, max_tasks_in_flight_per_actor=2)
    with warnings.catch_warnings():  # Ray has no other option yet that limits these retries
        warnings.simplefilter("ignore", DeprecationWarning)
        answers = batches.map(
            _Worker,
            fn_constructor_args=worker,
            compute=pool,
            num_cpus=_WORKER_CPUS,
            num_gpus=cluster.gpus_per_worker or None,
            max_task_retries=_MOST_DEATHS,
        )
    # Blocks are fetched here: `iter_batches` fetches in threads of its own, which outlive an error,
    # and a thread that uses Ray after its shutdown kills the process silently.
    bundles = None
    try:
        with _telling(ray):
            bundles = answers.iter_internal_ref_bundles()  # waits for the first
            for bundle in bundles:
                for block in ray.get(bundle.block_refs):
                    if not block.num_rows:  # nor columns: all its requests were in the journal
                        continue
                    for row in block.column("result").to_pylist():
                        come, result = pickle.loads(row)
                        yield come  # completions before the error of the batch
                        _uncaught(result)
    finally:
        del bundles  # ends running Ray Data tasks, which the frames of an error would keep alive
        gc.collect()  # frees workers, and their GPUs, that are only held by reference cycles


@contextmanager
def _session(cluster: ClusterConfig) -> Iterator[Any]:
    """Join the cluster, or start one on this machine, while the block runs."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray = _ray()
    if ray.is_initialized():  # by the caller
        yield ray
        return
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    for name in ("ray.data._internal.progress", "ray._private.authentication"):
        logging.getLogger(name).setLevel(logging.ERROR)  # they warn of settings made on purpose
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
    """Raise an OSError if nothing listens at HOST:PORT; Ray takes minutes to notice."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=10).close()


@contextmanager
def _telling(ray: Any) -> Iterator[None]:
    """Convert errors about dead workers to a DataError with a fix."""
    try:
        yield
    except ray.exceptions.RayTaskError:
        raise  # a bug in a worker
    except ray.exceptions.RayError as error:
        raise DataError(
            "a batch was given up because every worker that had it died: "
            + str(error).strip().splitlines()[0],
            fix="read the workers' logs in /tmp/ray/session_latest/logs (too little memory?), mend "
            "it, and give the command again: responses so far are kept",
        ) from error


def _ray() -> Any:
    _need("pyarrow")
    _need("ray.data")
    return _need("ray")


def _need(module: str) -> ModuleType:
    return need(module, extra="cluster", to="construct on a cluster")
