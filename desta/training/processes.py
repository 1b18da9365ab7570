"""The processes of a run: how they share the model and the work, and how they end together.

Several processes are started by `torchrun`, which tells each its number.
"""

import contextlib
import os
import re
import time
import traceback
from collections.abc import Callable, Iterator
from multiprocessing import connection
from typing import Literal

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor, distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard

from desta.errors import ConfigError, DataError, DestaError
from desta.model.backbone.layers import decoder_layers
from desta.model.config import AUTO
from desta.model.desta import DestaModel
from desta.model.precision import choose_device, precision
from desta.training.tally import Tally

Strategy = Literal["ddp", "fsdp2"]
# What PyTorch says of a reader that has died; what a living one raises names it in other words.
_DEAD_READER = re.compile(r"DataLoader worker \(pid.*(exited unexpectedly|is killed by signal)")
_NEWS_SECONDS = 1.0  # its connections break a moment before the signal says that it is dead
_NETWORK = ("gloo", "NCCL", "Connection closed by peer", "Connection reset by peer")


def start(
    mixed: Literal["auto", "bf16", "no"],
    device: str = AUTO,
    *,
    stored: Callable[[], str | None] = lambda: None,
) -> Accelerator:
    """Join the processes of the run; one that was started alone is alone.

    Args:
        mixed: mixed precision; `auto` is bf16 where the device has it.
        device: see `desta.model.precision.choose_device`.
        stored: in how few bits the backbone is stored.

    Raises:
        ConfigError: this machine has no such device, or one GPU is named for several processes.
    """
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    if several and ":" in device:
        raise ConfigError(
            f"device = {device} is one device, and every process has its own",
            fix=f"give device: {device.partition(':')[0]}",
        )
    if several and device != "cpu" and torch.cuda.is_available():
        number = int(os.environ.get("LOCAL_RANK", "0"))
        torch.cuda.set_device(number % torch.cuda.device_count())  # or all of them try the first
    place = choose_device(device, stored=stored)
    if place.type == "cuda" and place.index is not None:
        torch.cuda.set_device(place)
    if mixed == "auto":
        mixed = "bf16" if precision("auto", place) == torch.bfloat16 else "no"
    return Accelerator(mixed_precision=mixed, cpu=place.type == "cpu")


def distribute(model: DestaModel, accelerator: Accelerator, strategy: Strategy) -> nn.Module:
    """Return what a step calls.

    ddp: every process holds all; gradients are averaged. fsdp2: the layers of the backbone and
    the connector are cut in pieces and gathered when they are used; embeddings and head, which
    the model calls by themselves, stay whole.
    """
    if accelerator.num_processes == 1:
        return model
    if strategy == "ddp":
        return accelerator.prepare_model(model)
    mesh = init_device_mesh(accelerator.device.type, (accelerator.num_processes,))
    fully_shard(model.connector, mesh=mesh)
    for layer in decoder_layers(model.decoder):
        fully_shard(layer, mesh=mesh)
    ends = (model.llm_model.get_input_embeddings(), model.llm_model.get_output_embeddings())
    whole = {parameter for end in ends for parameter in end.parameters()}
    fully_shard(model.decoder, mesh=mesh, ignored_params=whole)
    return model


@contextlib.contextmanager
def exchanging(accelerator: Accelerator, model: nn.Module, *, last: bool) -> Iterator[None]:
    """Let processes exchange gradients only after the last micro-batch of a step."""
    sharded = [m for m in model.modules() if isinstance(m, FSDPModule)]
    for module in sharded:
        module.set_requires_gradient_sync(last, recurse=False)
    with contextlib.nullcontext() if last or sharded else accelerator.no_sync(model):
        yield


def tally_all(accelerator: Accelerator, tally: Tally) -> Tally:
    """Add up what all processes have read for a step."""
    if accelerator.num_processes == 1:
        return tally
    return Tally.sum(gather_object([tally]))


def total(accelerator: Accelerator, value: float) -> float:
    """Add up a number over all processes."""
    if accelerator.num_processes == 1:
        return value
    tensor = torch.tensor(value, dtype=torch.float32, device=accelerator.device)
    return accelerator.reduce(tensor, reduction="sum").item()


def most(accelerator: Accelerator, number: int) -> int:
    """Return the largest of the numbers that the processes have."""
    return number if accelerator.num_processes == 1 else max(gather_object([number]))


def clip_gradients(parameters: list[nn.Parameter], max_norm: float) -> float:
    """Scale gradients down to a global norm; return what it was."""
    norm: Tensor = nn.utils.clip_grad_norm_(parameters, max_norm)
    return float(norm.full_tensor() if isinstance(norm, distributed.tensor.DTensor) else norm)


@contextlib.contextmanager
def told() -> Iterator[None]:
    """Say in one sentence that another process has died: one that reads audio, or one of the run.

    PyTorch raises both as RuntimeError, the first from wherever the signal finds us, where a
    library may turn it into an error of its own.
    """
    try:
        yield
    except DestaError:
        raise
    except Exception as error:
        if (message := _death_of_a_reader(error)) is not None:
            raise DataError(
                f"a process that reads audio has died: {message}",
                fix="give the same command again; if it happens again, lower data.num_workers",
            ) from error
        if distributed.is_initialized() and _is_network(error):
            raise DataError(
                "another process of the run has ended",
                fix="read what that process said, then give the same command again",
            ) from error
        raise


def _death_of_a_reader(error: BaseException | None) -> str | None:
    """Return what PyTorch says of a reader that has died; None where none has."""
    first = error
    try:
        if isinstance(error, ConnectionError | EOFError):
            time.sleep(_NEWS_SECONDS)
    except RuntimeError as news:
        error = news
    while error is not None:
        message = " ".join(str(error).split())
        if _DEAD_READER.match(message):
            return message
        error = error.__cause__ or error.__context__
    return _broken_pipe(first)


def _broken_pipe(error: BaseException | None) -> str | None:
    """Return the message of a connection to a reader that broke, should no signal tell why."""
    if not isinstance(error, ConnectionError | EOFError):
        return None
    frames = traceback.extract_tb(error.__traceback__)
    if not any(frame.filename == connection.__file__ for frame in frames):
        return None
    return str(error) or type(error).__name__


def _is_network(error: Exception) -> bool:
    if isinstance(error, distributed.DistError):
        return True
    return isinstance(error, RuntimeError) and any(word in str(error) for word in _NETWORK)
