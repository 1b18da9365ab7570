"""Loading of a backbone and its tokenizer, rounded as in training or quantized.

The connector does not change with the number format of the backbone: its gradients and outputs are
floats whatever the weights are stored in.
"""

from typing import Any, Protocol

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

from desta.errors import CheckpointError, ConfigError, need
from desta.model.backbone.cpu.layers import fuse_layers
from desta.model.config import Dtype, Quantization
from desta.model.hub.load import find_local, gguf_options, is_gguf, load_part
from desta.model.hub.weights import weights_fingerprint
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
    name: str, config: NumberFormats, device: str | torch.device = "cpu"
) -> tuple[Any, Any]:
    """Load a causal language model and its tokenizer.

    Args:
        name: directory, GGUF file or Hub id.
        config: number formats.
        device: device of the model.

    Raises:
        CheckpointError: the model cannot be loaded, has no chat template, or is stored in a format
            that cannot be read here.
        ConfigError: this machine has no such device, the device does not support the quantization,
            or the model is quantized already.
    """
    device = find_device(device)
    tokenizer = load_tokenizer(name)
    source, options = gguf_options(name)
    weights, compute = precision(config.backbone_dtype, device), precision(config.dtype, device)
    how = config.backbone_quantization
    if _is_quantized(name):
        if how is not None:
            raise ConfigError(
                f'"{name}" is quantized already', fix="leave backbone_quantization out"
            )
        return _stored(source, compute, device), tokenizer
    on_gpu = torch.device(device).type == "cuda"
    if how is not None and on_gpu:
        need("bitsandbytes", extra="quant-gpu", to="quantize a backbone on a GPU")
        settings = _bitsandbytes(how, compute)
        return _placed(source, weights, device, quantization_config=settings), tokenizer
    if how == "nf4":
        raise ConfigError(
            "backbone_quantization = nf4 needs a CUDA device", fix="give int8, or device cuda"
        )
    backbone = load_part(AutoModelForCausalLM, source, dtype=weights, **options).to(compute)
    backbone.requires_grad_(False)  # frozen in every use; fused layers require it
    if how == "int8":
        _to_int8(backbone)
    elif not on_gpu:
        fuse_layers(backbone)
    return backbone, tokenizer


def load_tokenizer(name: str) -> Any:
    """Load the tokenizer of a backbone.

    Args:
        name: directory, GGUF file or Hub id.

    Raises:
        CheckpointError: it cannot be loaded, or has no chat template.
    """
    source, options = gguf_options(name)
    if options:
        need("accelerate", extra="quant", to="read a GGUF file")
    tokenizer = load_part(AutoTokenizer, source, **options)
    if not tokenizer.chat_template:
        raise CheckpointError(
            f'the tokenizer of "{name}" has no chat template',
            fix="use the instruction-tuned version of that model",
        )
    return tokenizer


def stored_format(name: str, config: NumberFormats) -> str | None:
    """Return the quantization of a backbone's stored weights; None if they are floats."""
    if config.backbone_quantization is not None:
        return config.backbone_quantization
    return "its own" if _is_quantized(name) else None


def revision(name: str, config: NumberFormats, device: str | torch.device = "cpu") -> str:
    """Return a text that identifies a loaded backbone: fingerprint of its files, number formats.

    The fingerprint (`desta.model.hub.weights`) does not hash all bytes.
    """
    place = find_local(name, None)
    files = None if place is None else weights_fingerprint(place)
    formats = [precision(d, device) for d in (config.backbone_dtype, config.dtype)]
    weights, compute = (str(dtype).removeprefix("torch.") for dtype in formats)
    stored = "" if config.backbone_quantization is None else f" in {config.backbone_quantization}"
    return f"fingerprint {files or 'unknown'} as {weights}{stored}, computed in {compute}"


def _is_quantized(name: str) -> bool:
    """Return whether a backbone is stored quantized; GGUF is not, it is loaded as floats."""
    return not is_gguf(name) and bool(
        load_part(AutoConfig, name).to_dict().get("quantization_config")
    )


def _stored(source: str, dtype: torch.dtype, device: str | torch.device) -> Any:
    """Load a backbone that is quantized already; every method needs a package of its own."""
    try:
        return _placed(source, dtype, device)
    except torch.OutOfMemoryError:
        raise
    except (ImportError, RuntimeError) as error:
        raise CheckpointError(
            f'"{source}" is quantized in a way that cannot be read here: '
            f"{(str(error) or type(error).__name__).strip().splitlines()[0]}",
            fix="install what is named, or give the model as it was before it was quantized",
        ) from error


def _placed(source: str, dtype: torch.dtype, device: str | torch.device, **options: Any) -> Any:
    """Load quantized weights onto their device: not every format can be moved afterwards."""
    need("accelerate", extra="quant", to="load a quantized backbone")
    return load_part(AutoModelForCausalLM, source, dtype=dtype, device_map={"": device}, **options)


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
