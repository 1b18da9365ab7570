"""Loading of the text generator of a recipe."""

import hashlib
from functools import partial
from typing import Protocol

import torch
from transformers import GenerationConfig

from desta.errors import ConfigError
from desta.generators.base import TextGenerator
from desta.generators.config import (
    EngineConfig,
    LocalEngine,
    OpenAIEngine,
    ScriptedEngine,
    VllmEngine,
)
from desta.generators.local import LocalGenerator
from desta.generators.openai.client import connect
from desta.generators.scripted import ScriptedGenerator
from desta.generators.vllm import VllmGenerator, load_vllm, vllm_version
from desta.model.backbone.decoding import end_ids
from desta.model.backbone.load import (
    NumberFormats,
    load_backbone,
    load_tokenizer,
    revision,
    stored_format,
)
from desta.model.hub.load import Part
from desta.model.hub.weights import read_headers
from desta.model.precision import choose_device, precision

_SAFETENSORS_NAMES = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16"}


class GeneratorRecipe(NumberFormats, Protocol):
    """Generator settings of a recipe; see `desta.construction.config.ConstructConfig`."""

    @property
    def backbone(self) -> str:
        """Hub id, zoo name, directory or GGUF file."""

    @property
    def engine(self) -> EngineConfig:
        """Engine that runs the backbone."""


def load_generator(recipe: GeneratorRecipe) -> TextGenerator:
    """Load the text generator of a recipe.

    Raises:
        ConfigError: the engine does not support the recipe's settings, or the endpoint refuses.
        CheckpointError: the backbone cannot be loaded.
        MissingExtraError: a package of the engine is not installed.
    """
    engine = recipe.engine
    match engine:
        case LocalEngine():
            return _local(recipe, engine)
        case VllmEngine():
            return _vllm(recipe, engine)
        case OpenAIEngine():
            name = engine.tokenizer
            tokenizer = None if name is None else load_tokenizer(Part.find(name))
            return connect(engine, model=engine.model or recipe.backbone, tokenizer=tokenizer)
        case ScriptedEngine():
            return scripted(engine.answer)


def scripted(answer: str | None) -> ScriptedGenerator:
    """Create a generator that always gives the same response; None repeats the last message."""
    if answer is None:
        return ScriptedGenerator(str, revision="echo")
    digest = hashlib.sha256(answer.encode()).hexdigest()
    return ScriptedGenerator(partial(_say, answer), revision=f"sentence {digest}")


def _say(answer: str, _: str) -> str:
    return answer


def _local(recipe: GeneratorRecipe, engine: LocalEngine) -> LocalGenerator:
    part = Part.find(recipe.backbone)
    device = choose_device(engine.device, stored=lambda: stored_format(part, recipe))
    model, tokenizer = load_backbone(part, recipe, device)
    pinned = revision(part, recipe, device)
    return LocalGenerator(model.to(device), tokenizer, id=recipe.backbone, revision=pinned)


def _vllm(recipe: GeneratorRecipe, engine: VllmEngine) -> VllmGenerator:
    part = Part.find(recipe.backbone)
    version = vllm_version()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = _dtype(recipe, part, device)
    tokenizer = load_tokenizer(part)
    config = part.config.get_text_config(decoder=True)
    llm = load_vllm(
        part.place, engine, dtype=dtype, longest=getattr(config, "max_position_embeddings", None)
    )
    return VllmGenerator(
        llm,
        tokenizer,
        end_ids=end_ids(_Declared(part), tokenizer),
        id=recipe.backbone,
        revision=f"{revision(part, recipe, device)} by vllm {version}",
    )


def _dtype(recipe: GeneratorRecipe, part: Part, device: str) -> str:
    """Return vLLM's number format that gives the same backbone as in training."""
    if part.is_gguf:
        raise ConfigError(
            "the engine vllm cannot read GGUF files", fix="give a directory, or `kind: local`"
        )
    if recipe.backbone_quantization is not None:
        raise ConfigError(
            "the engine vllm does not support backbone_quantization",
            fix="leave it out, or use `kind: local`",
        )
    weights, compute = (precision(d, device) for d in (recipe.backbone_dtype, recipe.dtype))
    directory = part.local
    headers = read_headers(directory) if directory is not None and directory.is_dir() else {}
    stored = {header.dtype for header in headers.values()}
    # vLLM stores weights in its compute dtype, and so would not round them.
    if compute == torch.float32 != weights and stored != {_SAFETENSORS_NAMES[weights]}:
        rounded = str(weights).removeprefix("torch.")
        raise ConfigError(
            f"the engine vllm cannot round weights to {rounded} and compute in float32",
            fix=f"give dtype: {rounded}, or use `kind: local`",
        )
    return str(compute).removeprefix("torch.")


class _Declared:
    """Generation config of a backbone, without its weights; an argument of `end_ids`."""

    def __init__(self, part: Part) -> None:
        if part.local is not None and (part.local / "generation_config.json").is_file():
            self.generation_config = part.load(GenerationConfig)
        else:  # as transformers does for a model without that file
            self.generation_config = GenerationConfig.from_model_config(part.config)
