"""Measurement of training with one of the settings, in its own process to measure memory."""

import ctypes
import gc
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from desta.data.batching import NO_LABEL
from desta.data.sampling import BucketSampler, ClipSampler
from desta.errors import DestaError
from desta.model.config import ModelConfig
from desta.model.desta import DestaModel
from desta.model.precision import precision
from desta.training.batches import Collator, MicroBatch
from desta.training.config import DataConfig, OptimConfig
from desta.training.optim import make_optimizer
from measure.clips import clip_numbers, make_pairs
from measure.flops import training_flops
from measure.settings import Scale, Settings, build

DATA = DataConfig(train=(Path(),))  # pairs are synthetic, none is read
OPTIM = OptimConfig()
GIB = 2**30
_PRODUCTS = 8  # timed in a row

LossSum = Callable[[DestaModel, MicroBatch], Tensor]


@dataclass(frozen=True, kw_only=True)
class Job:
    """Work of one process: load, warm up with one step, train on all pairs once."""

    config: ModelConfig
    settings: Settings
    scale: Scale
    paths: tuple[Path, ...]
    device: str


@dataclass(frozen=True, kw_only=True)
class Trained:
    """Results of one round of training."""

    samples_per_second: float
    peak_gib: float | None
    """Peak memory above that of the loaded weights; None if the system does not report it."""
    flops_per_sample: float
    """Least operations (`measure.flops`)."""
    tokens_per_sample: float
    labels_per_sample: float


class Processes:
    """Runner of functions in fresh processes, forked from one that has imported torch."""

    def __enter__(self) -> "Processes":
        context = get_context("forkserver")
        context.set_forkserver_preload(["desta.model.checkpoint", "desta.training.batches"])
        self._pool = ProcessPoolExecutor(1, mp_context=context, max_tasks_per_child=1)
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def train(self, job: Job) -> Trained:
        """Measure one round of training."""
        return self._call(train, job)

    def product_flops(self, size: int, device: str) -> float:
        """Measure the operations per second of a large bfloat16 matrix product."""
        return self._call(product_flops, size, device)

    def _call(self, function: Callable, *arguments: object):  # noqa: ANN202
        try:
            return self._pool.submit(function, *arguments).result()
        except BrokenProcessPool as error:
            raise DestaError(
                "a measuring process was killed, most likely for lack of memory",
                fix="measure a smaller model, or on a machine with more memory",
            ) from error


def train(job: Job) -> Trained:
    """Load the model, train on all pairs and return the results."""
    loaded = build(job.config, job.settings, job.device)
    pairs = make_pairs(loaded, job.paths, job.scale)
    collator = Collator(replace(DATA, share_prefix=job.settings.share_prefix), loaded)
    loss_sum = labelled_loss_sum if job.settings.labelled_head else full_loss_sum
    model = loaded.model.train()
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = make_optimizer(parameters, OPTIM)
    mixed = precision("auto", job.device) == torch.bfloat16

    def length(group: Sequence[int]) -> int:
        return collator.reader.length(*(pairs[number] for number in group))

    def step(groups: Sequence[Sequence[int]]) -> int:
        """Run a step like `desta.training.loop`; return the number of labels."""
        micro_batch = collator([[pairs[number] for number in group] for group in groups])
        assert isinstance(micro_batch, MicroBatch)
        num_labels = micro_batch.batch.num_labels
        with torch.autocast(job.device, torch.bfloat16, enabled=mixed):
            loss = loss_sum(model, micro_batch)
        (loss / num_labels).backward()
        torch.nn.utils.clip_grad_norm_(parameters, OPTIM.clip_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return num_labels

    sum(float(p.detach().sum()) for p in model.parameters())  # load memory-mapped pages
    memory = Memory(job.device)
    step([[0], [1]])
    _wait(job.device)
    started = time.perf_counter()  # measuring lengths for sorting is part of training
    batches = _batches(length, job)
    num_labels = sum(map(step, batches))
    _wait(job.device)
    seconds = time.perf_counter() - started

    groups = [group for batch in batches for group in batch]
    num_tokens = sum(map(length, groups))
    shapes = {"num_tokens": num_tokens / len(pairs), "num_labels": num_labels / len(pairs)}
    num_frames = 50 * round(collator.reader.read(pairs[0]).windows[0].size / 16_000)
    flops = training_flops(
        model, num_frames=num_frames, pairs_per_clip=len(pairs) / len(groups), **shapes
    )
    return Trained(
        samples_per_second=len(pairs) / seconds,
        peak_gib=memory.peak_gib(),
        flops_per_sample=sum(flops.values()),
        tokens_per_sample=shapes["num_tokens"],
        labels_per_sample=shapes["num_labels"],
    )


def _batches(length: Callable[[Sequence[int]], int], job: Job) -> list[list[list[int]]]:
    """Return the groups of pairs of every batch."""
    num_pairs = job.scale.num_pairs
    if not job.settings.buckets:
        order = np.random.default_rng(0).permutation(num_pairs)
        return order.reshape(-1, job.scale.published_batch, 1).tolist()
    budget = DATA.token_budget
    if job.settings.questions_per_clip == 1:
        sampler = BucketSampler(num_pairs, lambda number: length([number]), token_budget=budget)
        return [[[number] for number in batch] for batch in sampler.first_epoch()]
    clips, most = clip_numbers(job.scale), job.settings.questions_per_clip
    return list(ClipSampler(clips, length, rows_per_clip=most, token_budget=budget).first_epoch())


def labelled_loss_sum(model: DestaModel, micro_batch: MicroBatch) -> Tensor:
    """Return the summed loss as our trainer computes it."""
    return model(**micro_batch.inputs())


def full_loss_sum(model: DestaModel, micro_batch: MicroBatch) -> Tensor:
    """Return the summed loss from the logits of every position, in float32, as published."""
    batch = micro_batch.batch
    audio_WQE = torch.cat([model.audio_tokens(model.encode(mel)) for mel in micro_batch.mels])
    logits_BSV = model.llm_model(
        inputs_embeds=model.embed(batch.input_ids_BS, audio_WQE, batch.places_P2),
        attention_mask=batch.attention_mask_BS.to(model.device),
        use_cache=False,
    ).logits
    targets_BS = functional.pad(batch.labels_BS[:, 1:], (0, 1), value=NO_LABEL).to(model.device)
    return functional.cross_entropy(
        logits_BSV.float().flatten(0, 1),
        targets_BS.flatten(),
        ignore_index=NO_LABEL,
        reduction="sum",
    )


class Memory:
    """Peak memory since creation, above the memory in use then."""

    def __init__(self, device: str) -> None:
        gc.collect()
        self._device = device
        if device == "cuda":
            torch.cuda.reset_peak_memory_stats()
            self._before = torch.cuda.memory_allocated()
        elif _STATUS.exists():
            ctypes.CDLL(None).malloc_trim(0)  # memory that loading has freed
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # reset the peak
            self._before = _status_bytes("VmRSS")

    def peak_gib(self) -> float | None:
        """Return the peak in GiB; None if the system does not report it."""
        if self._device == "cuda":
            return (torch.cuda.max_memory_allocated() - self._before) / GIB
        if not _STATUS.exists():
            return None
        return (_status_bytes("VmHWM") - self._before) / GIB


_STATUS = Path("/proc/self/status")


def _status_bytes(name: str) -> int:
    lines = _STATUS.read_text(encoding="utf-8").splitlines()
    [line] = [line for line in lines if line.startswith(f"{name}:")]
    return int(line.split()[1]) * 1024


def product_flops(size: int, device: str) -> float:
    """Return the operations per second of square products in the device's number format."""
    dtype = precision("auto", device)
    left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    best = 0.0
    for _ in range(_PRODUCTS):
        _wait(device)
        started = time.perf_counter()
        left @ right
        _wait(device)
        best = max(best, 2 * size**3 / (time.perf_counter() - started))
    return best


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()
