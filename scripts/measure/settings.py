"""The published settings, the levers that lead from them to ours, and the sizes of a measurement.

All of it runs in our own code, so that a lever's gain is its own and not that of another library,
but for the words of a clip: there the published code asks a library, and so do its settings here.
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


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a model is computed; the defaults are the published settings."""

    window: Window = "30s"
    encoder_dtype: Dtype = "float32"
    """The connector follows it in answering; the backbone is in bfloat16 where the device has it,
    and training is under autocast to the format of the backbone."""
    labelled_head: bool = False
    """Training: logits of labelled positions only."""
    share_prefix: bool = False
    """Training: what all rows of a batch begin with is read once, without gradient."""
    buckets: bool = False
    """Training: pairs of similar length up to a token budget, not 12 in random order."""
    own_listening: bool = False
    """Answering: `desta.vad` and our transcriber; else `measure.published.Listener`."""
    encode_once: bool = False
    """Answering: Whisper's decoder and the connector read the same pass of the encoder."""
    fast_layers: bool = False
    """The backbone's layers run as `desta.model.backbone.cpu.layers` writes them, on the CPU."""
    batched: bool = False
    """Answering: requests that come together are answered together."""
    clip_cache: bool = False
    """Answering: audio tokens and transcription of a clip are kept."""
    prefix_cache: bool = False
    """Answering: keys and values of what the backbone has read are kept."""


@dataclass(frozen=True, kw_only=True)
class Lever:
    """A small change of the settings."""

    name: str
    changes: dict[str, Any]


TRAINING = (
    Lever(name="windows of true length", changes={"window": "tight"}),
    Lever(name="frozen encoder in bfloat16", changes={"encoder_dtype": "auto"}),
    Lever(name="head on labelled positions", changes={"labelled_head": True}),
    Lever(name="layers made for the CPU", changes={"fast_layers": True}),
    Lever(name="common beginning read once", changes={"share_prefix": True}),
    Lever(name="batches of similar lengths", changes={"buckets": True}),
)
ANSWERING = (
    Lever(name="language and text from one pass", changes={"own_listening": True}),
    Lever(name="one encoder pass for both readers", changes={"encode_once": True}),
    Lever(name="windows of true length", changes={"window": "tight"}),
    Lever(name="frozen encoder in bfloat16", changes={"encoder_dtype": "auto"}),
    Lever(name="layers made for the CPU", changes={"fast_layers": True}),
    Lever(name="requests in batches", changes={"batched": True}),
    Lever(name="clips heard once", changes={"clip_cache": True}),
    Lever(name="keys and values kept", changes={"prefix_cache": True}),
)


def ladder(levers: Sequence[Lever]) -> list[tuple[str, Settings]]:
    """Return the published settings, and then what each lever makes of those before it.

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
    """Build a model with an untrained connector; every call draws the same one."""
    torch.manual_seed(0)
    wanted = replace(config, window=settings.window, dtype="float32")
    loaded = checkpoint.fresh(wanted, device=device)
    loaded.model.encoder.to(precision(settings.encoder_dtype, device))
    loaded.model.llm_model.to(precision("auto", device))
    if not settings.fast_layers:
        _slow_down(loaded.model.llm_model)
    return loaded


def _slow_down(backbone: Any) -> None:
    """Take back what `desta.model.backbone.cpu.layers.fuse_layers` has exchanged."""
    for module in backbone.modules():
        vars(module).pop("forward", None)
    backbone.get_output_embeddings()._forward_pre_hooks.clear()


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How much is measured."""

    seconds: tuple[int, ...] = (2, 5, 10, 30)
    """Lengths of the clips."""
    num_pairs: int = 48
    """Trained on in a round; a multiple of `published_batch`."""
    published_batch: int = 12
    response_tokens: tuple[int, int] = (4, 86)
    """Shortest and longest; with 64 query tokens, a pair has about 166 tokens in all."""
    batch_sizes: tuple[int, ...] = (1, 4, 16)
    """Requests that come together; the last is also the number of clips."""
    num_alone: int = 4
    """Requests that are timed one by one."""
    new_tokens: int = 24
    """Of every answer."""
    matrix_size: int = 4096
    """Of the square matrices whose product shows the peak of the machine."""


BUSY = Scale(seconds=(5,), num_pairs=24, batch_sizes=(1, 16))
"""Of `neighbour.py`: enough to tell settings apart in a minute each."""

QUICK = Scale(
    seconds=(2,),
    num_pairs=4,
    published_batch=2,
    batch_sizes=(1, 2),
    num_alone=1,
    new_tokens=3,
    matrix_size=64,
)
