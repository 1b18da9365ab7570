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
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed

from desta.config import dump_recipe, load_recipe
from desta.data.dataset import PairDataset, Skipped
from desta.environment import environment
from desta.errors import ConfigError, DataError
from desta.files import write_atomic
from desta.model import checkpoint
from desta.model.backbone.layers import recompute
from desta.model.backbone.load import stored_format
from desta.model.config import AUTO
from desta.model.hub.load import locate
from desta.progress import progress_bar
from desta.training import processes
from desta.training.batches import Collator, MicroBatch, stream
from desta.training.card import model_card
from desta.training.config import TrainConfig
from desta.training.faults import diverged, without_faulty
from desta.training.optim import learning_rate, make_optimizer
from desta.training.selfcheck import selfcheck
from desta.training.state import (
    RESUME,
    Progress,
    count_reasons,
    gather_state,
    load_state,
    save_state,
)
from desta.training.tally import Tally
from desta.training.tracking import Tracker
from desta.training.validation import HeldOut, validate

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
        ConfigError: the directory holds a run of another recipe.
        DataError: no data, too large a share of it is unusable, or a process has died.
        ConfigError: the loss is no number any more.
    """
    if _is_finished(run, config):
        log.info("%s is finished; remove it to train again", run)
        return json.loads((run / SUMMARY).read_text(encoding="utf-8"))
    with processes.told():
        model = config.model
        accelerator = processes.start(
            config.precision,
            config.device,
            stored=lambda: stored_format(locate(model.backbone, None), model),
        )
        return _run(config, run, accelerator)


def _run(config: TrainConfig, run: Path, accelerator: Accelerator) -> dict[str, Any]:
    set_seed(config.seed)
    loaded = checkpoint.fresh(config.model, device=accelerator.device)
    model = loaded.model
    in_pieces = accelerator.num_processes > 1 and config.strategy == "fsdp2"
    data = config.data
    if in_pieces:  # processes must call the same parts equally often
        data = replace(data, share_prefix=False, group_windows=False)
    name = config.model.backbone
    selfcheck(model, name, packing=data.packing, share_prefix=data.share_prefix)
    model.train()
    collator = Collator(data, loaded)
    rows = PairDataset(data.train)
    if len(rows) == 0:
        raise DataError("the training data hold no pairs", fix="run `desta construct` first")
    held_out = None
    if data.validation:
        held_out = HeldOut.read(
            data, collator, num_rows=config.validation_rows, num_samples=config.num_samples
        )
    if config.gradient_checkpointing:
        recompute(model.decoder)
    wrapped = processes.distribute(model, accelerator, config.strategy)
    parameters = {n: p for n, p in model.named_parameters() if p.requires_grad}
    optimizer = make_optimizer(parameters.values(), config.optim)
    progress = load_state(run, parameters, optimizer) or Progress()
    if progress.step and accelerator.is_main_process:
        log.info("going on after step %d of %d", progress.step, config.steps)
    micro_batches = stream(
        data,
        rows,
        collator,
        start=progress.position,
        seed=config.seed,
        process=accelerator.process_index,
        num_processes=accelerator.num_processes,
    )

    def differentiate(step: int, batches: Sequence[MicroBatch]) -> _Done:
        """Leave the gradients of a step; pairs that make no numbers of them are skipped."""
        done = gradients(step, batches)
        if done.is_number:
            return done
        optimizer.zero_grad(set_to_none=True)
        good = without_faulty(
            *(model, collator, batches, accelerator),
            parameters=() if in_pieces else list(parameters.values()),
        )
        again = done if good is None else gradients(step, good)
        if not again.is_number:
            raise diverged(step, again.loss, again.norm)
        return again

    def gradients(step: int, batches: Sequence[MicroBatch]) -> _Done:
        torch.manual_seed(_step_seed(config.seed, step, accelerator.process_index))
        tally = processes.tally_all(accelerator, Tally.of(batches))
        if not tally.num_labels:
            return _Done(tally)
        loss_sum = 0.0
        for number, micro_batch in enumerate(batches, start=1):
            with processes.exchanging(accelerator, wrapped, last=number == len(batches)):
                with accelerator.autocast():
                    loss = wrapped(**micro_batch.inputs())
                # Gradients are averaged over processes; this loss is a mean over tokens.
                accelerator.backward(loss * accelerator.num_processes / tally.num_labels)
            loss_sum += loss.item()
        norm = processes.clip_gradients(list(parameters.values()), config.optim.clip_norm)
        return _Done(tally, processes.total(accelerator, loss_sum) / tally.num_labels, norm)

    metrics: dict[str, Any] = {}
    with contextlib.ExitStack() as stack:
        tracker = None
        if accelerator.is_main_process:
            _claim(run, config)
            tracker = stack.enter_context(contextlib.closing(Tracker(run, from_step=progress.step)))
        bar = _bar(config.steps, progress.step, shown=tracker is not None)
        advance = stack.enter_context(bar)
        for step in range(progress.step + 1, config.steps + 1):
            started = time.perf_counter()
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step, steps=config.steps, config=config.optim)
            done = _Done()
            while not done.tally.num_labels:  # batches without a usable pair take no step
                taken = list(islice(micro_batches, config.accumulate))
                done = differentiate(step, [micro_batch for micro_batch, _ in taken])
                progress.count(done.tally, num_rows=len(rows), max_share=data.max_skipped_share)
            tally, norm = done.tally, done.norm
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

            seconds = time.perf_counter() - started
            progress.step, progress.position = step, taken[-1][1]
            progress.seconds += seconds
            metrics = {
                "loss": done.loss,
                "lr": optimizer.param_groups[0]["lr"],
                "grad_norm": norm,
                "labelled_tokens": tally.num_labels,
                "samples_per_second": tally.num_pairs / seconds,
                "tokens_per_second": tally.num_tokens / seconds,
                "seconds": progress.seconds,
            }
            if tracker is not None:
                tracker.log(step, **metrics)
            if held_out and (step % config.validate_every == 0 or step == config.steps):
                # By every process, for they may hold the model in pieces.
                found = validate(step, loaded, held_out, accelerator)
                if tracker is not None:
                    tracker.log(step, **found)
            if step % config.save_every == 0 and step < config.steps:
                state = gather_state(parameters, optimizer)
                if accelerator.is_main_process:
                    save_state(run, progress, state)
                accelerator.wait_for_everyone()
            advance(f"loss {metrics['loss']:.3f}")
    summary = {
        **metrics,
        "steps": progress.step,
        "pairs_read": progress.num_read,
        "skipped": progress.skipped,
        "skipped_in_validation": count_reasons(held_out.skipped if held_out else ()),
        "cut": progress.cut,
    }
    trained = checkpoint.gather(model)
    if tracker is not None:
        first = rows[0]
        messages = () if isinstance(first, Skipped) else first.messages
        told = [m.content for m in messages if m.role == "system"]
        extra = {"training_steps": progress.step, "system_prompt": told[0] if told else None}
        checkpoint.save(model, run, extra=extra, state=trained)
        (run / "README.md").write_text(model_card(config, summary), encoding="utf-8")
        write_atomic(run / SUMMARY, f"{json.dumps(summary, indent=2)}\n".encode())
        shutil.rmtree(run / RESUME, ignore_errors=True)  # of no use any more
    accelerator.wait_for_everyone()
    accelerator.end_training()
    return summary


@dataclass(frozen=True)
class _Done:
    """What the gradients of a step were computed of, and what came of it."""

    tally: Tally = field(default_factory=Tally)
    loss: float = 0.0
    norm: float = 0.0

    @property
    def is_number(self) -> bool:
        """Whether a step may be taken."""
        return math.isfinite(self.loss) and math.isfinite(self.norm)


def _is_finished(run: Path, config: TrainConfig) -> bool:
    """Say whether the run is finished; refuse a directory that holds something else."""
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


def _bar(total: int, done: int, *, shown: bool) -> contextlib.AbstractContextManager[Any]:
    """Show one bar for all processes."""
    if not shown:
        return contextlib.nullcontext(lambda note: None)
    return progress_bar("train", total=total, done=done)
