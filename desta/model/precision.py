"""Number formats: which one a device computes fast in."""

import torch

from desta.model.config import Dtype


def precision(name: Dtype, device: str | torch.device = "cpu") -> torch.dtype:
    """Return the number format of a name; `auto` is bfloat16 where the device has it."""
    if name != "auto":
        return getattr(torch, name)
    if torch.device(device).type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    has_bfloat16 = torch.cpu.get_capabilities().get("avx512_bf16", False)
    return torch.bfloat16 if has_bfloat16 else torch.float32
