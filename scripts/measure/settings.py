"""Published settings, the levers that lead from them to ours, and the scale of a measurement.

All settings run in our own code, so that the gain of a lever is not that of another library, except
for transcription: there the published code uses libraries, and so do its settings here.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from desta.model import checkpoint
from desta.model.checkpoint import Loaded
from desta.model.config import Dtype, ModelConfig, Window
from desta.model.precision import precision

PUBLISHED = "published settings"
QUESTIONS_PER_CLIP = 4
"""Training pairs about each clip."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of computation; the defaults are the published ones."""

    window: Window = "30s"
    encoder_dtype: Dtype = "float32"
    """Also of the connector in answering; the backbone is in bfloat16 where the device has it, and
    training runs under autocast to the dtype of the backbone."""
    labelled_head: bool = False
    """Training: logits of labelled positions only."""
    share_prefix: bool = False
    """Training: the common prefix of a batch is computed once, without gradient."""
    buckets: bool = False
    """Training: batches of similar length up to a token budget, not of 12 random pairs."""
    questions_per_clip: int = 1
    """Training: pairs about a clip that are read as one sequence; more than 1 needs `buckets`."""
    own_transcriber: bool = False
    """Answering: `desta.vad` and our transcriber, not `measure.published.PublishedTranscriber`."""
    encode_once: bool = False
    """Answering: one pass of the encoder for Whisper's decoder and the connector."""
    fast_layers: bool = False
    """Fused layers of `desta.model.backbone.cpu.layers`, on the CPU."""
    batched: bool = False
    """Answering: simultaneous requests are batched."""
    clip_cache: bool = False
    """Answering: audio tokens and transcriptions are cached."""
    prefix_cache: bool = False
    """Answering: keys and values of the backbone are cached."""


@dataclass(frozen=True, kw_only=True)
class Lever:
    """A change of the settings."""

    name: str
    changes: dict[str, Any]


TRAINING = (
    Lever(name="windows of true length", changes={"window": "tight"}),
    Lever(name="frozen encoder in bfloat16", changes={"encoder_dtype": "auto"}),
    Lever(name="head on labelled positions", changes={"labelled_head": True}),
    Lever(name="layers made for the CPU", changes={"fast_layers": True}),
    Lever(name="common beginning read once", changes={"share_prefix": True}),
    Lever(name="batches of similar lengths", changes={"buckets": True}),
    Lever(
        name="four questions of a clip in one sequence",
        changes={"questions_per_clip": QUESTIONS_PER_CLIP},
    ),
)
ANSWERING = (
    Lever(name="language and text from one pass", changes={"own_transcriber": True}),
    Lever(name="one encoder pass for both readers", changes={"encode_once": True}),
    Lever(name="windows of true length", changes={"window": "tight"}),
    Lever(name="frozen encoder in bfloat16", changes={"encoder_dtype": "auto"}),
    Lever(name="layers made for the CPU", changes={"fast_layers": True}),
    Lever(name="requests in batches", changes={"batched": True}),
    Lever(name="clips heard once", changes={"clip_cache": True}),
    Lever(name="keys and values kept", changes={"prefix_cache": True}),
)


def ladder(levers: Sequence[Lever]) -> list[tuple[str, Settings]]:
    """Return the published settings, then those after each lever, cumulatively.

    >>> [name for name, _ in ladder(TRAINING)][:2]
    ['published settings', '+ windows of true length']
    """
    steps = [(PUBLISHED, Settings())]
    for lever in levers:
        steps.append((f"+ {lever.name}", replace(steps[-1][1], **lever.changes)))
    return steps


def ends(levers: Sequence[Lever]) -> list[tuple[str, Settings]]:
    """Return the first and the last step of the ladder."""
    steps = ladder(levers)
    return [steps[0], steps[-1]]


def build(config: ModelConfig, settings: Settings, device: str) -> Loaded:
    """Build a model with an untrained connector, the same in every call."""
    torch.manual_seed(0)
    wanted = replace(config, window=settings.window, dtype="float32")
    loaded = checkpoint.fresh(wanted, device=device)
    loaded.model.encoder.to(precision(settings.encoder_dtype, device))
    loaded.model.llm_model.to(precision("auto", device))
    if not settings.fast_layers:
        _slow_down(loaded.model.llm_model)
    return loaded


def _slow_down(backbone: Any) -> None:
    """Undo `desta.model.backbone.cpu.layers.fuse_layers`."""
    for module in backbone.modules():
        vars(module).pop("forward", None)
    backbone.get_output_embeddings()._forward_pre_hooks.clear()


@dataclass(frozen=True, kw_only=True)
class Scale:
    """Amount of measurement."""

    seconds: tuple[int, ...] = (2, 5, 10, 30)
    """Lengths of clips."""
    num_pairs: int = 48
    """Training pairs of a round; a multiple of `published_batch` and `QUESTIONS_PER_CLIP`."""
    published_batch: int = 12
    response_tokens: tuple[int, int] = (4, 86)
    """Shortest and longest response; with 64 query tokens, a pair has about 166 tokens in all."""
    batch_sizes: tuple[int, ...] = (1, 4, 16)
    """Numbers of simultaneous requests; the last is also the number of clips."""
    num_alone: int = 4
    """Requests that are timed one by one."""
    new_tokens: int = 24
    """Tokens of every answer."""
    matrix_size: int = 4096
    """Size of the square matrices whose product gives the peak of the machine."""


BUSY = Scale(seconds=(5,), num_pairs=24, batch_sizes=(1, 16))
"""Scale of `neighbour.py`: about a minute for each of the settings."""

QUICK = Scale(
    seconds=(2,),
    num_pairs=4,
    published_batch=2,
    batch_sizes=(1, 2),
    num_alone=1,
    new_tokens=3,
    matrix_size=64,
)
