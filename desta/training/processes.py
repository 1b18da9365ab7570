"""Processes of a run: distribution of model and work, and errors of dead processes.

Several processes are started by `torchrun`, which sets the rank of each.
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
from desta.training.tally import StepTally

Strategy = Literal["ddp", "fsdp2"]
# PyTorch's message for a dead reader; an error raised by a living one has another message.
_DEAD_READER = re.compile(r"DataLoader worker \(pid.*(exited unexpectedly|is killed by signal)")
_NEWS_SECONDS = 1.0  # its connections break a moment before the signal of its death
_NETWORK = ("gloo", "NCCL", "Connection closed by peer", "Connection reset by peer")


def start(
    mixed: Literal["auto", "bf16", "no"],
    device: str = AUTO,
    *,
    stored: Callable[[], str | None] = lambda: None,
) -> Accelerator:
    """Create the accelerator of this process, joined with the other processes of the run.

    Args:
        mixed: mixed precision; `auto` is bf16 where the device has it.
        device: see `desta.model.precision.choose_device`.
        stored: returns the quantization of the stored backbone.

    Raises:
        ConfigError: this machine has no such device, or one GPU is named for several processes.
    """
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    if several and ":" in device:
        raise ConfigError(
            f"device = {device} is one device, but every process needs its own",
            fix=f"give device: {device.partition(':')[0]}",
        )
    if several and device != "cpu" and torch.cuda.is_available():
        number = int(os.environ.get("LOCAL_RANK", "0"))
        torch.cuda.set_device(number % torch.cuda.device_count())  # else all use the first
    place = choose_device(device, stored=stored)
    if place.type == "cuda" and place.index is not None:
        torch.cuda.set_device(place)
    if mixed == "auto":
        mixed = "bf16" if precision("auto", place) == torch.bfloat16 else "no"
    return Accelerator(mixed_precision=mixed, cpu=place.type == "cpu")


def distribute(model: DestaModel, accelerator: Accelerator, strategy: Strategy) -> nn.Module:
    """Return the model wrapped for training.

    ddp: every process holds the whole model; gradients are averaged. fsdp2: the layers of the
    backbone and the connector are sharded and gathered when used; embeddings and LM head, which are
    called outside the layers, stay whole.
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
    """Exchange gradients between processes only after the last micro-batch of a step."""
    sharded = [m for m in model.modules() if isinstance(m, FSDPModule)]
    for module in sharded:
        module.set_requires_gradient_sync(last, recurse=False)
    with contextlib.nullcontext() if last or sharded else accelerator.no_sync(model):
        yield


def tally_all(accelerator: Accelerator, tally: StepTally) -> StepTally:
    """Return the sum of the tallies of all processes."""
    if accelerator.num_processes == 1:
        return tally
    return StepTally.sum(gather_object([tally]))


def total(accelerator: Accelerator, value: float) -> float:
    """Return the sum of a number over all processes."""
    if accelerator.num_processes == 1:
        return value
    tensor = torch.tensor(value, dtype=torch.float32, device=accelerator.device)
    return accelerator.reduce(tensor, reduction="sum").item()


def most(accelerator: Accelerator, number: int) -> int:
    """Return the maximum of a number over all processes."""
    return number if accelerator.num_processes == 1 else max(gather_object([number]))


def clip_gradients(parameters: list[nn.Parameter], max_norm: float) -> float:
    """Clip gradients to a global norm; return the norm before."""
    norm: Tensor = nn.utils.clip_grad_norm_(parameters, max_norm)
    return float(norm.full_tensor() if isinstance(norm, distributed.tensor.DTensor) else norm)


@contextlib.contextmanager
def dead_process_errors() -> Iterator[None]:
    """Raise DataError if a process that reads audio, or another process of the run, has died.

    PyTorch raises RuntimeError for both: for a reader from within a signal handler, that is, from
    any line, where a library may convert it into an error of its own.
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
                fix="read the messages of that process, then give the same command again",
            ) from error
        raise


def _death_of_a_reader(error: BaseException | None) -> str | None:
    """Return PyTorch's message for a dead reader; None if none has died."""
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
    """Return the message of a broken connection to a reader, in case no signal arrives."""
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
