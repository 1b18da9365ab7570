"""Optimiser: AdamW and its learning rate schedule."""

import math
from collections.abc import Iterable

import torch
from torch import nn

from desta.training.config import OptimConfig


def make_optimizer(parameters: Iterable[nn.Parameter], config: OptimConfig) -> torch.optim.AdamW:
    """Create AdamW for the trained tensors; the learning rate is set before every step."""
    return torch.optim.AdamW(
        parameters,
        lr=config.learning_rate,
        betas=(config.beta1, config.beta2),
        weight_decay=config.weight_decay,
    )


def learning_rate(step: int, *, steps: int, config: OptimConfig) -> float:
    """Return the learning rate of a step (1-based): linear warm-up, then cosine decay to zero."""
    if step <= config.warmup_steps:
        return config.learning_rate * step / config.warmup_steps
    progress = (step - config.warmup_steps) / max(steps - config.warmup_steps, 1)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
