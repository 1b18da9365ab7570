"""Loading a model to ask it: directory or Hub id -> engine."""

from pathlib import Path

from desta.inference.engine import Engine, Limits
from desta.model.config import Dtype, Quantization


def load(
    model: str | Path,
    *,
    dtype: Dtype | None = None,
    quantization: Quantization | None = None,
    device: str = "auto",
    language: str | None = None,
    read_again: bool | None = None,
    limits: Limits | None = None,
) -> Engine:
    """Load a trained model to ask it about clips.

    Args:
        model: directory or Hub id, of a published checkpoint or of `train`.
        dtype: what encoder and backbone compute in; None: as the checkpoint says.
        quantization: of the backbone's weights; None: as the checkpoint says.
        device: auto (cuda, else mps, else cpu), cpu, cuda, cuda:1, ...
        language: what is spoken, for transcribing; None lets Whisper find out.
        read_again: transcribe once more, in pieces, where words seem to be missing; None does so
            only in windows of true length.
        limits: what it may use.

    Raises:
        ConfigError: a number format is unknown, or this machine has no such device.
        CheckpointError: there is no such model, or its weights do not fit.
    """
    return Engine.load(
        model,
        dtype=dtype,
        quantization=quantization,
        device=device,
        language=language,
        read_again=read_again,
        limits=limits,
    )
