"""The benchmark `text`: without a clip, the model must still be its backbone, token for token."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from desta.errors import ConfigError
from desta.evaluation.base import About, Benchmark, Check
from desta.evaluation.recipe import EvalRecipe

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
class TextData:
    """Data section of the recipe of `text`."""

    prompts: tuple[str, ...] = PROMPTS

    def __post_init__(self) -> None:
        if not self.prompts:
            raise ConfigError("data.prompts is empty", fix="list at least one")


def _run(recipe: EvalRecipe[TextData], out: Path) -> dict[str, Any]:
    # with torch, which the table of benchmarks does without
    from desta.evaluation.benchmarks.text.compare import evaluate_text
    from desta.inference.engine import Engine, Limits

    limits = Limits(prefix_cache_bytes=0)
    engine = Engine.load(str(recipe.model), device=recipe.device, limits=limits)
    return evaluate_text(recipe, engine, out)


def _sentence(scores: Mapping[str, Any]) -> str:
    return f"{scores['equal']} of {scores['total']} answers equal the bare backbone's"


def _refuse(*_: object) -> Any:
    raise ConfigError("no answer to text has a score alone", fix="desta eval text --model MODEL")


BENCHMARK = Benchmark(
    name="text",
    about=About(
        title="without a clip the model must still be its backbone, token for token",
        data="none; `data.prompts` of its recipe, which have a default",
        metrics="answers that are equal to the bare backbone's",
        licence="-",
        source="this package",
        example="desta eval text --model MODEL",
    ),
    data=TextData,
    load=_refuse,
    score=_refuse,
    aggregate=_refuse,
    max_new_tokens=48,
    transcribe=False,
    check=Check(keys=("data", "model", "device", "max_new_tokens"), run=_run, sentence=_sentence),
)
