"""The workers of a cluster: how many engines there are, and what each of them is given."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from desta.construction.config import ConstructConfig
from desta.errors import ConfigError
from desta.generators.config import LocalEngine, OpenAIEngine, VllmEngine

LOCAL = "local"
"""Address of a cluster that is this machine alone, and ends with the call."""


@dataclass(frozen=True, kw_only=True)
class ClusterConfig:
    """Where responses are written, and by how many."""

    address: str = LOCAL
    """`local`, or the address of a running cluster: `auto` on one of its machines, `HOST:6379`, or
    `ray://HOST:10001`."""
    workers: int = 2
    """Engines that answer at the same time."""
    gpus_per_worker: int = 0

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise ConfigError(f"workers = {self.workers} answer nothing", fix="give 1 or more")


def per_worker(
    config: ConstructConfig, address: str, workers: int
) -> tuple[ConstructConfig, ClusterConfig]:
    """Say what a recipe's engine means for each of several workers.

    Args:
        config: the recipe.
        address: of the cluster.
        workers: how many share what the engine may ask of an endpoint in a minute.

    Returns:
        The recipe by which a worker loads its engine, and the cluster with the GPUs it takes.

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
    """Refuse more workers than the machines of a cluster have room for; Ray would wait for ever.

    Args:
        nodes: as `ray.nodes()` describes them.
        cluster: how many workers there are to be.

    Raises:
        ConfigError: there is no room.
    """
    machines = [node["Resources"] for node in nodes if node["Alive"]]
    cpus = int(sum(machine.get("CPU", 0) for machine in machines))
    wanted = cluster.workers
    if wanted > cpus:
        raise ConfigError(
            f"{wanted} workers want a CPU each, and the cluster has {cpus}",
            fix=f"give --workers {cpus}, or add machines" if cpus else "add machines with CPUs",
        )
    if size := cluster.gpus_per_worker:
        places = sum(int(machine.get("GPU", 0)) // size for machine in machines)
        if wanted > places:
            raise ConfigError(
                f"{wanted} workers want {size} GPU each, and the cluster has room for {places}",
                fix=f"give --workers {places}, or add machines" if places else "add GPUs",
            )
