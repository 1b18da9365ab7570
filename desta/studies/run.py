"""Running of a study: data, pairs, runs and evaluations, each where it is not done yet.

Construction, training and evaluation go on where they were killed, and give the bytes of an
uninterrupted call; so does a study, which calls them in order.
"""

import gc
import json
import logging
from pathlib import Path
from typing import Any

from desta.config import dump_recipe
from desta.construction.pipeline import construct
from desta.evaluation.benchmarks.table import find_benchmark
from desta.evaluation.models import load_models, model_fingerprint, with_device
from desta.evaluation.recipe import EvalRecipe, resolve_recipe
from desta.evaluation.runner import evaluate
from desta.evaluation.systems import Models
from desta.files import write_atomic, write_json
from desta.generators.load import load_generator
from desta.model.backbone.load import load_backbone, load_tokenizer
from desta.model.hub.load import Part
from desta.model.precision import choose_device
from desta.paths import check_folder
from desta.shards import MANIFEST
from desta.studies.cost import Costs
from desta.studies.findings import FINDINGS, Findings, find_all
from desta.studies.instructions import write_questions
from desta.studies.likelihood import nats_per_token
from desta.studies.measures import (
    LIKELIHOOD,
    MEASURES,
    Evaluation,
    ScoresOfItems,
    commands,
    evaluations,
    read_scores,
)
from desta.studies.pairs import Budget, choose, draw_lot, read_pairs, write_pairs
from desta.studies.plan import COSTS, Plan
from desta.studies.prompts import write_prompts
from desta.studies.variant import Variant
from desta.training.config import TrainConfig
from desta.training.loop import SUMMARY, train

log = logging.getLogger(__name__)


def run_study(plan: Plan) -> Findings:
    """Do what is left of a study; write and return its findings.

    Raises:
        DestaError: a step failed; the same call goes on from there.
    """
    check_folder(plan.out)
    _write_recipes(plan)
    costs = Costs(plan.out / COSTS)
    for folder, variant in plan.data_sets.items():
        _construct(plan, variant, folder, costs)
    budgets = _write_pairs(plan)
    scores: dict[tuple[str, str], list[ScoresOfItems]] = {
        (LIKELIHOOD.id, variant.name): [_likelihoods(plan, variant, costs)]
        for variant in plan.variants
        if variant.trains
    }
    _write_questions(plan)
    runs = list(plan.runs())
    for number, (variant, seed) in enumerate(runs, start=1):
        log.info("run %d of %d: %s, seed %d", number, len(runs), variant.name, seed)
        done = _train_and_ask(plan, variant, seed, costs)
        for measure in MEASURES:
            if found := read_scores(measure, variant, done):
                scores.setdefault((measure.id, variant.name), []).append(found)
    findings = find_all(plan, scores, budgets, _pairs_read(plan), costs.steps)
    write_json(plan.out / FINDINGS, findings.to_json())
    return findings


def _write_recipes(plan: Plan) -> None:
    """Write the recipe of every step, so that it can be run by hand."""
    recipes = {path: config for path, (_, _, config) in plan.recipes().items()}
    recipes |= {path: config for path, (_, config) in commands(plan).items()}
    for path, config in recipes.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, dump_recipe(config).encode())


def _construct(plan: Plan, variant: Variant, folder: Path, costs: Costs) -> None:
    if (folder / MANIFEST).is_file():
        return
    config = plan.construct_config(variant)
    if variant.num_prompts is not None and config.prompts is not None:
        write_prompts(variant.construct, variant.num_prompts, config.prompts)
    log.info("responses of %s", folder)
    with costs.measure(f"write/{folder.name}") as count:
        manifest = construct(config, folder, load_generator(config))
        count(manifest.num_kept + manifest.num_dropped)
    gc.collect()


def _write_pairs(plan: Plan) -> dict[str, Budget]:
    """Write the pairs of every variant that lacks them; return the budgets by variant."""
    trained = [variant for variant in plan.variants if variant.trains]
    found = {v.name: budget for v in trained if (budget := Budget.read(plan.pairs(v)))}
    missing = [variant for variant in trained if variant.name not in found]
    chosen = choose(list(plan.data_sets), plan.base.study.pairs) if missing else []
    for variant in missing:
        found[variant.name] = write_pairs(
            plan.data(variant),
            plan.pairs(variant),
            chosen,
            change=variant.change,
            tokenizer=load_tokenizer(Part.find(variant.train.model.backbone)),
            audio_root=variant.train.data.audio_root,
        )
    return found


def _likelihoods(plan: Plan, variant: Variant, costs: Costs) -> ScoresOfItems:
    """Return the nats a token of some of a variant's targets, by the ids of their pairs."""
    count = plan.base.study.likelihoods
    path = plan.pairs(variant) / f"nats-{count}.json"
    if not path.is_file():
        pairs = sorted(read_pairs(plan.pairs(variant)), key=lambda pair: draw_lot(pair.id))[:count]
        model, device = variant.train.model, choose_device(variant.train.device)
        backbone, tokenizer = load_backbone(Part.find(model.backbone), model, device)
        with costs.measure(f"read/{variant.name}") as note:
            nats = nats_per_token(backbone.to(device), tokenizer, pairs)
            note(len(pairs))
        write_json(path, dict(zip((pair.id for pair in pairs), nats, strict=True)))
    found: dict[str, float] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _write_questions(plan: Plan) -> None:
    if count := plan.base.study.instructions:
        items = find_benchmark("attributes").load(plan.base.attributes.data)
        write_questions(items, count, plan.questions)


def _train_and_ask(plan: Plan, variant: Variant, seed: int, costs: Costs) -> dict[str, Evaluation]:
    """Train the stages of a run and evaluate it; return its evaluations."""
    if variant.trains:
        first, config = plan.first(variant, seed), plan.first_config(variant, seed)
        if first is not None and config is not None:
            _train(config, first, f"first/{first.name}", costs)
        config, run = plan.train_config(variant, seed), plan.run(variant, seed)
        _train(config, run, f"train/{variant.name}/{seed}", costs)
    load, asked = _OneModel(), evaluations(plan, variant, seed)
    for name, evaluation in asked.items():
        if not evaluation.is_done:
            step = f"answer/{variant.name}/{seed}/{name}"
            with costs.measure(step) as count:
                count(_ask(evaluation, load))
    gc.collect()
    return asked


def _train(config: TrainConfig, run: Path, step: str, costs: Costs) -> None:
    if (run / SUMMARY).is_file():
        return
    with costs.measure(step) as count:
        count(train(config, run)["pairs_read"])
    gc.collect()


class _OneModel:
    """Loads a model once for all evaluations of its run."""

    def __init__(self) -> None:
        self._models: Models | None = None

    def __call__(self, recipe: EvalRecipe[Any]) -> Models:
        if self._models is None:
            self._models = load_models(recipe)
        return self._models


def _ask(evaluation: Evaluation, load: _OneModel) -> int:
    """Do an evaluation, or go on with it; return the number of its answers."""
    benchmark = find_benchmark(evaluation.benchmark)
    recipe = resolve_recipe(evaluation.recipe, benchmark)
    if benchmark.check is not None:
        return 2 * int(benchmark.check.run(recipe, evaluation.folder)["total"])
    scores = evaluate(
        benchmark,
        with_device(recipe, evaluation.folder),
        load,
        evaluation.folder,
        weights=model_fingerprint(recipe.model),
    )
    assert scores is not None, "no part of a run was asked for"
    return sum(row["num_items"] for row in scores["systems"])


def _pairs_read(plan: Plan) -> dict[str, list[int]]:
    """Return variant -> the pairs that each of its runs read, by seed."""
    return {
        variant.name: [
            json.loads((plan.run(variant, seed) / SUMMARY).read_text(encoding="utf-8"))[
                "pairs_read"
            ]
            for seed in plan.seeds
        ]
        for variant in plan.variants
        if variant.trains
    }
