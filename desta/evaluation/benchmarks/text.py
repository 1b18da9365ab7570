"""The benchmark `text`: without a clip, the model must still be its backbone, token for token."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from desta.errors import ConfigError
from desta.evaluation.scores import write_json
from desta.inference.engine import Engine
from desta.model.backbone.chat import render_chat
from desta.model.backbone.load import load_backbone
from desta.model.backbone.sampling import Sampling
from desta.model.config import AUTO
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


@dataclass(frozen=True, kw_only=True)
class TextConfig:
    """Recipe of `desta eval text`."""

    model: Path
    """Directory of a trained model."""
    prompts: tuple[str, ...] = PROMPTS
    max_new_tokens: int = 48
    device: str = AUTO
    """Where both compute: auto (cuda, else mps, else cpu), cpu, cuda, cuda:1, ..."""

    def __post_init__(self) -> None:
        if not self.prompts:
            raise ConfigError("prompts is empty", fix="list at least one")


def evaluate_text(config: TextConfig, engine: Engine, out: Path) -> dict[str, Any]:
    """Answer prompts with the model and with the bare backbone, both greedily, and compare.

    The bare backbone is loaded a second time and run by transformers alone: its own tokenization
    and `generate`; only what is told to the chat template, and what ends an answer, is the same.
    Give an engine that keeps no beginnings of prompts: they are compared as they are read whole.

    Returns:
        `{equal, total, rows: [{prompt, model, backbone, equal}]}`, also in `scores.json`.
    """
    device = engine.model.device
    backbone, tokenizer = load_backbone(engine.parts.backbone, engine.model.config, device)
    backbone = backbone.to(device)
    rows = []
    for prompt in config.prompts:
        ours = engine.respond(
            [[Message(role="user", content=prompt)]], Sampling(max_new_tokens=config.max_new_tokens)
        )[0].ids
        rendered = render_chat(tokenizer, [("user", prompt)])
        inputs = tokenizer(rendered, add_special_tokens=False, return_tensors="pt")
        inputs = inputs.to(device)
        with torch.no_grad():
            ids = backbone.generate(
                **inputs,
                do_sample=False,
                max_new_tokens=config.max_new_tokens,
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
