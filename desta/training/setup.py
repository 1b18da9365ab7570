"""Setup of a training run, before its first step."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import nn

from desta.data.dataset import PairDataset
from desta.data.sampling import Position
from desta.data.words import Words
from desta.errors import DataError
from desta.model import checkpoint
from desta.model.backbone.layers import recompute
from desta.training import processes
from desta.training.augmentation import check_augmentation
from desta.training.balance import Balance
from desta.training.batches import Collator, MicroBatch, stream
from desta.training.config import TrainConfig
from desta.training.optim import make_optimizer
from desta.training.selfcheck import can_branch, selfcheck
from desta.training.state import Progress, load_state
from desta.training.validation import HeldOut

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run that is ready for its next step: model, data and optimizer of one process."""

    config: TrainConfig
    directory: Path
    accelerator: Accelerator
    loaded: checkpoint.Loaded
    wrapped: nn.Module
    """Model that a step calls, wrapped where several processes share it."""
    parameters: dict[str, nn.Parameter]
    """Trained parameters."""
    optimizer: torch.optim.Optimizer
    collator: Collator
    rows: PairDataset
    micro_batches: Iterator[tuple[MicroBatch, Position]]
    held_out: HeldOut | None
    progress: Progress
    in_pieces: bool
    """Whether processes hold the model in pieces and must call the same parts equally often."""


def prepare(config: TrainConfig, directory: Path, accelerator: Accelerator) -> Run:
    """Load model and data, check them, and restore the state of an interrupted run.

    Raises:
        ConfigError: the backbone gives another loss by one of the faster ways, a codec of the
            augmentation is missing, or no pair asks for an attribute to be balanced.
        DataError: no data, too large a share of the validation data is unusable, or the stored
            state is damaged.
    """
    set_seed(config.seed)
    loaded = checkpoint.fresh(config.model, device=accelerator.device)
    model = loaded.model
    if config.start is not None:
        checkpoint.copy_trained(config.start, model)
    data = config.data
    in_pieces = accelerator.num_processes > 1 and config.strategy == "fsdp2"
    if in_pieces:
        data = replace(data, share_prefix=False, group_windows=False)
    name = config.model.backbone
    selfcheck(model, name, packing=data.packing, share_prefix=data.share_prefix)
    if data.questions_per_clip > 1 and not can_branch(model, max_tokens=data.max_tokens):
        data = replace(data, questions_per_clip=1)
        if accelerator.is_main_process:
            log.warning(
                'backbone "%s" cannot read several questions in one sequence: '
                "data.questions_per_clip is ignored",
                name,
            )
    model.train()
    rows = PairDataset(data.train)
    if len(rows) == 0:
        raise DataError("the training data hold no pairs", fix="run `desta construct` first")
    words = _words(config, rows, loaded)
    collator = Collator(data, loaded, words, distillation=config.distillation)
    if data.augment is not None:
        check_augmentation(data.augment, rows)
    held_out = None
    if data.validation:
        held_out = HeldOut.read(
            data,
            Collator(data, loaded),
            num_rows=config.validation_rows,
            num_samples=config.num_samples,
        )
    if config.gradient_checkpointing:
        recompute(model.decoder)
    wrapped = processes.distribute(model, accelerator, config.strategy)
    parameters = {n: p for n, p in model.named_parameters() if p.requires_grad}
    optimizer = make_optimizer(parameters.values(), config.optim)
    progress = load_state(directory, parameters, optimizer) or Progress()
    if progress.step and accelerator.is_main_process:
        log.info("going on after step %d of %d", progress.step, config.steps)
    return Run(
        config=config,
        directory=directory,
        accelerator=accelerator,
        loaded=loaded,
        wrapped=wrapped,
        parameters=parameters,
        optimizer=optimizer,
        collator=collator,
        rows=rows,
        micro_batches=stream(
            data,
            rows,
            collator,
            start=progress.position,
            seed=config.seed,
            process=accelerator.process_index,
            num_processes=accelerator.num_processes,
            draw_epoch=(
                Balance.of(rows, data.balance, data.balance_weights) if data.balance else None
            ),
        ),
        held_out=held_out,
        progress=progress,
        in_pieces=in_pieces,
    )


def _words(config: TrainConfig, rows: PairDataset, loaded: checkpoint.Loaded) -> Words | None:
    """Collect the words that the audio tokens learn to be; None where responses are learnt."""
    if not config.words:
        return None
    return Words(
        (description for description, _ in rows.texts()),
        config.words,
        tokenizer=loaded.tokenizer,
        num_tokens=config.model.connector.num_query_tokens,
    )
