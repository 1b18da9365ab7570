"""Choice of the device and of its number format."""

import importlib.util
import logging
import os
from collections.abc import Callable

import torch

from desta.errors import ConfigError
from desta.model.config import AUTO, Dtype

log = logging.getLogger(__name__)

_FIX = "give auto, cpu, or cuda on a machine with a GPU and a PyTorch built for it"


def choose_device(
    name: str | torch.device, *, stored: Callable[[], str | None] = lambda: None
) -> torch.device:
    """Return the device of a name; log the choice of `auto`.

    `auto` is cuda if usable, else mps, else the CPU. A quantized backbone is never put on mps, and
    one in int8 on a GPU only if bitsandbytes is installed.

    Args:
        name: `auto`, or a device name of PyTorch.
        stored: returns the quantization of the backbone, None for floats; only called if there is
            more than a CPU.

    Raises:
        ConfigError: this machine has no such device.
    """
    if name != AUTO:
        return find_device(name)
    device, why = torch.device("cpu"), ""
    if torch.cuda.is_available():
        fault = _fault("cuda")
        if fault is None and stored() == "int8" and not importlib.util.find_spec("bitsandbytes"):
            fault = 'int8 there needs: pip install "desta[quant-gpu]"'
        device, why = _unless(fault, "cuda")
    elif torch.backends.mps.is_available():
        fault = _fault("mps")
        if fault is None and stored() is not None:
            fault = "a quantized backbone does not run there"
        device, why = _unless(fault, "mps")
    if os.environ.get("RANK", "0") == "0":  # only the first process of a run logs
        log.info("device: %s%s", device, why)
    return device


def find_device(name: str | torch.device) -> torch.device:
    """Return the device of a name, after checking that it can be used.

    Raises:
        ConfigError: this machine has no such device.
    """
    try:
        device = torch.device(name)
    except (RuntimeError, ValueError) as error:
        raise ConfigError(
            f'device "{name}" cannot be used: there is none of that name', fix=_FIX
        ) from error
    fault = "it computes nothing" if device.type == "meta" else _fault(device)
    if fault is not None:
        raise ConfigError(f'device "{name}" cannot be used: {fault}', fix=_FIX)
    return device


def _fault(device: str | torch.device) -> str | None:
    """Return why a device cannot compute in bfloat16; None if it can."""
    try:
        torch.zeros(1, dtype=torch.bfloat16, device=device)
    except (RuntimeError, AssertionError, TypeError, ImportError) as error:
        return str(error).splitlines()[0].split(". ")[0]  # mostly: built without that device
    return None


def _unless(fault: str | None, kind: str) -> tuple[torch.device, str]:
    """Return the device and no note; if it has a fault, the CPU and a note about the fault."""
    if fault is None:
        return torch.device(kind), ""
    return torch.device("cpu"), f" ({kind} is not taken: {fault})"


def precision(name: Dtype, device: str | torch.device = "cpu") -> torch.dtype:
    """Return the dtype of a name; `auto` is bfloat16 where the device has it."""
    if name != "auto":
        return getattr(torch, name)
    kind = torch.device(device).type
    if kind == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    has_bfloat16 = kind == "cpu" and torch.cpu.get_capabilities().get("avx512_bf16", False)
    return torch.bfloat16 if has_bfloat16 else torch.float32
