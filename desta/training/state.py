"""The state of a run that a killed process resumes from: safetensors and JSON, no pickle."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from desta.data.dataset import Skipped
from desta.data.sampling import Position
from desta.errors import DataError
from desta.training.batches import MicroBatch

RESUME = "resume"
_ENOUGH = 1000  # pairs below which a share says little
_MOMENTS = ("step", "exp_avg", "exp_avg_sq")  # AdamW's state of a tensor


@dataclass
class Progress:
    """Where a run stands."""

    step: int = 0
    position: Position = field(default_factory=Position)
    seconds: float = 0.0
    """Time spent in steps, over all processes that worked on the run one after the other."""
    num_read: int = 0
    """Pairs read, usable or not."""
    skipped: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Reason -> count and example id of unusable pairs."""
    num_cut_texts: int = 0
    """Pairs whose transcription was cut."""
    num_cut_responses: int = 0
    """Pairs whose response was cut."""

    def count(self, micro_batches: Sequence[MicroBatch], *, max_share: float) -> None:
        """Add what a step read.

        Raises:
            DataError: more than `max_share` of all pairs so far were unusable.
        """
        for micro_batch in micro_batches:
            self.num_read += len(micro_batch.examples) + len(micro_batch.skipped)
            count_reasons(micro_batch.skipped, into=self.skipped)
            tokens = [example.tokens for example in micro_batch.examples]
            self.num_cut_texts += sum(t.num_cut_text > 0 for t in tokens)
            self.num_cut_responses += sum(t.num_cut_response > 0 for t in tokens)
        num_skipped = sum(entry["count"] for entry in self.skipped.values())
        if num_skipped > max_share * max(self.num_read, _ENOUGH):
            reason, entry = next(iter(self.skipped.items()))
            raise DataError(
                f"{num_skipped} of {self.num_read} pairs are unusable; "
                f"the first, {entry['example']}: {reason}",
                fix="check data.audio_root and the audio files, or raise data.max_skipped_share",
            )


def count_reasons(
    skipped: Sequence[Skipped], into: dict[str, dict[str, Any]] | None = None
) -> dict[str, dict[str, Any]]:
    """Return reason -> count and the id of an example."""
    counts = {} if into is None else into
    for item in skipped:
        counts.setdefault(item.reason, {"count": 0, "example": item.id})["count"] += 1
    return counts


def save_state(
    run: Path,
    progress: Progress,
    parameters: dict[str, torch.nn.Parameter],
    optimizer: torch.optim.Optimizer,
) -> None:
    """Write the state under a temporary name, then rename: a kill leaves the old or the new."""
    tensors: dict[str, Tensor] = {"rng": torch.get_rng_state()}
    if torch.cuda.is_available():
        tensors["cuda_rng"] = torch.cuda.get_rng_state()
    for name, parameter in parameters.items():
        tensors[f"parameter.{name}"] = parameter.detach().cpu().contiguous()
        for moment in _MOMENTS:
            tensors[f"{moment}.{name}"] = optimizer.state[parameter][moment].cpu().contiguous()
    directory = run / RESUME
    target = directory / f"step-{progress.step:08d}"
    partial = directory / "partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    save_file(tensors, partial / "state.safetensors")
    (partial / "progress.json").write_text(json.dumps(asdict(progress)) + "\n", encoding="utf-8")
    partial.rename(target)
    for old in directory.glob("step-*"):
        if old != target:
            shutil.rmtree(old)


def load_state(
    run: Path,
    parameters: dict[str, torch.nn.Parameter],
    optimizer: torch.optim.Optimizer,
) -> Progress | None:
    """Restore the newest state into parameters, optimiser and random generators.

    Returns:
        Where the run stands; None where nothing has been saved yet.
    """
    states = sorted((run / RESUME).glob("step-*"))
    if not states:
        return None
    tensors = load_file(states[-1] / "state.safetensors")
    fields = json.loads((states[-1] / "progress.json").read_text(encoding="utf-8"))
    torch.set_rng_state(tensors["rng"])
    if torch.cuda.is_available() and "cuda_rng" in tensors:
        torch.cuda.set_rng_state(tensors["cuda_rng"])
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(tensors[f"parameter.{name}"])
            moments = {m: tensors[f"{m}.{name}"] for m in _MOMENTS}
            optimizer.state[parameter] = {
                m: t if m == "step" else t.to(parameter.device) for m, t in moments.items()
            }
    fields["position"] = Position(**fields["position"])
    return Progress(**fields)
