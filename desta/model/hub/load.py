"""Loading of the frozen parts by transformers: safetensors or GGUF, never pickles or code."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from huggingface_hub import snapshot_download
from safetensors import SafetensorError
from torch import nn
from transformers import AutoConfig, AutoTokenizer, PreTrainedModel
from transformers.models.auto.auto_factory import _BaseAutoModelClass
from transformers.utils.logging import disable_progress_bar

from desta.errors import CheckpointError
from desta.model.hub import zoo
from desta.model.hub.weights import weights_fingerprint

_NAMED = 10  # most missing tensors that an error lists
# TypeError: a configuration that is JSON but not an object
_UNREADABLE: tuple[type[Exception], ...] = (*zoo.UNLOADABLE, SafetensorError, TypeError)
_GGUF = ".gguf"
_UNUSED = {"masked_spec_embed"}  # stands for hidden frames in the training of wav2vec 2.0 only


@dataclass(frozen=True)
class Part:
    """A pretrained part of a model: an encoder, a backbone, a transcriber."""

    place: str
    """Place of its files: a directory, a GGUF file, or an id of the Hub."""

    @classmethod
    def find(cls, name: str, base: Path | None = None) -> Self:
        """Return the part that a recipe or a checkpoint names; a zoo model is fetched.

        Args:
            name: directory, GGUF file, zoo model or id of the Hub.
            base: directory of a checkpoint, in which the part may lie.

        Raises:
            CheckpointError: it is a path where nothing lies, or cannot be fetched.
        """
        if base is not None and (base / name).exists():
            return cls(str(base / name))
        if not name.endswith(_GGUF):
            return cls(zoo.resolve(name))
        if not Path(name).is_file():
            raise CheckpointError(f"{name} is not a file", fix="give the path of a GGUF file")
        return cls(name)

    @classmethod
    def find_local(cls, name: str, base: Path | None = None) -> Self | None:
        """Return the part if this machine has it, else None; fetches nothing."""
        for place in ([base / name] if base is not None else []) + [Path(name)]:
            if place.exists():
                return cls(str(place))
        if name.removeprefix(zoo.WHEELS) in zoo.ZOO and (directory := zoo.cached(name)):
            return cls(str(directory))
        if name.startswith(zoo.WHEELS):
            return None
        try:
            return cls(snapshot_download(name, local_files_only=True))
        except zoo.UNLOADABLE:
            return None

    @property
    def is_gguf(self) -> bool:
        """Whether it is a GGUF file."""
        return self.place.endswith(_GGUF)

    @property
    def source(self) -> tuple[str, dict[str, str]]:
        """Directory or id, and the options by which transformers loads it.

        >>> Part("models/tiny.gguf").source
        ('models', {'gguf_file': 'tiny.gguf'})
        >>> Part("models/tiny").source
        ('models/tiny', {})
        """
        if not self.is_gguf:
            return self.place, {}
        return str(Path(self.place).parent), {"gguf_file": Path(self.place).name}

    @property
    def local(self) -> Path | None:
        """Its place on this machine; None if it must be downloaded first."""
        found = Part.find_local(self.place)
        return None if found is None else Path(found.place)

    @property
    def fingerprint(self) -> str | None:
        """Fingerprint of its weights (`weights.weights_fingerprint`); None if it is not here."""
        return None if self.local is None else weights_fingerprint(self.local)

    @cached_property
    def config(self) -> Any:
        """Its configuration; raises CheckpointError as `load` does."""
        return self.load(AutoConfig)

    def load(self, kind: type[Any], **options: Any) -> Any:
        """Load a model, a tokenizer or a configuration.

        Raises:
            CheckpointError: it cannot be had, is no safetensors model but an adapter of one, or
                tensors of it are missing or of another shape than its configuration says.
        """
        source, own = self.source
        return _load(kind, source, **own, **options)


def _load(kind: type[Any], name: str, **options: Any) -> Any:
    if kind is not AutoTokenizer:  # transformers would fetch the model that it names
        check_no_adapter(Path(name))
    disable_progress_bar()  # one bar per part would drown the output of the command
    report: dict[str, Any] = {}
    if issubclass(kind, PreTrainedModel | _BaseAutoModelClass):
        options |= {"output_loading_info": True, "use_safetensors": True}  # pickles can run code
        options |= {"ignore_mismatched_sizes": True}  # they are reported below
    try:
        part = kind.from_pretrained(name, trust_remote_code=False, **options)
        if "output_loading_info" in options:
            part, report = part
        if unlike := sorted(str(key) for key, *_ in report.get("mismatched_keys", ())):
            raise ValueError(
                "its config.json is not of these weights, which have another shape in "
                f"{', '.join(unlike[:_NAMED])}"
            )
        missing = sorted(set(report.get("missing_keys", ())) - _UNUSED)
        if missing:  # transformers would use random weights
            raise ValueError(f"it lacks {', '.join(missing[:_NAMED])}")
    except _UNREADABLE as error:
        check_no_adapter(Path(name))
        raise CheckpointError(
            f'"{name}" cannot be loaded: {str(error).splitlines()[0]}',
            fix="give a directory with *.safetensors, or an id that the Hub serves to you",
        ) from error
    if isinstance(part, nn.Module):
        part.eval()
    return part


def check_no_adapter(directory: Path) -> None:
    """Raise CheckpointError if a directory holds an adapter (peft) without its base model."""
    settings = directory / "adapter_config.json"
    others = (path for path in directory.glob("*.safetensors") if "adapter" not in path.name)
    if not settings.is_file() or any(others):
        return
    try:
        model = json.loads(settings.read_text(encoding="utf-8"))["base_model_name_or_path"]
    except (OSError, ValueError, LookupError, TypeError):
        model = None
    raise CheckpointError(
        f"{directory} holds an adapter (LoRA) of {model or 'a model'}, and not the model itself",
        fix="merge both by peft (`merge_and_unload`), save model and tokenizer, and give that "
        "directory",
    )
