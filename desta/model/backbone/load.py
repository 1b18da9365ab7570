"""Loading of a backbone and its tokenizer, rounded as in training or quantized.

The connector does not change with the number format of the backbone: its gradients and outputs are
floats whatever the weights are stored in.
"""

from typing import Any, Protocol

import torch
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

from desta.errors import CheckpointError, ConfigError, need
from desta.model.backbone.cpu.layers import fuse_layers
from desta.model.config import Dtype, Quantization
from desta.model.hub.load import Part
from desta.model.precision import find_device, precision


class NumberFormats(Protocol):
    """Number formats of a backbone in a recipe; see `desta.model.config.ModelConfig`."""

    @property
    def dtype(self) -> Dtype:
        """Compute dtype."""

    @property
    def backbone_dtype(self) -> Dtype:
        """Dtype that its weights are rounded to."""

    @property
    def backbone_quantization(self) -> Quantization | None:
        """Format in which the weights are stored, if quantized."""


def load_backbone(
    part: Part, config: NumberFormats, device: str | torch.device = "cpu"
) -> tuple[Any, Any]:
    """Load a causal language model and its tokenizer.

    Args:
        part: the backbone.
        config: says which number formats.
        device: where it will compute.

    Raises:
        CheckpointError: the model cannot be loaded, has no chat template, or is stored in a format
            that cannot be read here.
        ConfigError: this machine has no such device, the device does not support the quantization,
            or the model is quantized already.
    """
    device = find_device(device)
    tokenizer = load_tokenizer(part)
    weights, compute = precision(config.backbone_dtype, device), precision(config.dtype, device)
    how = config.backbone_quantization
    if _is_quantized(part):
        if how is not None:
            raise ConfigError(
                f'"{part.place}" is quantized already', fix="leave backbone_quantization out"
            )
        return _stored(part, compute, device), tokenizer
    on_gpu = torch.device(device).type == "cuda"
    if how is not None and on_gpu:
        need("bitsandbytes", extra="quant-gpu", to="quantize a backbone on a GPU")
        settings = _bitsandbytes(how, compute)
        return _placed(part, weights, device, quantization_config=settings), tokenizer
    if how == "nf4":
        raise ConfigError(
            "backbone_quantization = nf4 needs a CUDA device", fix="give int8, or device cuda"
        )
    backbone = part.load(AutoModelForCausalLM, dtype=weights).to(compute)
    backbone.requires_grad_(False)  # frozen wherever it is used; only then its layers run fast
    if how == "int8":
        _to_int8(backbone)
    elif not on_gpu:
        fuse_layers(backbone)
    return backbone, tokenizer


def load_tokenizer(part: Part) -> Any:
    """Load the tokenizer of a backbone.

    Raises:
        CheckpointError: it cannot be loaded, or has no chat template.
    """
    if part.is_gguf:
        need("accelerate", extra="quant", to="read a GGUF file")
    tokenizer = part.load(AutoTokenizer)
    if not tokenizer.chat_template:
        raise CheckpointError(
            f'the tokenizer of "{part.place}" has no chat template',
            fix="use the instruction-tuned version of that model",
        )
    return tokenizer


def stored_format(part: Part, config: NumberFormats) -> str | None:
    """Return the quantization of a backbone's stored weights; None if they are floats."""
    if config.backbone_quantization is not None:
        return config.backbone_quantization
    return "its own" if _is_quantized(part) else None


def revision(part: Part, config: NumberFormats, device: str | torch.device = "cpu") -> str:
    """Return what pins the numbers of a backbone that was loaded: its files and its formats.

    The fingerprint (`desta.model.hub.weights`) does not hash all bytes.
    """
    formats = [precision(d, device) for d in (config.backbone_dtype, config.dtype)]
    weights, compute = (str(dtype).removeprefix("torch.") for dtype in formats)
    stored = "" if config.backbone_quantization is None else f" in {config.backbone_quantization}"
    files = part.fingerprint or "unknown"
    return f"fingerprint {files} as {weights}{stored}, computed in {compute}"


def _is_quantized(part: Part) -> bool:
    """Return whether the files of a backbone hold quantized weights; GGUF becomes floats."""
    return not part.is_gguf and bool(part.config.to_dict().get("quantization_config"))


def _stored(part: Part, dtype: torch.dtype, device: str | torch.device) -> Any:
    """Load a backbone that is quantized already; each way of it needs a package of its own."""
    try:
        return _placed(part, dtype, device)
    except torch.OutOfMemoryError:
        raise
    except (ImportError, RuntimeError) as error:
        raise CheckpointError(
            f'"{part.place}" is quantized in a way that cannot be read here: '
            f"{(str(error) or type(error).__name__).strip().splitlines()[0]}",
            fix="install what is named, or give the model as it was before it was quantized",
        ) from error


def _placed(part: Part, dtype: torch.dtype, device: str | torch.device, **options: Any) -> Any:
    """Load quantized weights onto their device: not every format can be moved afterwards."""
    need("accelerate", extra="quant", to="load a quantized backbone")
    return part.load(AutoModelForCausalLM, dtype=dtype, device_map={"": device}, **options)


def _bitsandbytes(how: Quantization, compute: torch.dtype) -> BitsAndBytesConfig:
    if how == "int8":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=compute
    )


def _to_int8(backbone: Any) -> None:
    """Quantize the matrices to 8 bits with one scale a row; the LM head, often tied, stays."""
    ao = need("torchao.quantization", extra="quant", to="quantize a backbone")
    head = backbone.get_output_embeddings()
    ao.quantize_(
        backbone,
        ao.Int8WeightOnlyConfig(),
        filter_fn=lambda module, _: isinstance(module, nn.Linear) and module is not head,
    )


def keep_table_only(backbone: Any) -> None:
    """Free the weights of a backbone except its embedding table, in place."""
    _strip(backbone, backbone.get_input_embeddings())


def _strip(module: nn.Module, table: nn.Module) -> None:
    for name, child in list(module.named_children()):
        if child is table:
            continue
        if any(inner is table for inner in child.modules()):
            _strip(child, table)
        else:
            setattr(module, name, nn.Identity())
