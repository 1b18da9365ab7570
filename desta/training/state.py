"""Resumable state of a run, in safetensors and JSON."""

import json
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor

from desta.data.sampling import Position
from desta.errors import DataError
from desta.files import sync, write_atomic
from desta.model.hub.weights import write_tensors
from desta.reasons import Reasons
from desta.training.tally import StepTally

RESUME = "resume"
_HOPELESS = 100  # consecutive unusable pairs after which the run stops
_ENOUGH = 1000  # fewest pairs of which the share of unusable ones is checked
_MOMENTS = ("step", "exp_avg", "exp_avg_sq")  # AdamW's state of a tensor


@dataclass
class Progress:
    """Progress of a run."""

    step: int = 0
    position: Position = field(default_factory=Position)
    seconds: float = 0.0
    """Time spent in steps, interrupted calls included."""
    num_read: int = 0
    """Pairs read, usable or not."""
    skipped: Reasons[str] = field(default_factory=Reasons)
    """Unusable pairs."""
    cut: Reasons[str] = field(default_factory=Reasons)
    """Parts of pairs that were left out."""
    num_on_end: int = 0
    """Number of unusable pairs since the last usable one."""

    def count(self, tally: StepTally, *, num_rows: int, max_share: float) -> None:
        """Add the pairs of a step.

        Args:
            tally: counts of all processes.
            num_rows: pairs of the data set.
            max_share: largest share of unusable pairs.

        Raises:
            DataError: too many pairs are unusable.
        """
        self.num_read += tally.num_pairs + tally.skipped.total
        self.skipped.merge(tally.skipped)
        self.cut.merge(tally.cut)
        self.num_on_end = 0 if tally.num_pairs else self.num_on_end + tally.skipped.total
        num_skipped = self.skipped.total
        hopeless = self.num_on_end >= min(_HOPELESS, num_rows)
        too_many = tally.num_pairs and num_skipped > max_share * max(self.num_read, _ENOUGH)
        if hopeless or too_many:
            reason, found = next(iter(self.skipped.items()))
            what = (
                f"{self.num_on_end} pairs on end cannot be used"
                if hopeless
                else f"{num_skipped} of {self.num_read} pairs are unusable"
            )
            raise DataError(
                f"{what}; the first, {found.example}: {reason}",
                fix="check data.audio_root and the audio files, or raise data.max_skipped_share",
            )


def gather_state(
    parameters: dict[str, torch.nn.Parameter], optimizer: torch.optim.Optimizer
) -> dict[str, Tensor]:
    """Return the full parameters and moments; every process must call this."""
    tensors: dict[str, Tensor] = {}
    for name, parameter in parameters.items():
        tensors[f"parameter.{name}"] = _whole(parameter)
        for moment in _MOMENTS:
            tensors[f"{moment}.{name}"] = _whole(optimizer.state[parameter][moment])
    return tensors


def save_state(run: Path, progress: Progress, tensors: dict[str, Tensor]) -> None:
    """Write the state under a temporary name, then rename: a kill leaves the old or the new one.

    The old one is removed once the new one is on disk, which also covers a power failure.
    """
    directory = run / RESUME
    target = directory / f"step-{progress.step:08d}"
    partial = directory / "partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    write_tensors(partial / "state.safetensors", tensors)
    sync(partial / "state.safetensors")
    write_atomic(partial / "progress.json", f"{json.dumps(asdict(progress))}\n".encode())
    partial.rename(target)
    sync(directory)
    for old in directory.glob("step-*"):
        if old != target:
            shutil.rmtree(old)


def load_state(
    run: Path,
    parameters: dict[str, torch.nn.Parameter],
    optimizer: torch.optim.Optimizer,
) -> Progress | None:
    """Restore parameters and optimiser from the newest state, with any number of processes.

    Returns:
        The progress of the run; None if nothing has been saved yet.

    Raises:
        DataError: the state is damaged, or belongs to another model.
    """
    states = sorted((run / RESUME).glob("step-*"))
    if not states:
        return None
    try:
        tensors = load_file(states[-1] / "state.safetensors")
        fields = json.loads((states[-1] / "progress.json").read_text(encoding="utf-8"))
        fields |= {name: Reasons.from_json(fields[name]) for name in ("skipped", "cut")}
        progress = Progress(**fields | {"position": Position(**fields["position"])})
        _check_shapes(tensors, parameters)
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{states[-1]} cannot be resumed from: {error}",
            fix=f"delete {run / RESUME} and give the same command again: it starts anew",
        ) from error
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(_like(parameter, tensors[f"parameter.{name}"]))
            moments = {m: tensors[f"{m}.{name}"] for m in _MOMENTS}
            optimizer.state[parameter] = {
                m: t if m == "step" else _like(parameter, t) for m, t in moments.items()
            }
    return progress


def _check_shapes(tensors: dict[str, Tensor], parameters: dict[str, torch.nn.Parameter]) -> None:
    for name, parameter in parameters.items():
        for part in ("parameter", *_MOMENTS):
            shape = torch.Size() if part == "step" else parameter.shape
            tensor = tensors.get(f"{part}.{name}")
            if tensor is None or tensor.shape != shape:
                raise ValueError(f"{part}.{name} is missing or of another shape")


def _whole(tensor: Tensor) -> Tensor:
    """Return a full copy of a tensor, gathered if it is sharded."""
    if isinstance(tensor, DTensor):
        tensor = tensor.full_tensor()
    return tensor.detach().cpu().contiguous()


def _like(parameter: Tensor, tensor: Tensor) -> Tensor:
    """Return a tensor with the device and sharding of a parameter."""
    tensor = tensor.to(parameter.device)
    if isinstance(parameter, DTensor):
        return distribute_tensor(tensor, parameter.device_mesh, parameter.placements)
    return tensor
