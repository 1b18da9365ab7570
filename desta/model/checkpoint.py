"""Model directories: reading them strictly, writing them whole.

A directory holds `config.json` and `model.safetensors` (the trained tensors only, under the
published names); encoder and backbone are named in the configuration and fetched on loading.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    WhisperForConditionalGeneration,
)
from transformers.utils.logging import disable_progress_bar

from desta.config import to_plain
from desta.errors import CheckpointError
from desta.model import zoo
from desta.model.config import Dtype, ModelConfig, from_published, to_published
from desta.model.desta import DestaModel
from desta.model.encoder import WhisperEncoder
from desta.model.precision import precision
from desta.version import __version__

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
_FILES = ["*.json", "*.jinja", "*.model", "*.txt", "*.safetensors"]  # never pickles or code
_NAMED = 10  # differences that an error lists


@dataclass(frozen=True)
class Loaded:
    """A model with its tokenizer, and where its frozen parts came from."""

    model: DestaModel
    tokenizer: Any
    encoder_directory: str
    backbone_directory: str
    system_prompt: str | None = None
    """What the training data said before every question; None where nobody has noted it."""

    @property
    def layout_options(self) -> dict[str, Any]:
        """Return what `desta.data.layout.Layout` needs to know of this model."""
        config = self.model.config
        return {
            "num_query_tokens": config.connector.num_query_tokens,
            "locator": config.audio_locator,
            "placeholder_token": config.placeholder_token,
        }


def fresh(config: ModelConfig, *, device: str | torch.device = "cpu") -> Loaded:
    """Build a model from its parts with an untrained connector (seed PyTorch beforehand)."""
    loaded = _assemble(config, base=None, device=device)
    loaded.model.initialise()
    return loaded


def load(
    name: str | Path, *, dtype: Dtype | None = None, device: str | torch.device = "cpu"
) -> Loaded:
    """Load a trained model from a directory or a Hub id.

    Raises:
        CheckpointError: the directory is incomplete, or its tensors are not exactly the
            connector's; at most ten differences are named.
    """
    directory = local_directory(str(name))
    fields = read_config(directory)
    config = from_published(fields, where=str(directory))
    if dtype is not None:
        config = replace(config, dtype=dtype)
    state = read_weights(directory)
    loaded = _assemble(config, base=directory, device=device)
    expected = loaded.model.trained_state()
    compare(
        {key: tuple(t.shape) for key, t in expected.items()},
        {key: tuple(t.shape) for key, t in state.items()},
        where=str(directory / WEIGHTS),
    )
    with torch.no_grad():
        for key, tensor in expected.items():
            tensor.copy_(state[key])
    return replace(loaded, system_prompt=fields.get("system_prompt"))


def gather(model: DestaModel) -> dict[str, Tensor]:
    """Return the trained tensors, whole; where processes hold pieces of them, all must call."""
    return {
        name: (t.full_tensor() if isinstance(t, DTensor) else t).detach().cpu().contiguous()
        for name, t in model.trained_state().items()
    }


def save(
    model: DestaModel,
    directory: Path,
    *,
    extra: dict[str, Any] | None = None,
    state: dict[str, Tensor] | None = None,
) -> None:
    """Write `config.json` and `model.safetensors`.

    Args:
        model: what is saved.
        directory: where to.
        extra: more fields of the configuration.
        state: the trained tensors, where they had to be gathered.
    """
    directory.mkdir(parents=True, exist_ok=True)
    state = gather(model) if state is None else state
    fields = to_published(model.config, model.encoder.target_layers)
    fields |= {"desta_version": __version__} | to_plain(extra or {})
    save_file(state, directory / f".{WEIGHTS}", metadata={"format": "pt"})
    (directory / f".{CONFIG}").write_text(json.dumps(fields, indent=2) + "\n", encoding="utf-8")
    for name in (WEIGHTS, CONFIG):
        (directory / f".{name}").replace(directory / name)


def read_config(directory: Path) -> dict[str, Any]:
    """Read the fields of `config.json` in a model directory."""
    path = directory / CONFIG
    if not path.is_file():
        raise CheckpointError(
            f"{directory} has no {CONFIG}", fix="give the directory that `desta train` wrote"
        )
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path} is not JSON", fix="copy the model again") from error
    if not isinstance(fields, dict):
        raise CheckpointError(f"{path} holds no fields", fix="copy the model again")
    return fields


def read_weights(directory: Path) -> dict[str, Tensor]:
    """Read the trained tensors of a model directory."""
    path = directory / WEIGHTS
    if not path.is_file():
        raise CheckpointError(
            f"{directory} has no {WEIGHTS}",
            fix="training has not finished, or the copy is incomplete",
        )
    try:
        return load_file(path)
    except SafetensorError as error:
        raise CheckpointError(
            f"{path} is not a safetensors file: {error}", fix="copy the model again"
        ) from error


def compare(
    expected: dict[str, tuple[int, ...]], found: dict[str, tuple[int, ...]], *, where: str
) -> None:
    """Raise CheckpointError unless both name the same tensors with the same shapes."""
    differences = [f"{key} is missing" for key in expected if key not in found]
    differences += [f"{key} is unknown" for key in found if key not in expected]
    differences += [
        f"{key} has shape {list(found[key])}, not {list(shape)}"
        for key, shape in expected.items()
        if key in found and found[key] != shape
    ]
    if differences:
        listed = "; ".join(differences[:_NAMED])
        more = f"; and {len(differences) - _NAMED} more" if len(differences) > _NAMED else ""
        raise CheckpointError(
            f"{where} does not fit the model of its config.json: {listed}{more}",
            fix="use the config.json that was written together with these weights",
        )


def local_directory(name: str) -> Path:
    """Return the directory of a model: as it is, from the zoo, or downloaded from the Hub."""
    path = Path(zoo.resolve(name))
    if path.is_dir():
        return path
    try:
        return Path(snapshot_download(name, allow_patterns=_FILES))
    except zoo.UNLOADABLE as error:
        raise CheckpointError(
            f'model "{name}" is neither a directory nor reachable on the Hub',
            fix="give the directory of a model, or connect to the Hub",
        ) from error


def _assemble(config: ModelConfig, *, base: Path | None, device: str | torch.device) -> Loaded:
    """Fetch encoder and backbone and join them; ids may be directories inside `base`."""
    encoder_directory, backbone_directory = (
        str(base / name) if base is not None and (base / name).is_dir() else str(zoo.resolve(name))
        for name in (config.encoder, config.backbone)
    )
    dtype = precision(config.dtype, device)
    tokenizer = _fetched(AutoTokenizer, backbone_directory)
    backbone = _fetched(
        AutoModelForCausalLM,
        backbone_directory,
        dtype=precision(config.backbone_dtype, device),
    ).to(dtype)
    whisper = _fetched(WhisperForConditionalGeneration, encoder_directory, dtype=dtype)
    target_layers = config.connector.layers_of(whisper.config.encoder_layers)
    with torch.device("meta"):
        encoder = WhisperEncoder(whisper.config, target_layers)
    encoder.load_state_dict(whisper.model.encoder.state_dict(), assign=True)
    encoder.requires_grad_(False)
    model = DestaModel(config, encoder=encoder, backbone=backbone)
    return Loaded(model.to(device).eval(), tokenizer, encoder_directory, backbone_directory)


def _fetched(kind: type[Any], name: str, **options: Any) -> Any:
    """Load a part by transformers, from a directory or the Hub; never code from there."""
    disable_progress_bar()  # one bar per part would drown what the command has to say
    weighty = issubclass(kind, PreTrainedModel) or kind is AutoModelForCausalLM
    report: dict[str, Any] = {}
    try:
        if kind is WhisperForConditionalGeneration:
            found = AutoConfig.from_pretrained(name).model_type
            if found != "whisper":
                raise ValueError(f"it is a {found} model, not Whisper")
        if weighty:
            part, report = kind.from_pretrained(
                name, trust_remote_code=False, output_loading_info=True, **options
            )
        else:
            part = kind.from_pretrained(name, trust_remote_code=False, **options)
        if report.get("missing_keys"):  # transformers would go on with random weights
            raise ValueError(f"it lacks {', '.join(sorted(report['missing_keys'])[:_NAMED])}")
    except zoo.UNLOADABLE as error:
        raise CheckpointError(
            f'"{name}" cannot be loaded: {str(error).splitlines()[0]}',
            fix="give a model directory, or an id that the Hub serves to you",
        ) from error
    if isinstance(part, nn.Module):
        part.eval()
    return part
