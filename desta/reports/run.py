"""Report of a training run: one self-contained HTML file.

It is made from files only, so it can be written during and after the run; missing parts are named:

    recipe.yaml, environment.json, metrics.jsonl, model.safetensors   of the run
    manifest.json                                                     of each of its data sets
    eval/attributes/scores.json, results.jsonl                        of its evaluation
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import yaml
from safetensors import SafetensorError
from safetensors.numpy import load_file

from desta.errors import DataError
from desta.files import UNWRITABLE, sha256, write_atomic
from desta.records import numbered_jsonl
from desta.renamed import current_scores
from desta.reports.attributes import describe_clips, describe_scores, headline
from desta.reports.figures import draw_layer_weights, draw_loss
from desta.reports.html import flatten, page, paragraph, percent, section, svg_figure, table, tiles
from desta.reports.schemas import (
    AnswerLine,
    AttributeScores,
    LayerNames,
    RunRecipe,
    StepLine,
    ValidationLine,
)
from desta.schema import Json, check_json, read_json
from desta.shards import Manifest

REPORT = "report.html"
_EVALUATION = Path("eval", "attributes")
_AGAIN = "delete it and make it again"
_LAYER_WEIGHTS = "perception.connector.layer_weights"


Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class RunFiles:
    """Contents of the files of a run; empty if a file is missing."""

    directory: Path
    recipe: Row
    environments: Mapping[str, Json]
    """Of training and evaluation, if known: command, commit, versions, machine."""
    steps: Sequence[Row]
    validations: Sequence[Row]
    manifests: Mapping[str, Manifest | None]
    """By data directory; None if it has no manifest."""
    scores: Row
    results: Sequence[Row]


def write_run_report(run: Path, out: Path | None = None) -> Path:
    """Write the report of a training run.

    Args:
        run: directory of a training run.
        out: file to write; `report.html` in the run directory if None.

    Returns:
        The file written.

    Raises:
        DataError: `run` is not the directory of a run, or a file in it is broken.
        MissingExtraError: matplotlib is not installed.
    """
    facts = read_run(run)
    model = facts.recipe.get("model", {})
    body = [
        f"<header><h1>{escape(run.resolve().name)}</h1>",
        paragraph(
            f"A connector between {model.get('encoder', '?')} and {model.get('backbone', '?')}, "
            "both frozen, trained on responses that the backbone wrote itself.",
            "soft",
        ),
        tiles(_headline(facts)),
        "</header>",
        section("Scores of attributes", *_stale(facts), *describe_scores(facts.scores)),
        section("Held-out clips", *describe_clips(facts.scores, facts.results)),
        section("Training", *_training(facts)),
        section("Layers", *_layers(facts)),
        section("Data", *_data(facts)),
        section("How these figures were made", *_provenance(facts)),
    ]
    target = out or run / REPORT
    target.parent.mkdir(parents=True, exist_ok=True)
    html = page(f"Report of {run.resolve().name}", body)
    write_atomic(target, html.encode(errors=UNWRITABLE))
    return target


def read_run(run: Path) -> RunFiles:
    """Read a run from its directory.

    Raises:
        DataError: it holds no recipe, or a file in it is broken.
    """
    recipe_path = run / "recipe.yaml"
    if not recipe_path.is_file():
        raise DataError(
            f"{run} is not the directory of a run: it holds no recipe.yaml",
            fix="give the directory that `desta train` wrote, or the folder of `desta eval`",
        )
    recipe = _read_recipe(recipe_path)
    data = recipe["data"]
    directories = [Path(path) for path in [*data["train"], *(data.get("validation") or ())]]
    metrics = _read_lines(run / "metrics.jsonl", _kind_of_metric)
    return RunFiles(
        directory=run,
        recipe=recipe,
        environments={
            "Training": _read_json(run / "environment.json", dict[str, Json]),
            "Evaluation": _read_json(run / _EVALUATION / "environment.json", dict[str, Json]),
        },
        steps=[line for line in metrics if "loss" in line],
        validations=[line for line in metrics if "validation_loss" in line],
        manifests={str(directory): Manifest.read(directory) for directory in directories},
        scores=_read_scores(run / _EVALUATION / "scores.json"),
        results=_read_lines(run / _EVALUATION / "results.jsonl", lambda line: AnswerLine),
    )


def _headline(run: RunFiles) -> list[tuple[str, str, str, str]]:
    """Return (title, value, uncertainty, comparison) of the most important figures."""
    figures = list(headline(run.scores))
    if run.validations:
        first, last = (run.validations[i]["validation_loss"] for i in (0, -1))
        figures.append(("Validation loss", f"{last:.3f}", "nats", f"{first:.3f} at first"))
    if run.steps:
        minutes = run.steps[-1]["seconds"] / 60
        figures.append(("Training", f"{minutes:.1f}", "min", f"{run.steps[-1]['step']:,} steps"))
    return figures


def _stale(run: RunFiles) -> Iterator[str]:
    """Warn if the weights are not those that were evaluated."""
    path = run.directory / "model.safetensors"
    if run.scores and path.is_file() and sha256(path) != run.scores["weights"]:
        yield paragraph("These scores are of other weights: evaluate again.", "missing")


def _training(run: RunFiles) -> Iterator[str]:
    if not run.steps:
        yield paragraph("Not trained yet: metrics.jsonl holds no step.", "missing")
        return
    validation = [(line["step"], line["validation_loss"]) for line in run.validations]
    yield svg_figure(
        draw_loss([(line["step"], line["loss"]) for line in run.steps], validation),
        "Cross-entropy of the response and its end token.",
    )
    if not validation:
        yield paragraph("No validation loss: the recipe names no validation data.", "missing")
    last = run.steps[-1]
    speeds = [
        [f"{name}, median of steps", f"{median(known):,.1f}"]
        for name, key in (
            ("audio-text pairs per second", "samples_per_second"),
            ("tokens per second, padding included", "tokens_per_second"),
        )
        if (known := [line[key] for line in run.steps if key in line])
    ]
    yield table(
        ["speed", ""],
        [
            ["steps", f"{last['step']:,}"],
            ["minutes in steps", f"{last['seconds'] / 60:.1f}"],
            *speeds,
        ],
    )
    samples = run.validations[-1].get("samples", ()) if run.validations else ()
    if samples:
        yield table(
            ["prompt", "response of the data set", "response of the model"],
            [[s["prompt"], s["target"], s["generated"]] for s in samples],
            f"Validation pairs after step {run.validations[-1]['step']}.",
        )


def _layers(run: RunFiles) -> Iterator[str]:
    path = run.directory / "model.safetensors"
    if not path.is_file():
        yield paragraph("No weights yet: the run is not finished.", "missing")
        return
    try:
        weights_QL = load_file(path)[_LAYER_WEIGHTS]
    except (SafetensorError, KeyError) as error:
        raise DataError(f"{path} holds no {_LAYER_WEIGHTS}", fix="train again") from error
    if weights_QL.ndim != 2 or not weights_QL.size or not np.isfinite(weights_QL).all():
        raise DataError(
            f"{path}: {_LAYER_WEIGHTS} is no table of finite numbers", fix="train again"
        )
    exponents_QL = np.exp(weights_QL - weights_QL.max(axis=-1, keepdims=True))
    names = _layer_names(run.directory / "config.json", weights_QL.shape[1])
    yield svg_figure(
        draw_layer_weights(exponents_QL / exponents_QL.sum(axis=-1, keepdims=True), names),
        f"Share of each encoder layer in each query token; even shares are {1 / len(names):.2f}.",
    )


def _layer_names(config: Path, count: int) -> list[str]:
    """Return names of the target layers: their numbers in the encoder, if known."""
    layers = _read_json(config, LayerNames).get("target_layer_ids") or []
    return (
        [str(layer) for layer in layers] if len(layers) == count else [str(i) for i in range(count)]
    )


def _data(run: RunFiles) -> Iterator[str]:
    for directory, manifest in run.manifests.items():
        if manifest is None:
            yield paragraph(f"{directory} has no manifest: its counts are not known.", "missing")
            continue
        total = manifest.num_kept + manifest.num_dropped
        yield f"<h3><code>{escape(directory)}</code></h3>"
        yield paragraph(
            f"{manifest.num_kept:,} audio-text pairs, "
            f"{percent(manifest.num_kept / max(total, 1))} of {total:,} items; "
            f"responses by {manifest.backbone}."
        )
        if by_count := manifest.dropped.most_common():
            yield table(
                ["dropped because", "count", "example"],
                [[reason, dropped.count, dropped.example] for reason, dropped in by_count],
            )


def _provenance(run: RunFiles) -> Iterator[str]:
    for name, facts in run.environments.items():
        yield f"<h3>{name}</h3>"
        if not facts:
            yield paragraph("No environment.json: command and versions are not known.", "missing")
            continue
        yield f"<pre>{escape(str(facts.get('command', '')))}</pre>"
        yield table(["environment", ""], [r for r in flatten(facts) if r[0] != "command"])
    recipe = yaml.safe_dump(dict(run.recipe), sort_keys=False, allow_unicode=True, width=100)
    yield f"<h3>recipe.yaml</h3><pre>{escape(recipe)}</pre>"


def _read_recipe(path: Path) -> Any:
    try:
        recipe = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        detail = " ".join(str(error).split())
        raise DataError(f"{path} is not a training recipe: {detail}", fix="train again") from error
    where = f"{path} is not a training recipe"
    check_json(recipe, RunRecipe, where=where, fix="correct that key, or train again")
    check_json(recipe, Json, where=where, fix="correct that key, or train again")
    return recipe


def _read_json(path: Path, hint: Any) -> Row:
    found: Row = read_json(path, hint, fix=_AGAIN) if path.is_file() else {}
    return found


def _read_scores(path: Path) -> Row:
    scores = current_scores(_read_json(path, AttributeScores))
    for number, row in enumerate(scores.get("scores", ())):
        counts, classes = row.get("confusion", []), row.get("classes", [])
        if len(counts) != len(classes) or any(len(c) != len(classes) + 1 for c in counts):
            raise DataError(
                f"{path}: scores[{number}].confusion is no table of its {len(classes)} classes",
                fix=_AGAIN,
            )
    return scores


def _kind_of_metric(line: Row) -> Any:
    return StepLine if "loss" in line else ValidationLine if "validation_loss" in line else Json


def _read_lines(path: Path, kind_of: Callable[[Row], Any]) -> list[Row]:
    lines: list[Row] = []
    for number, line in numbered_jsonl(path) if path.is_file() else ():
        check_json(line, kind_of(line), where=f"{path}:{number}", fix="correct or delete that line")
        lines.append(line)
    return lines
