"""A base recipe of a study on the tiny model, and clips that reuse its three recordings."""

import json
from pathlib import Path
from typing import Any

import yaml

from desta.records import Clip, Segment

LANGUAGES = ("French", "Greek")
PROMPTS = {
    "speech": "[ask Language]\nWhich language is it?\nWhat is spoken?\n[describe]\nDescribe it.\n"
    "What do you hear?\n",
    "sound": "[describe]\nDescribe the sound.\n",
    "music": "[describe]\nDescribe the music.\n",
}


def write_base(folder: Path, published_tiny: Path, **changes: Any) -> Path:
    """Write recipes, clips and prompts, and return the base recipe; `changes` are its keys."""
    (folder / "prompts").mkdir()
    for domain, text in PROMPTS.items():
        (folder / "prompts" / f"{domain}.txt").write_text(text)
    clips = [_clip(number, split) for split in ("train", "test") for number in range(8)]
    (folder / "clips.jsonl").write_text("".join(json.dumps(c.to_json()) + "\n" for c in clips))
    backbone = str(published_tiny / "backbone")
    model = {
        "backbone": backbone,
        "encoder": str(published_tiny / "openai" / "whisper-tiny"),
        "connector": {"num_query_tokens": 4, "num_layers": 1, "ffn_dim": 16},
        "dtype": "float32",
    }
    corpus = {"path": str(folder / "clips.jsonl"), "root": str(published_tiny)}
    recipes: dict[str, Any] = {
        "construct": {
            "backbone": backbone,
            "clips": [{**corpus, "prompts_per_clip": 2}],
            "prompts": str(folder / "prompts"),
            "sampling": {"temperature": 0.05, "max_new_tokens": 6},
            "engine": {"kind": "scripted", "answer": "It is French."},
            "filters": ["empty"],
        },
        "train": {
            "model": model,
            "data": {"train": ["data"], "batch_rows": 4, "max_tokens": 128, "token_budget": 2048},
            "steps": 3,
            "precision": "no",
            "save_every": 1,
            "optim": {"learning_rate": 1e-2, "warmup_steps": 0},
        },
        "attributes": {
            "data": {"clips": [corpus], "attributes": {"Language": []}},
            "max_new_tokens": 3,
        },
        "text": {"data": {"prompts": ["Hello?", "What is this?"]}, "max_new_tokens": 6},
    }
    study = {
        "backbone": backbone,
        "pairs": 12,
        "instructions": 4,
        "likelihoods": 5,
        **{name: write(folder / f"{name}.yaml", recipe) for name, recipe in recipes.items()},
    }
    return Path(write(folder / "base.yaml", study | changes))


def write_first(folder: Path) -> str:
    """Write the recipe of a first stage beside the others, and return its path."""
    train = yaml.safe_load((folder / "train.yaml").read_text())
    return write(folder / "first.yaml", train | {"words": ["Language"], "steps": 2})


def write(path: Path, recipe: dict[str, Any]) -> str:
    path.write_text(yaml.safe_dump(recipe))
    return str(path)


def _clip(number: int, split: Any) -> Clip:
    return Clip(
        id=f"{split}/{number}",
        source="tiny",
        audio=f"{'abc'[number % 3]}.wav",
        duration=1.0,
        domain="speech",
        segments=(Segment(start=0.0, end=1.0, text="three words here"),),
        attributes={"Language": LANGUAGES[number % 2]},
        split=split,
    )
