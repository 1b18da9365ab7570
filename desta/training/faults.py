"""A step whose loss is no number: the pairs that make it so are found and left out.

Each pair is tried alone, and silence beside them: if the model makes no number of that either, it
is the model, and no pair is at fault.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from accelerate import Accelerator
from torch import Tensor

from desta.data.dataset import Skipped
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
    """Return micro-batches without the pairs that alone give no number; those are skipped.

    Every process of a run must call it: where they hold the model in pieces, they compute together.

    Args:
        model: not wrapped.
        collator: reads pairs once more.
        batches: of this process.
        accelerator: of the run.
        parameters: whose gradients must be numbers, too.

    Returns:
        None where no process has such a pair, or the model makes no number of silence.
    """
    pairs = [pair for batch in batches for pair in batch.pairs]
    silence = collator.silence()
    if not _is_number(model, silence, accelerator, parameters):
        return None
    faulty = []
    for place in range(processes.most(accelerator, len(pairs))):
        alone = collator([pairs[place]]) if place < len(pairs) else silence
        faulty.append(not _is_number(model, alone, accelerator, parameters))
    if not processes.most(accelerator, sum(faulty)):
        return None
    rest = iter(faulty)
    return [_split(collator, batch, [next(rest) for _ in batch.pairs]) for batch in batches]


def diverged(step: int, loss: float, norm: float | None = None) -> ConfigError:
    """Return the error of a model that makes no number of what it made numbers of before."""
    of_gradients = "" if norm is None else f", its gradients' norm {norm}"
    return ConfigError(
        f"the loss of step {step} is {loss}{of_gradients}",
        fix='lower optim.learning_rate or set precision: "no", and give another --out',
    )


def _split(collator: Collator, batch: MicroBatch, faulty: Sequence[bool]) -> MicroBatch:
    """Form a micro-batch again, of the pairs that are not at fault."""
    if not any(faulty):
        return batch
    both = list(zip(batch.pairs, faulty, strict=True))
    lost = [Skipped(pair.id, NO_LOSS) for pair, is_faulty in both if is_faulty]
    kept = collator([pair for pair, is_faulty in both if not is_faulty])
    return replace(kept, skipped=[*batch.skipped, *kept.skipped, *lost])


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
