"""The probe: every backbone is asked, responds, is timed; then all are ranked.

An output folder holds `probe.json`, `clips.jsonl` (the clips that are described) and a folder for
each backbone: an evaluation on the benchmark `probe` (`desta.evaluation.runner`) and its responses
(`responses.py`).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from desta.environment import environment
from desta.evaluation.base import Result
from desta.evaluation.benchmarks.probe import BENCHMARK, ProbeData
from desta.evaluation.benchmarks.probe.clips import draw_clips
from desta.evaluation.benchmarks.probe.score import ACCURACY
from desta.evaluation.compare import compare
from desta.evaluation.journal import RESULTS
from desta.evaluation.metrics import TOTAL, figure, find, mean
from desta.evaluation.models import TextModel
from desta.evaluation.pairing import Contender
from desta.evaluation.probing.recipe import Backbone, ProbeRecipe
from desta.evaluation.probing.responses import read_speed, write_responses
from desta.evaluation.recipe import EvalRecipe
from desta.evaluation.runner import evaluate
from desta.evaluation.scores import read_results
from desta.evaluation.systems import Models
from desta.files import write_atomic, write_json
from desta.generators.base import TextGenerator
from desta.generators.config import LocalEngine, VllmEngine
from desta.generators.lazy import LazyGenerator
from desta.generators.load import load_generator
from desta.model.backbone.load import load_tokenizer
from desta.model.hub.load import Part
from desta.paths import check_folder
from desta.reasons import Reasons

PROBE = "probe.json"
CLIPS = "clips.jsonl"


def probe(recipe: ProbeRecipe, out: Path, *, retry: bool = False) -> dict[str, Any]:
    """Probe backbones and write `probe.json`.

    The same call continues after an interruption. A backbone of this process that is done already
    is not loaded again.

    Args:
        recipe: which backbones, and how much is asked.
        out: output folder; made if missing.
        retry: ask again where an earlier call got no answer.

    Returns:
        The content of `probe.json`: backbones in the order of their accuracy, and the differences
        that their ranks rest on.

    Raises:
        ConfigError: the folder of a backbone holds another evaluation.
        CheckpointError: a backbone does not exist, or has no chat template.
        DataError: the questions cannot be read.
    """
    check_folder(out)
    _check(recipe)
    out.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps(clip.to_json()) for clip in draw_clips(recipe.descriptions))
    write_atomic(out / CLIPS, "".join(f"{line}\n" for line in lines).encode())
    probed = [_probe(backbone, recipe, out, retry=retry) for backbone in recipe.backbones]
    probed.sort(key=lambda pair: -pair[0]["accuracy"]["value"])
    rows, contenders = zip(*probed, strict=True)
    content = {
        "questions": contenders[0].version,
        "chance": _chance(contenders[0].results),
        "models": [{"rank": rank, **row} for rank, row in enumerate(rows, start=1)],
        "steps": [
            _step(above, below) for above, below in zip(contenders, contenders[1:], strict=False)
        ],
        "environment": environment(),
    }
    write_json(out / PROBE, content)
    return content


def _check(recipe: ProbeRecipe) -> None:
    """Find what is wrong with questions and backbones before hours are spent on the first."""
    BENCHMARK.load(ProbeData(path=recipe.questions))
    if isinstance(recipe.engine, LocalEngine | VllmEngine):
        for backbone in recipe.backbones:
            load_tokenizer(Part.find(backbone.model))


def _generator(backbone: Backbone, recipe: ProbeRecipe) -> TextGenerator:
    config = recipe.generator(backbone)
    if isinstance(recipe.engine, LocalEngine):
        return LazyGenerator(config, recipe.engine)
    return load_generator(config)


def _probe(
    backbone: Backbone, recipe: ProbeRecipe, out: Path, *, retry: bool
) -> tuple[dict[str, Any], Contender]:
    """Return the row of a backbone, and its answers."""
    generator = _generator(backbone, recipe)
    folder = out / backbone.folder
    asked = EvalRecipe(
        data=ProbeData(path=recipe.questions),
        backbone=backbone.name,
        limit=recipe.limit,
        batch_size=recipe.batch_size,
    )
    scores = evaluate(
        BENCHMARK,
        asked,
        lambda _: Models(backbone=TextModel(generator)),
        folder,
        weights=generator.revision,
        allow_missing=True,
        retry=retry,
    )
    assert scores is not None  # it is not shared by several processes
    answers = [_settled(result) for result in read_results(folder / RESULTS, BENCHMARK)]
    responses = write_responses(
        out / CLIPS, generator, folder, batch_size=recipe.batch_size, retry=retry
    )
    report = BENCHMARK.aggregate(answers)
    total = find(report.cells, ACCURACY)
    assert total.estimate is not None
    row = {
        "model": backbone.name,
        "revision": generator.revision,
        "folder": backbone.folder,
        "accuracy": figure(total.estimate, [total]).to_json(),
        "cells": [cell.to_json() for cell in report.cells],
        "unanswered": _unanswered(answers),
        "responses": responses.to_json(),
        "speed": read_speed(folder),
    }
    return row, Contender(
        name=backbone.name, benchmark=BENCHMARK.name, version=scores["version"], results=answers
    )


def _settled(result: Result) -> Result:
    """Return a result in which no answer counts as a wrong one; its reason stays in the note."""
    if result.skipped is None:
        return result
    score = replace(BENCHMARK.score(result.item, "", ()), note=result.skipped)
    return replace(result, output="", skipped=None, score=score)


def _unanswered(answers: Sequence[Result]) -> list[dict[str, Any]]:
    noted = ((r.score.note, r.id) for r in answers if r.score.note is not None)
    return Reasons.of(noted).table()


def _chance(answers: Sequence[Result]) -> dict[str, Any] | None:
    """Return what guessing reaches where there are options; None where there are none."""
    shares = [1 / len(r.item.choices) for r in answers if r.item.choices]
    return {"value": round(mean(shares).value, 6), "num_items": len(shares)} if shares else None


def _step(above: Contender, below: Contender) -> Mapping[str, Any]:
    """Return how far a backbone is ahead of the next one, on the same questions."""
    found = compare(below, above)
    [row] = (d for d in found.differences if (d.metric, d.dimension) == (ACCURACY, TOTAL))
    return {
        "above": above.name,
        "below": below.name,
        "num_items": row.num_pairs,
        "difference": row.difference.to_json(),
        "p_value": float(f"{row.p_value:.6g}"),
    }
