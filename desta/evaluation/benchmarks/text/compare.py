"""Answers of a model and of its bare backbone, compared token by token."""

from pathlib import Path
from typing import Any

import torch

from desta.evaluation.benchmarks.text import BENCHMARK, TextData
from desta.evaluation.recipe import EvalRecipe
from desta.files import write_json
from desta.inference.engine import Engine
from desta.model.backbone.chat import render_chat
from desta.model.backbone.load import load_backbone
from desta.model.backbone.sampling import Sampling
from desta.records import Message


def evaluate_text(recipe: EvalRecipe[TextData], engine: Engine, out: Path) -> dict[str, Any]:
    """Answer prompts with the model and with the bare backbone, both greedily, and compare.

    The bare backbone is loaded a second time and run by transformers alone: its own tokenization
    and `generate`; only the input of the chat template and the end tokens are shared.

    Args:
        recipe: its model is `engine`.
        engine: the model, without a prefix cache: in bfloat16 a prompt that is read in two pieces
            rounds differently, and ties fall otherwise.
        out: folder for `scores.json`; made if missing.

    Returns:
        `{equal, total, rows: [{prompt, model, backbone, equal}]}`, also in `scores.json`.
    """
    max_new_tokens = recipe.max_new_tokens or BENCHMARK.max_new_tokens
    device = engine.model.device
    backbone, tokenizer = load_backbone(engine.parts.backbone, engine.model.config, device)
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
