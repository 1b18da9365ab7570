"""Verification of a checkpoint without loading encoder or backbone."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from desta.errors import CheckpointError
from desta.model import checkpoint
from desta.model.backbone import lora
from desta.model.backbone.audio_placeholders import check_locator, placeholder_id
from desta.model.backbone.load import load_tokenizer
from desta.model.checkpoint import BACKBONE_REVISION, ENCODER_REVISION, WEIGHTS
from desta.model.config import LoraConfig, ModelConfig, from_published
from desta.model.connector.connector import QFormerConnector
from desta.model.encoder.control_tokens import check_control_tokens
from desta.model.encoder.load import build_encoder, check_mel_bins
from desta.model.hub.architectures import ARCHITECTURES, architecture
from desta.model.hub.load import Part


@dataclass(frozen=True)
class PartReport:
    """A frozen part: its id in the checkpoint and its files on this machine."""

    id: str
    directory: str | None
    """Path on this machine; None if it would have to be fetched."""
    trained_with: str | None
    """Fingerprint of the part that the connector was trained with; None if not recorded."""
    same: bool | None
    """Whether this machine has that part; None if unknown."""


@dataclass(frozen=True)
class CheckpointReport:
    """Facts about a valid checkpoint; an invalid one is an error."""

    directory: str
    written_by: str
    format: int
    """Number of the checkpoint format; 0 is the published one."""
    step: int | None
    """Training steps; None if not recorded."""
    encoder: PartReport
    backbone: PartReport
    target_layers: tuple[int, ...] | None
    """None if neither the encoder nor the checkpoint tells."""
    trained_tensors: int
    trained_parameters: int
    number_formats: dict[str, int]
    """Trained tensors by number format."""
    checked: tuple[str, ...]
    """Checks that passed."""
    not_checked: tuple[str, ...]
    """Checks that were not possible on this machine, with the reason."""


def verify(name: str | Path) -> CheckpointReport:
    """Check a model directory, or a Hub id, without loading encoder or backbone.

    Raises:
        CheckpointError: tensors are missing, changed, of another shape or not finite, or the files
            of the encoder or of Whisper's tokenizer contradict each other.
        ConfigError: the backbone's tokenizer lacks the locator or the placeholder.
    """
    directory = checkpoint.local_directory(str(name))
    fields = checkpoint.read_config(directory)
    config = from_published(fields, where=str(directory))
    state = checkpoint.read_weights(directory)
    where = str(directory / WEIGHTS)
    checked, not_checked = ["names of the tensors", "all values finite"], []
    checkpoint.check_weights(directory, fields)
    if checkpoint.SHA256 in fields:
        checked.append("SHA-256")
    else:
        not_checked.append("SHA-256: config.json holds none")
    checkpoint.check_finite(state, where=where)
    encoder = Part.find_local(config.encoder, directory)
    backbone = Part.find_local(config.backbone, directory)
    encoder_config = _architecture(config.encoder, encoder)
    backbone_config = _architecture(config.backbone, backbone)
    for part, known in (("encoder", encoder_config), ("backbone", backbone_config)):
        if known is None:
            not_checked.append(f"shapes against the {part}: it is unknown on this machine")
        else:
            checked.append(f"shapes against the {part}")
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    target_layers, expected = _expected(config, shapes, encoder_config, backbone_config)
    checkpoint.check_tensors(expected, shapes, where=where)
    for what, missing in (
        ("mel bins of the encoder", _check_mel_bins(encoder, encoder_config)),
        ("control tokens of the transcriber", _check_transcriber(config, directory)),
        ("marks of clips against the tokenizer", _check_marks(config, backbone, backbone_config)),
    ):
        if missing is None:
            checked.append(what)
        else:
            not_checked.append(f"{what}: {missing}")
    version = fields.get(checkpoint.VERSION)
    return CheckpointReport(
        directory=str(directory),
        written_by=f"desta {version}" if version else "the published code",
        format=fields.get("desta_format", 0),
        step=fields.get("training_steps"),
        encoder=_part(config.encoder, encoder, fields.get(ENCODER_REVISION)),
        backbone=_part(config.backbone, backbone, fields.get(BACKBONE_REVISION)),
        target_layers=target_layers,
        trained_tensors=len(state),
        trained_parameters=sum(tensor.numel() for tensor in state.values()),
        number_formats=_count_formats(state),
        checked=tuple(checked),
        not_checked=tuple(not_checked),
    )


def _expected(
    config: ModelConfig,
    shapes: dict[str, tuple[int, ...]],
    encoder_config: Any,
    backbone_config: Any,
) -> tuple[tuple[int, ...] | None, dict[str, tuple[int, ...]]]:
    """Return target layers and expected shapes; sizes unknown here are taken from the tensors."""
    prefix = "perception.connector."
    layer_weights = shapes.get(f"{prefix}layer_weights", ()) or (1, 1)
    projection = shapes.get(f"{prefix}proj.1.weight", ()) or (1, 1)
    target_layers = config.connector.target_layers
    num_target_layers, encoder_dim, num_heads = layer_weights[-1], projection[-1], 1
    with torch.device("meta"):
        if encoder_config is not None:
            encoder = build_encoder(config, encoder_config)
            target_layers = encoder.target_layers
            num_target_layers, encoder_dim = len(target_layers), encoder.dim
            num_heads = encoder.num_heads
        backbone_dim = (
            projection[0]
            if backbone_config is None
            else backbone_config.get_text_config().hidden_size
        )
        checkpoint.check_connector(
            shapes, config, encoder_dim=encoder_dim, backbone_dim=backbone_dim
        )
        connector = QFormerConnector(
            config.connector,
            num_target_layers=num_target_layers,
            encoder_dim=encoder_dim,
            num_heads=num_heads,
            backbone_dim=backbone_dim,
        )
    expected = {f"{prefix}{name}": tuple(p.shape) for name, p in connector.named_parameters()}
    if config.lora is not None:
        expected |= _expected_updates(config.lora, shapes, backbone_config)
    return target_layers, expected


def _expected_updates(
    config: LoraConfig, shapes: dict[str, tuple[int, ...]], backbone_config: Any
) -> dict[str, tuple[int, ...]]:
    """Return the expected shapes of LoRA tensors; for an unknown backbone, the given ones."""
    if backbone_config is None:
        return {name: shape for name, shape in shapes.items() if name.startswith("llm_model.")}
    with torch.device("meta"):
        backbone = AutoModelForCausalLM.from_config(backbone_config).requires_grad_(False)
        lora.inject(backbone.get_decoder(), config)
    return {
        f"llm_model.{name}": tuple(p.shape)
        for name, p in backbone.named_parameters()
        if p.requires_grad
    }


def _check_mel_bins(encoder: Part | None, known: Any) -> str | None:
    """Check the mel bins of the encoder's files; return why that is impossible, else None."""
    if encoder is None or known is None:
        return "it is not on this machine"
    if known.model_type != "whisper":
        return "it has none, it reads waveforms"
    check_mel_bins(encoder, known.num_mel_bins)
    return None


def _check_transcriber(config: ModelConfig, base: Path) -> str | None:
    """Check Whisper's control tokens; return why that is impossible, else None."""
    name = config.transcriber or config.encoder
    part = Part.find_local(name, base)
    known = _architecture(name, part)
    if part is None or known is None:
        return "it is not on this machine"
    if known.model_type != "whisper":
        return "no Whisper is named, so that clips need their text"
    return check_control_tokens(Path(part.place), vocab_size=known.vocab_size)


def _check_marks(config: ModelConfig, backbone: Part | None, known: Any) -> str | None:
    """Check locator and placeholder; return why that is impossible, else None."""
    if backbone is None or known is None:
        return "the backbone is not on this machine"
    if backbone.is_gguf:
        return "it lies in a GGUF file"
    if not any(Path(backbone.place).glob("tokenizer*")):
        return f"{backbone.place} has none"
    tokenizer = load_tokenizer(backbone)
    check_locator(tokenizer, config.audio_locator)
    placeholder_id(tokenizer, config.placeholder_token, known.get_text_config().vocab_size)
    return None


def _architecture(name: str, part: Part | None) -> Any:
    """Return the configuration of a part if this machine has it; nothing is fetched."""
    if part is None:
        return ARCHITECTURES[name]() if name in ARCHITECTURES else None
    try:
        return architecture(part.place)
    except CheckpointError:
        return None  # a directory of something else that happens to have this name


def _part(name: str, part: Part | None, trained_with: str | None) -> PartReport:
    if part is None:
        return PartReport(name, None, trained_with, None)
    found = part.fingerprint
    same = None if found is None or trained_with is None else found == trained_with
    return PartReport(name, part.place, trained_with, same)


def _count_formats(state: dict[str, Tensor]) -> dict[str, int]:
    names = [str(tensor.dtype).removeprefix("torch.") for tensor in state.values()]
    return {name: names.count(name) for name in sorted(set(names))}
