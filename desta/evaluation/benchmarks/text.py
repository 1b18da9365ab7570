"""The benchmark `text`: without a clip, the model must still be its backbone, token for token."""

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch

from desta.errors import ConfigError
from desta.evaluation.recipe import EvalRecipe
from desta.evaluation.scores import write_json
from desta.inference.engine import Engine
from desta.model.backbone.chat import render_chat
from desta.model.backbone.load import load_backbone
from desta.model.backbone.sampling import Sampling
from desta.records import Message

PROMPTS = (
    "What is the capital of Italy?",
    "Write one sentence about the sea.",
    "Name three animals that live on a farm.",
    "How many days has a week?",
    "Explain in one sentence what a piano is.",
    "Give a word that rhymes with light.",
    "What do bees make?",
    "Translate 'good morning' into Spanish.",
    "Why is the sky blue? Answer in one sentence.",
    "List two things one needs to bake bread.",
)
MAX_NEW_TOKENS = 48
_KEYS = ("data", "model", "device", "max_new_tokens")


@dataclass(frozen=True, kw_only=True)
class TextData:
    """Data section of the recipe of `text`."""

    prompts: tuple[str, ...] = PROMPTS

    def __post_init__(self) -> None:
        if not self.prompts:
            raise ConfigError("data.prompts is empty", fix="list at least one")


def resolve_text(recipe: EvalRecipe[TextData]) -> EvalRecipe[TextData]:
    """Return a recipe with max_new_tokens filled in.

    Raises:
        ConfigError: it sets a key that the comparison has no use for.
    """
    default: EvalRecipe[TextData] = EvalRecipe(data=recipe.data)
    for key in (f.name for f in fields(recipe) if f.name not in _KEYS):
        if getattr(recipe, key) != getattr(default, key):
            raise ConfigError(
                f"{key} cannot be used with the benchmark text",
                fix=f"leave it out; its recipe has {', '.join(sorted(_KEYS))}",
            )
    return replace(recipe, max_new_tokens=recipe.max_new_tokens or MAX_NEW_TOKENS)


def evaluate_text(recipe: EvalRecipe[TextData], engine: Engine, out: Path) -> dict[str, Any]:
    """Answer prompts with the model and with the bare backbone, both greedily, and compare.

    The bare backbone is loaded a second time and run by transformers alone: its own tokenization
    and `generate`; only the input of the chat template and the end tokens are shared.

    Args:
        recipe: a recipe of `resolve_text`.
        engine: the model, without a prefix cache: in bfloat16 a prompt that is read in two pieces
            rounds differently, and ties fall otherwise.
        out: folder for `scores.json`; made if missing.

    Returns:
        `{equal, total, rows: [{prompt, model, backbone, equal}]}`, also in `scores.json`.
    """
    max_new_tokens = recipe.max_new_tokens or MAX_NEW_TOKENS
    device = engine.model.device
    backbone, tokenizer = load_backbone(engine.backbone_directory, engine.model.config, device)
    backbone = backbone.to(device)
    rows = []
    for prompt in recipe.data.prompts:
        ours = engine.respond(
            [[Message(role="user", content=prompt)]], Sampling(max_new_tokens=max_new_tokens)
        )[0].ids
        rendered = render_chat(tokenizer, [("user", prompt)])
        inputs = tokenizer(rendered, add_special_tokens=False, return_tensors="pt")
        inputs = inputs.to(device)
        with torch.no_grad():
            ids = backbone.generate(
                **inputs,
                do_sample=False,
                max_new_tokens=max_new_tokens,
                eos_token_id=sorted(engine.end_ids),
                repetition_penalty=1.0,  # a generation_config may ask for another
            )
        theirs = ids[0, inputs["input_ids"].shape[1] :].tolist()
        rows.append(
            {
                "prompt": prompt,
                "model": tokenizer.decode(ours, skip_special_tokens=True),
                "backbone": tokenizer.decode(theirs, skip_special_tokens=True),
                "equal": ours == theirs,
            }
        )
    scores = {"equal": sum(row["equal"] for row in rows), "total": len(rows), "rows": rows}
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "scores.json", scores)
    return scores
