"""The training loop: read top to bottom, it is the method.

Encoder and backbone are frozen; gradients flow *through* the backbone into the connector. The
loss of a step is the cross-entropy summed over the labelled tokens of all its micro-batches and
processes, divided by their number.
"""

import contextlib
import json
import logging
import math
import random
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from desta.config import dump_recipe, load_recipe
from desta.data.dataset import PairDataset, SkippedPair
from desta.environment import environment
from desta.errors import ConfigError
from desta.files import write_atomic
from desta.model import checkpoint
from desta.model.backbone.load import stored_format
from desta.model.config import AUTO
from desta.model.hub.load import Part
from desta.progress import progress_bar
from desta.training import processes
from desta.training.batches import MicroBatch
from desta.training.card import model_card
from desta.training.config import TrainConfig
from desta.training.faults import diverged, without_faulty
from desta.training.optim import learning_rate
from desta.training.setup import Run, prepare
from desta.training.state import RESUME, gather_state, save_state
from desta.training.tally import StepTally, count_remarks
from desta.training.tracking import Tracker
from desta.training.validation import validate

log = logging.getLogger(__name__)

RECIPE = "recipe.yaml"
SUMMARY = "summary.json"
"""Last metrics and counts of a finished run; written last, so it marks the end."""


def train(config: TrainConfig, run: Path) -> dict[str, Any]:
    """Train a connector, or go on with a run that was interrupted.

    A killed run that is given the same command makes the same losses and weights as one that was
    never interrupted: everything random in a step is drawn from the seed, the step and the
    number of the process. Another number of processes goes on with the batches that follow.

    Args:
        config: the recipe.
        run: directory of the run; the trained model is written into it.

    Returns:
        The last metrics, and what was skipped and cut.

    Raises:
        ConfigError: the directory holds a run of another recipe, or the loss is NaN.
        DataError: no data, too large a share of it is unusable, or a process has died.
    """
    if _is_finished(run, config):
        log.info("%s is finished; remove it to train again", run)
        return json.loads((run / SUMMARY).read_text(encoding="utf-8"))
    with processes.dead_process_errors():
        model = config.model
        accelerator = processes.start(
            config.precision,
            config.device,
            stored=lambda: stored_format(Part.find(model.backbone), model),
        )
        return _run(config, run, accelerator)


def _run(config: TrainConfig, directory: Path, accelerator: Accelerator) -> dict[str, Any]:
    """Train from where the run stands to its last step; return its summary."""
    run = prepare(config, directory, accelerator)
    metrics: dict[str, Any] = {}
    with _shown(run) as (track, advance):
        for step in range(run.progress.step + 1, config.steps + 1):
            metrics = train_step(run, step)
            track(step, **metrics)
            if run.held_out and (step % config.validate_every == 0 or step == config.steps):
                # By every process, for they may hold the model in pieces.
                track(step, **validate(step, run.loaded, run.held_out, accelerator))
            if step % config.save_every == 0 and step < config.steps:
                save_progress(run)
            advance(f"loss {metrics['loss']:.3f}")
    return finish(run, metrics)


def train_step(run: Run, step: int) -> dict[str, Any]:
    """Take an optimizer step; return its loss, learning rate, gradient norm and speed."""
    config, progress, optimizer = run.config, run.progress, run.optimizer
    started = time.perf_counter()
    for group in optimizer.param_groups:
        group["lr"] = learning_rate(step, steps=config.steps, config=config.optim)
    max_share = config.data.max_skipped_share
    done = _Gradients()
    while not done.tally.num_labels:  # batches without a usable pair take no step
        taken = list(islice(run.micro_batches, config.accumulate))
        done = usable_gradients(run, step, [micro_batch for micro_batch, _ in taken])
        progress.count(done.tally, num_rows=len(run.rows), max_share=max_share)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)

    seconds = time.perf_counter() - started
    progress.step, progress.position = step, taken[-1][1]
    progress.seconds += seconds
    return {
        "loss": done.loss,
        "lr": optimizer.param_groups[0]["lr"],
        "grad_norm": done.norm,
        "labelled_tokens": done.tally.num_labels,
        "samples_per_second": done.tally.num_pairs / seconds,
        "tokens_per_second": done.tally.num_tokens / seconds,
        "seconds": progress.seconds,
    }


@dataclass(frozen=True)
class _Gradients:
    """Facts of the gradients that lie in the parameters: of what data, of which loss and norm."""

    tally: StepTally = field(default_factory=StepTally)
    loss: float = 0.0
    norm: float = 0.0

    @property
    def is_finite(self) -> bool:
        """Whether a step may be taken."""
        return math.isfinite(self.loss) and math.isfinite(self.norm)


def usable_gradients(run: Run, step: int, batches: Sequence[MicroBatch]) -> _Gradients:
    """Compute the gradients of a step; pairs that make NaN of them are skipped.

    Raises:
        ConfigError: the loss or the gradients are NaN whichever pairs are left out.
    """
    found = gradients(run, step, batches)
    if found.is_finite:
        return found
    run.optimizer.zero_grad(set_to_none=True)
    good = without_faulty(
        run.loaded.model,
        run.collator,
        batches,
        run.accelerator,
        parameters=() if run.in_pieces else list(run.parameters.values()),
    )
    again = found if good is None else gradients(run, step, good)
    if not again.is_finite:
        raise diverged(step, again.loss, again.norm)
    return again


def gradients(run: Run, step: int, batches: Sequence[MicroBatch]) -> _Gradients:
    """Compute the gradients of the mean loss over a step's labelled tokens, and clip them."""
    accelerator = run.accelerator
    torch.manual_seed(_step_seed(run.config.seed, step, accelerator.process_index))
    tally = processes.tally_all(accelerator, StepTally.of(batches))
    if not tally.num_labels:
        return _Gradients(tally)
    loss_sum = 0.0
    for number, micro_batch in enumerate(batches, start=1):
        with processes.exchanging(accelerator, run.wrapped, last=number == len(batches)):
            with accelerator.autocast():
                loss = run.wrapped(**micro_batch.inputs())
            # Gradients are averaged over processes; this loss is a mean over tokens.
            accelerator.backward(loss * accelerator.num_processes / tally.num_labels)
        loss_sum += loss.item()
    norm = processes.clip_gradients(list(run.parameters.values()), run.config.optim.clip_norm)
    return _Gradients(tally, processes.total(accelerator, loss_sum) / tally.num_labels, norm)


def save_progress(run: Run) -> None:
    """Write what a killed run resumes from; every process must call it."""
    state = gather_state(run.parameters, run.optimizer)
    if run.accelerator.is_main_process:
        save_state(run.directory, run.progress, state)
    run.accelerator.wait_for_everyone()


def finish(run: Run, metrics: dict[str, Any]) -> dict[str, Any]:
    """Write the trained model with its card and the summary of the run, and return the summary."""
    directory, progress, accelerator = run.directory, run.progress, run.accelerator
    summary = {
        **metrics,
        "steps": progress.step,
        "pairs_read": progress.num_read,
        "skipped": progress.skipped.to_json(),
        "skipped_in_validation": count_remarks(
            run.held_out.skipped if run.held_out else ()
        ).to_json(),
        "cut": progress.cut.to_json(),
    }
    model = run.loaded.model
    trained = checkpoint.gather(model)  # by every process
    if accelerator.is_main_process:
        extra = {"training_steps": progress.step, "system_prompt": _system_prompt(run.rows)}
        checkpoint.save(model, directory, extra=extra, state=trained)
        (directory / "README.md").write_text(model_card(run.config, summary), encoding="utf-8")
        write_atomic(directory / SUMMARY, f"{json.dumps(summary, indent=2)}\n".encode())
        shutil.rmtree(directory / RESUME, ignore_errors=True)  # of no use any more
    accelerator.wait_for_everyone()
    accelerator.end_training()
    return summary


def _system_prompt(rows: PairDataset) -> str | None:
    """Return the system prompt of the training data, as their first pair has it."""
    first = rows[0]
    messages = () if isinstance(first, SkippedPair) else first.messages
    return next((m.content for m in messages if m.role == "system"), None)


def _is_finished(run: Path, config: TrainConfig) -> bool:
    """Return whether the run is finished; refuse a directory that holds something else."""
    recipe = run / RECIPE
    if recipe.exists():
        if _plain(load_recipe(recipe, TrainConfig)) != _plain(config):
            raise ConfigError(
                f"{run} holds a run of another recipe",
                fix="give another --out, or remove that directory",
            )
    elif run.exists() and (not run.is_dir() or any(run.iterdir())):
        raise ConfigError(f"{run} is neither empty nor a run", fix="give another --out")
    return (run / SUMMARY).exists()


def _plain(config: TrainConfig) -> str:
    """Return what a run must go on with: it may move to another device."""
    return dump_recipe(replace(config, device=AUTO))


def _claim(run: Path, config: TrainConfig) -> None:
    """Make the directory this recipe's, once model and data are known to load."""
    run.mkdir(parents=True, exist_ok=True)
    if not (run / RECIPE).exists():
        write_atomic(run / RECIPE, dump_recipe(config).encode())
    if not (run / "environment.json").exists():
        facts = f"{json.dumps(environment(), indent=2)}\n"
        write_atomic(run / "environment.json", facts.encode())


def _step_seed(seed: int, step: int, process: int) -> int:
    return random.Random(f"{seed} {step} {process}").getrandbits(63)


@contextlib.contextmanager
def _shown(run: Run) -> Iterator[tuple[Callable[..., None], Callable[[str], None]]]:
    """Yield what logs the values of a step and what moves the bar; one process does both."""
    if not run.accelerator.is_main_process:
        yield lambda step, **values: None, lambda note: None
        return
    _claim(run.directory, run.config)
    done = run.progress.step
    with (
        contextlib.closing(Tracker(run.directory, from_step=done)) as tracker,
        progress_bar("train", total=run.config.steps, done=done) as advance,
    ):
        yield tracker.log, advance
