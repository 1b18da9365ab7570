"""Measures of every variant: evaluations of its runs, and the score of each item."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from desta.construction.attribute_values import split_words
from desta.construction.filters import has_loop
from desta.evaluation.base import Result
from desta.evaluation.baselines import ORACLE
from desta.evaluation.benchmarks.attributes.score import ACCURACY
from desta.evaluation.benchmarks.sakura.score import RULE
from desta.evaluation.benchmarks.speech_ifeval.score import FOLLOWED
from desta.evaluation.benchmarks.table import find_benchmark
from desta.evaluation.journal import RESULTS
from desta.evaluation.recipe import BenchmarkFiles, EvalRecipe
from desta.evaluation.scores import SCORES, read_results
from desta.model.config import AUTO
from desta.schema import Json, read_json
from desta.studies.instructions import SECTION
from desta.studies.plan import Plan, key_of
from desta.studies.variant import Variant

ScoresOfItems = Mapping[str, float]
"""Item -> score."""

WITHHELD, GIVEN, SAKURA = "withheld", "given", "sakura"
INSTRUCTIONS, TEXT = "instructions", "text"
"""Evaluations of a run."""
_ANSWER_TOKENS = 48


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A figure of every variant."""

    id: str
    title: str
    evaluation: str
    metric: str = ""
    reads: bool = False
    """Whether the system reads descriptions, in place of the clips."""
    lower_is_better: bool = False


LIKELIHOOD = Measure(
    id="nats",
    title="nats a token of the targets, under the backbone that reads",
    evaluation="",
    lower_is_better=True,
)
DEGENERATE = Measure(
    id="degenerate",
    title="answers that are empty or repeat themselves",
    evaluation="",
    lower_is_better=True,
)
MEASURES = (
    Measure(
        id="withheld",
        title="attributes, transcription withheld",
        evaluation=WITHHELD,
        metric=ACCURACY,
    ),
    Measure(id="given", title="attributes, transcription given", evaluation=GIVEN, metric=ACCURACY),
    Measure(id="sakura", title="SAKURA, by rule", evaluation=SAKURA, metric=RULE),
    Measure(
        id="instructions",
        title="instructions followed, about clips",
        evaluation=INSTRUCTIONS,
        metric=FOLLOWED,
    ),
    Measure(
        id="instructions-read",
        title="instructions followed, about descriptions in words",
        evaluation=INSTRUCTIONS,
        metric=FOLLOWED,
        reads=True,
    ),
    Measure(id="text", title="answers to text that are the bare backbone's", evaluation=TEXT),
    DEGENERATE,
)


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """An evaluation of a run."""

    benchmark: str
    recipe: EvalRecipe[Any]
    folder: Path

    @property
    def is_done(self) -> bool:
        """Whether it is scored."""
        return (self.folder / SCORES).is_file()


def evaluations(plan: Plan, variant: Variant, seed: int) -> dict[str, Evaluation]:
    """Return the evaluations of a run by their names."""
    study, run = plan.base.study, plan.run(variant, seed)
    asked = replace(plan.base.attributes, model=str(run), backbone=None, systems=(variant.system,))
    short: dict[str, Any] = {
        "model": str(run),
        "device": asked.device,
        "batch_size": asked.batch_size,
        "max_new_tokens": _ANSWER_TOKENS,
    }
    recipes: dict[str, tuple[str, EvalRecipe[Any]]] = {}
    if variant.trains:
        recipes[WITHHELD] = "attributes", replace(asked, transcribe=False)
        recipes[TEXT] = "text", replace(plan.base.text, model=str(run))
    recipes[GIVEN] = "attributes", replace(asked, transcribe=True)
    if study.sakura is not None:
        data = BenchmarkFiles(path=str(study.sakura))
        recipes[SAKURA] = "sakura", EvalRecipe(data=data, systems=(variant.system,), **short)
    if study.instructions:
        data = BenchmarkFiles(path=str(plan.questions), subsets=(SECTION,))
        systems = (variant.system, ORACLE)
        recipes[INSTRUCTIONS] = "speech_ifeval", EvalRecipe(data=data, systems=systems, **short)
    return {
        name: Evaluation(
            benchmark=benchmark,
            recipe=recipe,
            folder=run / "eval" / f"{name}-{key_of(replace(recipe, device=AUTO), plan.held_out)}",
        )
        for name, (benchmark, recipe) in recipes.items()
    }


def read_scores(
    measure: Measure, variant: Variant, done: Mapping[str, Evaluation]
) -> ScoresOfItems:
    """Read the score of every item that has one; empty where the variant was not asked.

    Args:
        measure: one of `MEASURES`.
        variant: whose answers.
        done: its evaluations by their names.
    """
    if measure is DEGENERATE:
        return {
            f"{name}/{result.id}": float(is_degenerate(result.output))
            for name, evaluation in done.items()
            if name != TEXT
            for result in _answers(evaluation, variant.system)
            if result.output is not None
        }
    evaluation = done.get(measure.evaluation)
    if evaluation is None:
        return {}
    if measure.evaluation == TEXT:
        fix = "delete it; the same command asks again"
        rows = read_json(evaluation.folder / SCORES, dict[str, Json], fix=fix)["rows"]
        return {row["prompt"]: float(row["equal"]) for row in rows}
    system = ORACLE if measure.reads else variant.system
    scores = {r.id: r.score.values.get(measure.metric) for r in _answers(evaluation, system)}
    return {id: value for id, value in scores.items() if value is not None}


def is_degenerate(answer: str) -> bool:
    """Return whether an answer has no words, or repeats itself.

    >>> is_degenerate("It is a dog."), is_degenerate("a dog a dog a dog a dog"), is_degenerate(" .")
    (False, True, True)
    """
    words = split_words(answer)
    return not words or has_loop(words)


def commands(plan: Plan) -> dict[Path, tuple[str, EvalRecipe[Any]]]:
    """Return file -> command and recipe of every evaluation of the first seed's runs."""
    found = {}
    for variant in plan.variants:
        for name, one in evaluations(plan, variant, 0).items():
            path = plan.out / "recipes" / f"eval-{variant.name}-{name}.yaml"
            command = f"desta eval {one.benchmark} --recipe {path} --out {one.folder}"
            found[path] = command, one.recipe
    return found


def num_answers(plan: Plan) -> int:
    """Return how many answers the evaluations of a run ask for, SAKURA's not counted.

    Raises:
        DataError: the held-out clips cannot be read.
    """
    asked, study = plan.base.attributes, plan.base.study
    num_attributes = len(asked.draw(find_benchmark("attributes").load(asked.data)))
    return 2 * (num_attributes + study.instructions + len(plan.base.text.data.prompts))


def _answers(evaluation: Evaluation, system: str) -> Iterator[Result]:
    benchmark = find_benchmark(evaluation.benchmark)
    results: Sequence[Result] = read_results(evaluation.folder / RESULTS, benchmark)
    return (result for result in results if result.system == system)
