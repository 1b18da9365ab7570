"""The training loop: read top to bottom, it is the method.

Encoder and backbone are frozen; gradients flow *through* the backbone into the connector. The
loss of a step is the cross-entropy summed over the labelled tokens of all its micro-batches and
processes, divided by their number.
"""

import contextlib
import json
import logging
import shutil
import time
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed

from desta.config import dump_recipe
from desta.data.dataset import PairDataset, Skipped
from desta.errors import ConfigError, DataError
from desta.model import checkpoint
from desta.model.precision import precision
from desta.progress import progress_bar
from desta.shards import write_atomic
from desta.training.batches import Collator, MicroBatch, fixed_batches, stream
from desta.training.card import model_card
from desta.training.config import TrainConfig
from desta.training.optim import learning_rate, make_optimizer
from desta.training.state import RESUME, Progress, count_reasons, load_state, save_state
from desta.training.tracking import Tracker, environment
from desta.training.validation import validate

log = logging.getLogger(__name__)

RECIPE = "recipe.yaml"
SUMMARY = "summary.json"
"""Last metrics and counts of a finished run; written last, so it marks the end."""


def train(config: TrainConfig, run: Path) -> dict[str, Any]:
    """Train a connector, or go on with a run that was interrupted.

    A killed run that is given the same command makes the same losses and weights as one that was
    never interrupted: everything random is drawn from generators whose state is saved.

    Args:
        config: the recipe.
        run: directory of the run; the trained model is written into it.

    Returns:
        The last metrics, and what was skipped and cut.

    Raises:
        ConfigError: the directory holds a run of another recipe.
        DataError: no data, or too large a share of it is unusable.
    """
    if _is_finished(run, config):
        log.info("%s is finished; remove it to train again", run)
        return json.loads((run / SUMMARY).read_text(encoding="utf-8"))
    accelerator = Accelerator(mixed_precision=_mixed_precision(config))
    set_seed(config.seed)
    loaded = checkpoint.fresh(config.model, device=accelerator.device)
    model = loaded.model.train()
    collator = Collator(config.data, loaded)
    rows = PairDataset(config.data.train)
    if len(rows) == 0:
        raise DataError("the training data hold no pairs", fix="run `desta construct` first")
    held_out: list[MicroBatch] = []
    unusable: list[Skipped] = []
    if config.data.validation:
        held_out, unusable = fixed_batches(
            config.data,
            PairDataset(config.data.validation),
            collator,
            num_rows=config.validation_rows,
        )
    parameters = {n: p for n, p in model.named_parameters() if p.requires_grad}
    optimizer = make_optimizer(parameters.values(), config.optim)
    progress = load_state(run, parameters, optimizer) or Progress()
    if progress.step:
        log.info("going on after step %d of %d", progress.step, config.steps)
    wrapped = accelerator.prepare_model(model)
    micro_batches = stream(
        config.data,
        rows,
        collator,
        start=progress.position,
        seed=config.seed,
        process=accelerator.process_index,
        num_processes=accelerator.num_processes,
    )
    tracker = None
    if accelerator.is_main_process:
        _claim(run, config)
        tracker = Tracker(run, from_step=progress.step)
    metrics: dict[str, Any] = {}
    with progress_bar("train", total=config.steps, done=progress.step) as advance:
        for step in range(progress.step + 1, config.steps + 1):
            started = time.perf_counter()
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step, steps=config.steps, config=config.optim)
            taken = list(islice(micro_batches, config.accumulate))
            num_labels = _total(accelerator, sum(m.batch.num_labels for m, _ in taken))
            loss_sum = 0.0
            for number, (micro_batch, _) in enumerate(taken, start=1):
                with _synchronised(accelerator, wrapped, last=number == len(taken)):
                    loss = wrapped(*micro_batch.inputs())
                    # DDP averages gradients over processes; this loss is a mean over tokens.
                    accelerator.backward(loss * accelerator.num_processes / num_labels)
                loss_sum += loss.item()
            norm = accelerator.clip_grad_norm_(parameters.values(), config.optim.clip_norm)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

            seconds = time.perf_counter() - started
            progress.step, progress.position = step, taken[-1][1]
            progress.seconds += seconds
            progress.count([m for m, _ in taken], max_share=config.data.max_skipped_share)
            metrics = {
                "loss": _total(accelerator, loss_sum) / num_labels,
                "lr": optimizer.param_groups[0]["lr"],
                "grad_norm": float(norm),
                "labelled_tokens": num_labels,
                **_speed(accelerator, [m for m, _ in taken], seconds),
                "seconds": progress.seconds,
            }
            if tracker is not None:
                tracker.log(step, **metrics)
                if held_out and (step % config.validate_every == 0 or step == config.steps):
                    found = validate(
                        loaded, collator, held_out, accelerator, num_samples=config.num_samples
                    )
                    tracker.log(step, **found)
                if step % config.save_every == 0 and step < config.steps:
                    save_state(run, progress, parameters, optimizer)
            advance(f"loss {metrics['loss']:.3f}")
    summary = {
        **metrics,
        "steps": progress.step,
        "pairs_read": progress.num_read,
        "skipped": progress.skipped,
        "skipped_in_validation": count_reasons(unusable),
        "cut_transcriptions": progress.num_cut_texts,
        "cut_responses": progress.num_cut_responses,
    }
    if tracker is not None:
        tracker.close()
        told = [m.content for m in rows[0].messages if m.role == "system"]
        extra = {"training_steps": progress.step, "system_prompt": told[0] if told else None}
        checkpoint.save(model, run, extra=extra)
        (run / "README.md").write_text(model_card(config, summary), encoding="utf-8")
        write_atomic(run / SUMMARY, f"{json.dumps(summary, indent=2)}\n".encode())
        shutil.rmtree(run / RESUME, ignore_errors=True)  # of no use any more
    accelerator.end_training()
    return summary


def _is_finished(run: Path, config: TrainConfig) -> bool:
    """Say whether the run is finished; refuse a directory that holds something else."""
    recipe = run / RECIPE
    if recipe.exists():
        if recipe.read_text(encoding="utf-8") != dump_recipe(config):
            raise ConfigError(
                f"{run} holds a run of another recipe",
                fix="give another --out, or remove that directory",
            )
    elif run.exists() and (not run.is_dir() or any(run.iterdir())):
        raise ConfigError(f"{run} is neither empty nor a run", fix="give another --out")
    return (run / SUMMARY).exists()


def _claim(run: Path, config: TrainConfig) -> None:
    """Make the directory this recipe's, once model and data are known to load."""
    run.mkdir(parents=True, exist_ok=True)
    if not (run / RECIPE).exists():
        write_atomic(run / RECIPE, dump_recipe(config).encode())
    if not (run / "environment.json").exists():
        facts = f"{json.dumps(environment(), indent=2)}\n"
        write_atomic(run / "environment.json", facts.encode())


def _mixed_precision(config: TrainConfig) -> str:
    if config.precision != "auto":
        return config.precision
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return "bf16" if precision("auto", device) == torch.bfloat16 else "no"


def _synchronised(
    accelerator: Accelerator, model: torch.nn.Module, *, last: bool
) -> contextlib.AbstractContextManager[Any]:
    """Let processes exchange gradients only after the last micro-batch of a step."""
    return contextlib.nullcontext() if last else accelerator.no_sync(model)


def _total(accelerator: Accelerator, value: float) -> float:
    """Add up a number over all processes."""
    if accelerator.num_processes == 1:
        return value
    tensor = torch.tensor(float(value), device=accelerator.device)
    return accelerator.reduce(tensor, reduction="sum").item()


def _speed(accelerator: Accelerator, taken: list[MicroBatch], seconds: float) -> dict[str, float]:
    num_pairs = sum(len(m.examples) for m in taken)
    num_tokens = sum(m.batch.input_ids_BS.numel() for m in taken)
    return {
        "samples_per_second": _total(accelerator, num_pairs) / seconds,
        "tokens_per_second": _total(accelerator, num_tokens) / seconds,
    }
