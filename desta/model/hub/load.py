"""Loading of the frozen parts by transformers: safetensors or GGUF, never pickles or code."""

import json
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from safetensors import SafetensorError
from torch import nn
from transformers import AutoTokenizer, PreTrainedModel
from transformers.models.auto.auto_factory import _BaseAutoModelClass
from transformers.utils.logging import disable_progress_bar

from desta.errors import CheckpointError
from desta.model.hub import zoo

_NAMED = 10  # most missing tensors that an error lists
# TypeError: a configuration that is JSON but not an object
_UNREADABLE: tuple[type[Exception], ...] = (*zoo.UNLOADABLE, SafetensorError, TypeError)
_UNUSED = {"masked_spec_embed"}  # replaces masked frames in the training of wav2vec 2.0 only


def load_part(kind: type[Any], name: str, **options: Any) -> Any:
    """Load a model, a tokenizer or a configuration.

    Raises:
        CheckpointError: it cannot be fetched, holds only an adapter, or tensors are missing or have
            other shapes than in its configuration.
    """
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


def locate(name: str, base: Path | None) -> str:
    """Return the argument of `load_part`: a directory or file, inside `base` or not, or an id."""
    inside = None if base is None else base / name
    if inside is not None and inside.exists():
        return str(inside)
    if is_gguf(name):
        if not Path(name).is_file():
            raise CheckpointError(f"{name} is not a file", fix="give the path of a GGUF file")
        return name
    return str(zoo.resolve(name))


def find_local(name: str, base: Path | None) -> Path | None:
    """Return the path of a part on this machine, or None; nothing is fetched."""
    for place in ([base / name] if base is not None else []) + [Path(name)]:
        if place.exists():
            return place
    if name in zoo.ZOO and (directory := zoo.cached(name)):
        return directory
    try:
        return Path(snapshot_download(name, local_files_only=True))
    except zoo.UNLOADABLE:
        return None


def is_gguf(name: str) -> bool:
    """Return whether a name is that of a GGUF file."""
    return name.endswith(".gguf")


def gguf_options(name: str) -> tuple[str, dict[str, str]]:
    """Return the directory and the options by which transformers loads a part.

    >>> gguf_options("models/tiny.gguf")
    ('models', {'gguf_file': 'tiny.gguf'})
    >>> gguf_options("models/tiny")
    ('models/tiny', {})
    """
    if not is_gguf(name):
        return name, {}
    return str(Path(name).parent), {"gguf_file": Path(name).name}
