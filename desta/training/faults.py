"""Search for the pairs that make the loss or gradients of a step NaN, to leave them out.

Each pair is tried alone. Silence is tried as well: if it gives NaN, the model is the cause and not
the pairs.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from accelerate import Accelerator
from torch import Tensor

from desta.data.dataset import SkippedPair
from desta.errors import ConfigError
from desta.model.desta import DestaModel
from desta.training import processes
from desta.training.batches import Collator, MicroBatch

NO_LOSS = "gives a loss or gradients that are no numbers"


def without_faulty(
    model: DestaModel,
    collator: Collator,
    batches: Sequence[MicroBatch],
    accelerator: Accelerator,
    *,
    parameters: Sequence[Tensor] = (),
) -> list[MicroBatch] | None:
    """Return micro-batches without the pairs that give NaN on their own; those are skipped.

    Every process of a run must call it, because processes with a sharded model compute together.

    Args:
        model: the model without wrappers.
        collator: reads the pairs again.
        batches: micro-batches of this process.
        accelerator: of the run.
        parameters: parameters whose gradients must be finite, too.

    Returns:
        None if no process has such a pair, or if silence gives NaN as well.
    """
    pairs = [pair for batch in batches for pair in batch.pairs]
    draws = [
        draw
        for batch in batches
        for group, draw in zip(batch.groups, batch.draws, strict=True)
        for _ in group
    ]
    silence = collator.silence()
    if not _is_number(model, silence, accelerator, parameters):
        return None
    faulty = []
    for place in range(processes.most(accelerator, len(pairs))):
        alone = collator([[pairs[place]]], [draws[place]]) if place < len(pairs) else silence
        faulty.append(not _is_number(model, alone, accelerator, parameters))
    if not processes.most(accelerator, sum(faulty)):
        return None
    rest = iter(faulty)
    return [_split(collator, batch, [next(rest) for _ in batch.pairs]) for batch in batches]


def diverged(step: int, loss: float, norm: float | None = None) -> ConfigError:
    """Return the error of a model whose loss has become NaN or infinite."""
    of_gradients = "" if norm is None else f", its gradients' norm {norm}"
    return ConfigError(
        f"the loss of step {step} is {loss}{of_gradients}",
        fix='lower optim.learning_rate or set precision: "no", and give another --out',
    )


def _split(collator: Collator, batch: MicroBatch, faulty: Sequence[bool]) -> MicroBatch:
    """Return a micro-batch without its faulty pairs, which are skipped."""
    if not any(faulty):
        return batch
    lost = [p for p, is_faulty in zip(batch.pairs, faulty, strict=True) if is_faulty]
    rest = iter(faulty)
    left = [[pair for pair in group if not next(rest)] for group in batch.groups]
    kept = collator(left, batch.draws)
    skipped = [SkippedPair(pair.id, NO_LOSS) for pair in lost]
    return replace(kept, skipped=[*batch.skipped, *kept.skipped, *skipped])


def _is_number(
    model: DestaModel, batch: MicroBatch, accelerator: Accelerator, parameters: Sequence[Tensor]
) -> bool:
    with torch.set_grad_enabled(bool(parameters)), accelerator.autocast():
        loss = model(**batch.inputs())
    if not math.isfinite(loss.item()) or not parameters:
        return math.isfinite(loss.item())
    gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
    norms = [gradient.float().norm() for gradient in gradients if gradient is not None]
    return bool(torch.stack(norms).norm().isfinite())
