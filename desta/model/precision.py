"""Number formats: which one a device computes fast in."""

import torch

from desta.errors import ConfigError
from desta.model.config import Dtype


def find_device(name: str | torch.device) -> torch.device:
    """Return a device of this machine.

    Raises:
        ConfigError: it has none of this name.
    """
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # the second where CUDA was left out
        raise ConfigError(
            f'device "{name}" cannot be used: {str(error).splitlines()[0]}',
            fix="give cpu, or cuda on a machine with a GPU and PyTorch built for it",
        ) from error
    return device


def precision(name: Dtype, device: str | torch.device = "cpu") -> torch.dtype:
    """Return the number format of a name; `auto` is bfloat16 where the device has it."""
    if name != "auto":
        return getattr(torch, name)
    if torch.device(device).type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    has_bfloat16 = torch.cpu.get_capabilities().get("avx512_bf16", False)
    return torch.bfloat16 if has_bfloat16 else torch.float32
