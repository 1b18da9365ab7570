"""Model directories: strict reading, and writing.

A directory holds `config.json` and `model.safetensors` (the trained tensors only, under the
published names); encoder and backbone are named in the configuration and fetched on loading.
"""

import json
import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import torch
from huggingface_hub import snapshot_download
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.distributed.tensor import DTensor

from desta.config import to_plain
from desta.errors import CheckpointError, ConfigError
from desta.files import sha256
from desta.model.backbone.load import load_backbone, stored_format
from desta.model.config import AUTO, Dtype, ModelConfig, Quantization, from_published, to_published
from desta.model.desta import DestaModel
from desta.model.encoder.load import load_encoder
from desta.model.hub import zoo
from desta.model.hub.load import Part, check_no_adapter
from desta.model.hub.weights import write_tensors
from desta.model.precision import choose_device, find_device, precision
from desta.paths import check_folder
from desta.renamed import keywords
from desta.version import __version__

log = logging.getLogger(__name__)

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
SHA256 = "desta_weights_sha256"
BACKBONE_REVISION = "desta_backbone_revision"
ENCODER_REVISION = "desta_encoder_revision"
VERSION = "desta_version"
"""Fields of `config.json` about the weights beside it and the parts they were trained with."""
_PREFIX = "perception.connector."
_FILES = ["*.json", "*.jinja", "*.model", "*.txt", "*.safetensors"]  # never pickles or code
_NAMED = 10  # most differences that an error lists


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The frozen parts of a model."""

    encoder: Part
    backbone: Part
    transcriber: Part | None
    """Whisper with its decoder; None where none is named, and the encoder cannot transcribe."""

    @classmethod
    def find(cls, config: ModelConfig, base: Path | None = None) -> Self:
        """Find the parts that a configuration names; they may lie inside `base`.

        Raises:
            CheckpointError: one is a path where nothing lies, or cannot be fetched.
        """
        return cls(
            backbone=Part.find(config.backbone, base),
            encoder=Part.find(config.encoder, base),
            transcriber=None if config.transcriber is None else Part.find(config.transcriber, base),
        )


@dataclass(frozen=True)
class Loaded:
    """A model with its tokenizer and the directories of its frozen parts."""

    model: DestaModel
    tokenizer: Any
    parts: Parts
    system_prompt: str | None = None
    """System prompt of the training data; None if it is not recorded."""

    @property
    def layout_options(self) -> dict[str, Any]:
        """Return the arguments of `desta.data.layout.Layout` for this model."""
        config = self.model.config
        return {
            "num_query_tokens": config.connector.num_query_tokens,
            "locator": config.audio_locator,
            "placeholder_token": config.placeholder_token,
            "num_embeddings": self.model.num_embeddings,
        }


def fresh(config: ModelConfig, *, device: str | torch.device = "cpu") -> Loaded:
    """Build a model from its parts with an untrained connector (seed PyTorch beforehand)."""
    loaded = _assemble(config, Parts.find(config), device)
    loaded.model.initialise()
    loaded.model.kept_fields = dict(_revisions(loaded))
    return loaded


@keywords(quantisation="quantization")
def load(
    name: str | Path,
    *,
    dtype: Dtype | None = None,
    quantization: Quantization | None = None,
    device: str | torch.device = "cpu",
) -> Loaded:
    """Load a trained model from a directory or a Hub id.

    Args:
        name: directory or id; written here or by the published code.
        dtype: compute dtype of the frozen parts; None means the checkpoint's.
        quantization: number format of the backbone's weights; None means the checkpoint's.
        device: device of the model; see `desta.model.precision.choose_device`.

    Raises:
        CheckpointError: the directory is incomplete, or its tensors are not exactly the
            connector's; at most ten differences are named.
        ConfigError: this machine has no such device.
    """
    if device != AUTO:
        device = find_device(device)  # fails before anything is fetched
    directory, fields, config, state = _read(name)
    config = replace(
        config,
        dtype=dtype or config.dtype,
        backbone_quantization=quantization or config.backbone_quantization,
    )
    shapes = {key: tuple(t.shape) for key, t in state.items()}
    parts = Parts.find(config, directory)
    check_connector(  # before gigabytes are loaded
        shapes,
        config,
        encoder_dim=parts.encoder.config.hidden_size,
        backbone_dim=parts.backbone.config.get_text_config().hidden_size,
    )
    device = choose_device(device, stored=lambda: stored_format(parts.backbone, config))
    loaded = _assemble(config, parts, device)
    _copy(state, loaded.model, where=str(directory / WEIGHTS))
    _check_parts(loaded, fields)
    loaded.model.kept_fields = {k: v for k, v in fields.items() if k not in (SHA256, VERSION)}
    return replace(loaded, system_prompt=fields.get("system_prompt"))


def copy_trained(name: str | Path, model: DestaModel) -> None:
    """Copy the trained tensors of a model directory into a model of the same parts.

    A model with LoRA may start from one without: its low-rank updates then stay as they begin,
    without effect.

    Raises:
        CheckpointError: the directory is incomplete, or its tensors are not those of the model.
        ConfigError: it has other frozen parts, or hears otherwise.
    """
    directory, _, config, state = _read(name)
    theirs, ours = _trained_for(config, model), _trained_for(model.config, model)
    for key, value in theirs.items():
        if value != ours[key]:
            raise ConfigError(
                f"{directory} was trained with {key} = {value}, and the recipe has {ours[key]}",
                fix=f"write {key}: {value} into the recipe, or start from another model",
            )
    whole = config.lora is not None or model.config.lora is None
    _copy(state, model, where=str(directory / WEIGHTS), prefix="" if whole else _PREFIX)


def _read(name: str | Path) -> tuple[Path, dict[str, Any], ModelConfig, dict[str, Tensor]]:
    """Return a model's directory, the fields of its `config.json`, its configuration and tensors.

    Raises:
        CheckpointError: it is incomplete or damaged.
    """
    directory = local_directory(str(name))
    fields = read_config(directory)
    config = from_published(fields, where=str(directory))
    state = read_weights(directory)
    check_weights(directory, fields)
    check_finite(state, where=str(directory / WEIGHTS))
    return directory, fields, config, state


def _trained_for(config: ModelConfig, model: DestaModel) -> dict[str, Any]:
    """Return what a connector is trained for, beside the shapes of its tensors."""
    layers = config.connector.target_layers or model.encoder.target_layers
    return {
        "model.backbone": config.backbone,
        "model.encoder": config.encoder,
        "model.window": config.window,
        "connector.normalise_frames": config.connector.normalise_frames,
        "connector.target_layers": list(layers),
    }


def _copy(state: dict[str, Tensor], model: DestaModel, *, where: str, prefix: str = "") -> None:
    """Copy tensors into those that a model trains under a prefix; both must be the same ones."""
    expected = {k: t for k, t in model.trained_state().items() if k.startswith(prefix)}
    check_tensors(
        {key: tuple(t.shape) for key, t in expected.items()},
        {key: tuple(t.shape) for key, t in state.items()},
        where=where,
    )
    with torch.no_grad():
        for key, tensor in expected.items():
            tensor.copy_(state[key])


def gather(model: DestaModel) -> dict[str, Tensor]:
    """Return the full trained tensors; if they are sharded, every process must call this."""
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
        model: the model; fields of the `config.json` that it was loaded with are kept.
        directory: directory to write.
        extra: more fields of the configuration.
        state: the trained tensors, if already gathered.
    """
    check_folder(directory)
    directory.mkdir(parents=True, exist_ok=True)
    state = gather(model) if state is None else state
    write_tensors(directory / f".{WEIGHTS}", state)
    fields = model.kept_fields | to_published(model.config, model.encoder.target_layers)
    fields |= {VERSION: __version__, SHA256: sha256(directory / f".{WEIGHTS}")}
    fields |= to_plain(extra or {})
    (directory / f".{CONFIG}").write_text(json.dumps(fields, indent=2) + "\n", encoding="utf-8")
    for name in (WEIGHTS, CONFIG):
        (directory / f".{name}").replace(directory / name)


def read_config(directory: Path) -> dict[str, Any]:
    """Read the fields of `config.json` in a model directory."""
    path = directory / CONFIG
    if not path.is_file():
        check_no_adapter(directory)
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
    path.open("rb").close()  # safetensors reports a file without read permission as missing
    try:
        return load_file(path)
    except SafetensorError as error:
        raise CheckpointError(
            f"{path} is not a safetensors file: {error}", fix="copy the model again"
        ) from error


def check_tensors(
    expected: dict[str, tuple[int, ...]], found: dict[str, tuple[int, ...]], *, where: str
) -> None:
    """Raise CheckpointError unless both name the same tensors with the same shapes."""
    if found and all(key.startswith("model.") for key in found):
        raise CheckpointError(
            f'the names of all tensors in {where} begin with "model.", as in a trainer\'s own file',
            fix='save them again without it, for example as "perception.connector.proj.1.bias"',
        )
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
    """Return the directory of a model: the given one, the zoo's, or one downloaded from the Hub."""
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


def check_connector(
    shapes: dict[str, tuple[int, ...]], config: ModelConfig, *, encoder_dim: int, backbone_dim: int
) -> None:
    """Raise CheckpointError if a connector was trained for parts of other widths."""
    # tensors with another number of axes are left to `compare`
    width, *_ = shapes.get(f"{_PREFIX}proj.0.weight", ()) or (encoder_dim,)
    if width != encoder_dim:
        raise CheckpointError(
            f'the connector reads an encoder of width {width}, but "{config.encoder}" '
            f"has width {encoder_dim}",
            fix="name the encoder that it was trained with as encoder_model_id in config.json",
        )
    width, *_ = shapes.get(f"{_PREFIX}proj.1.weight", ()) or (backbone_dim,)
    if width != backbone_dim:
        raise CheckpointError(
            f"the connector was trained for a backbone of hidden size {width}, but "
            f'"{config.backbone}" has {backbone_dim}',
            fix="name the backbone that it was trained with as llm_model_id in config.json",
        )


def check_finite(state: dict[str, Tensor], *, where: str) -> None:
    """Raise CheckpointError if a tensor holds NaN, infinity, or whole numbers."""
    whole = [name for name, tensor in state.items() if not tensor.is_floating_point()]
    if whole:
        raise CheckpointError(
            f"{where} holds no floating-point numbers in {', '.join(whole[:_NAMED])}",
            fix="save the weights as they were trained, in float32, bfloat16 or float16",
        )
    broken = [name for name, tensor in state.items() if not bool(tensor.isfinite().all())]
    if broken:
        more = f" and {len(broken) - _NAMED} more" if len(broken) > _NAMED else ""
        raise CheckpointError(
            f"{where} holds NaN or infinity in {', '.join(broken[:_NAMED])}{more}",
            fix="take an earlier checkpoint, or train again with a lower learning rate",
        )


def check_weights(directory: Path, fields: dict[str, Any]) -> None:
    """Raise CheckpointError if the weights changed after `config.json` was written."""
    expected = fields.get(SHA256)
    if expected is not None and sha256(directory / WEIGHTS) != expected:
        raise CheckpointError(
            f"{directory / WEIGHTS} was changed after its {CONFIG} was written",
            fix=f"copy the model again; if another program wrote it, delete {SHA256} in {CONFIG}",
        )


def _check_parts(loaded: Loaded, fields: dict[str, Any]) -> None:
    """Warn if a frozen part is not the one that the connector was trained with.

    Raises:
        CheckpointError: it is named with `zoo.WHEELS` in front, so that it must be the very same.
    """
    config, found = loaded.model.config, _revisions(loaded)
    for key, name in ((BACKBONE_REVISION, config.backbone), (ENCODER_REVISION, config.encoder)):
        trained = fields.get(key)
        if trained is not None and key in found and found[key] != trained:
            if name.startswith(zoo.WHEELS):
                part = name.removeprefix(zoo.WHEELS)
                raise CheckpointError(
                    f"the {part} of this machine is not the one that the connector was trained "
                    f"with (fingerprint {found[key]:.12}, then {trained:.12})",
                    fix=f"delete {zoo.cached(part)} and run `desta models fetch {name}`",
                )
            log.warning(
                '"%s" is not the model that the connector was trained with (fingerprint %.12s, '
                "then %.12s): answers may be worse",
                name,
                found[key],
                trained,
            )


def find_stored_format(name: str | Path) -> str | None:
    """Return the quantization of a trained model's stored backbone; None if it is floats."""
    directory = local_directory(str(name))
    config = from_published(read_config(directory), where=str(directory))
    return stored_format(Part.find(config.backbone, directory), config)


def _revisions(loaded: Loaded) -> dict[str, str]:
    """Return the fingerprints of the frozen parts, of those that lie on this machine."""
    found = {
        BACKBONE_REVISION: loaded.parts.backbone.fingerprint,
        ENCODER_REVISION: loaded.parts.encoder.fingerprint,
    }
    return {key: revision for key, revision in found.items() if revision is not None}


def _assemble(config: ModelConfig, parts: Parts, device: str | torch.device) -> Loaded:
    """Load encoder and backbone and join them."""
    encoder = load_encoder(config, parts.encoder, dtype=precision(config.dtype, device))
    if parts.transcriber is None and encoder.transcribes:
        parts = replace(parts, transcriber=parts.encoder)
    backbone, tokenizer = load_backbone(parts.backbone, config, device)
    model = DestaModel(config, encoder=encoder, backbone=backbone)
    return Loaded(model.to(device).eval(), tokenizer, parts)
