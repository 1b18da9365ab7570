"""Configuration of a cluster: address, workers, and the engine of each worker."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from desta.construction.config import ConstructConfig
from desta.errors import ConfigError
from desta.generators.config import LocalEngine, OpenAIEngine, VllmEngine

LOCAL = "local"
"""Address of a temporary cluster on this machine."""


@dataclass(frozen=True, kw_only=True)
class ClusterConfig:
    """Cluster that generates responses."""

    address: str = LOCAL
    """`local`, or the address of a running cluster: `auto` on one of its machines, `HOST:6379`, or
    `ray://HOST:10001`."""
    workers: int = 2
    """Number of engines that run at the same time."""
    gpus_per_worker: int = 0

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise ConfigError(f"workers = {self.workers} is below 1", fix="give 1 or more")


def per_worker(
    config: ConstructConfig, address: str, workers: int
) -> tuple[ConstructConfig, ClusterConfig]:
    """Return the recipe of each worker, and the cluster.

    Args:
        config: the recipe.
        address: address of the cluster.
        workers: number of workers, which share the engine's rate limit of an endpoint.

    Returns:
        The recipe with which a worker loads its engine, and the cluster with its GPUs per worker.

    Raises:
        ConfigError: the engine names a GPU.
    """
    engine, gpus = config.engine, 0
    match engine:
        case VllmEngine():
            gpus = engine.num_gpus
        case LocalEngine() if engine.device.startswith("cuda:"):
            raise ConfigError(
                f"engine.device = {engine.device} is one GPU, and every worker has its own",
                fix="give `device: cuda`",
            )
        case LocalEngine():
            gpus = int(engine.device == "cuda")
        case OpenAIEngine():
            rates = {
                name: rate / workers
                for name in ("requests_per_minute", "tokens_per_minute")
                if (rate := getattr(engine, name)) is not None
            }
            config = replace(config, engine=replace(engine, **rates))
    return config, ClusterConfig(address=address, workers=workers, gpus_per_worker=gpus)


def check_room(nodes: Iterable[Mapping[str, Any]], cluster: ClusterConfig) -> None:
    """Refuse more workers than the cluster has room for; Ray would wait for ever.

    Args:
        nodes: from `ray.nodes()`.
        cluster: the requested workers.

    Raises:
        ConfigError: there is no room.
    """
    machines = [node["Resources"] for node in nodes if node["Alive"]]
    cpus = int(sum(machine.get("CPU", 0) for machine in machines))
    wanted = cluster.workers
    if wanted > cpus:
        raise ConfigError(
            f"{wanted} workers need a CPU each, and the cluster has {cpus}",
            fix=f"give --workers {cpus}, or add machines" if cpus else "add machines with CPUs",
        )
    if size := cluster.gpus_per_worker:
        places = sum(int(machine.get("GPU", 0)) // size for machine in machines)
        if wanted > places:
            raise ConfigError(
                f"{wanted} workers need {size} GPU each, and the cluster has room for {places}",
                fix=f"give --workers {places}, or add machines" if places else "add GPUs",
            )
