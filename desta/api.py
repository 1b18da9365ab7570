"""The steps of a project as functions: describe, construct, train, evaluate.

The commands of the same names call them. A recipe is the path of a YAML file or the dataclass that
such a file becomes; `overrides` change single values of a file, as `--set` does.

What needs torch is imported inside the functions: a recipe can be checked without it.
"""

import logging
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Literal, TypedDict, TypeVar, cast, overload

from desta.config import load_recipe
from desta.construction.config import ConstructConfig
from desta.errors import ConfigError, need
from desta.evaluation.journal import Shard
from desta.evaluation.recipe import EvalRecipe, load_eval_recipe, resolve_recipe
from desta.generators.base import TextGenerator
from desta.model.config import SHIPPED
from desta.progress import counter
from desta.records import Split
from desta.shards import Manifest
from desta.sources import describe as describing
from desta.sources import find_source
from desta.sources.custom import CustomRecipe, custom_source
from desta.sources.describe import Description
from desta.sources.lhotse import LhotseRecipe, lhotse_source
from desta.training.config import TrainConfig

R = TypeVar("R")
D = TypeVar("D")

log = logging.getLogger(__name__)


class Left(TypedDict):
    """Items left out for one reason."""

    count: int
    example: str
    """Id of the first of them."""


class TrainSummary(TypedDict):
    """Outcome of a training run, as `summary.json` in its directory holds it."""

    steps: int
    loss: float
    """Of the last step: mean cross-entropy of a labelled token, in nats."""
    pairs_read: int
    seconds: float
    skipped: dict[str, Left]
    """Reason -> training pairs that were not used."""
    skipped_in_validation: dict[str, Left]
    cut: dict[str, Left]
    """Reason -> pairs of which a part was cut off, or that are unusual."""


class FigureRow(TypedDict):
    """A figure of a system on a benchmark."""

    value: float
    standard_error: float
    num_scored: int
    """Items that it rests on."""
    num_items: int


class SystemScores(TypedDict):
    """Figures of one system."""

    system: str
    num_items: int
    num_skipped: int
    """Items without an answer."""
    withheld: str | None
    """Sentence that says why there are no figures; None where there are."""
    headline: dict[str, FigureRow]
    """Name -> figure."""


class Scores(TypedDict):
    """Scores of an evaluation: the part of its `scores.json` that every benchmark has."""

    benchmark: str
    version: str
    """Of the questions."""
    shares: bool
    """Whether figures are shares, in [0, 1]; else they are in units of their own."""
    systems: list[SystemScores]


class TextRow(TypedDict):
    """Answers to a prompt without a clip."""

    prompt: str
    model: str
    backbone: str
    """Of the bare backbone."""
    equal: bool
    """Token for token."""


class TextScores(TypedDict):
    """Scores of the benchmark `text`, as its `scores.json` holds them."""

    equal: int
    """Prompts that both answer alike."""
    total: int
    rows: list[TextRow]


def describe(
    source: str,
    root: str | Path,
    out: str | Path,
    *,
    recipe: str | Path | CustomRecipe | LhotseRecipe | None = None,
    overrides: Sequence[str] = (),
    max_broken_share: float = 0.05,
    seed: int = 0,
    held_out: Split | None = None,
) -> Description:
    """Write what a corpus knows of its recordings to `clips.jsonl` and `describe.json`.

    Args:
        source: name of a corpus (`desta sources` lists them), `custom` or `lhotse`.
        root: folder of the corpus; paths in the clips are relative to it.
        out: folder for the two files; made if missing.
        recipe: for `custom` and `lhotse`: how the columns are mapped.
        overrides: changes to the file of a recipe, such as `columns.text=transcript`.
        max_broken_share: share of recordings that may be missing or unreadable, in [0, 1].
        seed: of the splits.
        held_out: the split of every clip, to keep a whole corpus apart; None splits it.

    Returns:
        The clips, and what was left out and why.

    Raises:
        ConfigError: the recipe is wrong, or missing.
        DataError: the corpus is not there, holds no clip, or too much of it is broken.
    """
    if (source in ("custom", "lhotse")) != (recipe is not None):
        raise ConfigError(
            "a recipe belongs to the sources `custom` and `lhotse`, and only to them",
            fix="desta describe custom ROOT --recipe corpus.yaml --out DIR",
        )
    if recipe is None:
        if overrides:
            raise ConfigError("there is no recipe that --set could change", fix="leave it out")
        found = find_source(source)
    elif source == "custom":
        found = custom_source(_recipe(recipe, CustomRecipe, overrides))
    else:
        found = lhotse_source(_recipe(recipe, LhotseRecipe, overrides))
    with counter(f"describing {found.name}") as show:
        description = describing.describe(
            found,
            Path(root),
            max_broken_share=max_broken_share,
            seed=seed,
            held_out=held_out,
            on_progress=show,
        )
    describing.write_description(description, Path(out))
    return description


def construct(
    recipe: str | Path | ConstructConfig,
    out: str | Path,
    *,
    overrides: Sequence[str] = (),
    cluster: str | None = None,
    workers: int = 2,
    retry: bool = False,
) -> Manifest:
    """Generate responses to prompts about clips, and write audio-text pairs.

    The same call goes on where it stopped, and gives the same bytes as without an interruption.

    Args:
        recipe: of the data set.
        out: directory of the data set.
        overrides: changes to the file of a recipe, such as `engine.kind=vllm`.
        cluster: address of a Ray cluster, or `local`; None: this process writes the responses.
        workers: engines on the cluster.
        retry: ask again what the engine refused to answer.

    Returns:
        What the directory holds: shards, counts, and what was dropped and why.

    Raises:
        ConfigError: the recipe is wrong, or `out` holds something else.
        DataError: clips cannot be read, or too large a share of responses is dropped.
    """
    config = _recipe(recipe, ConstructConfig, overrides)
    if cluster is not None:
        return _construct_on_cluster(config, Path(out), cluster, workers, retry=retry)
    from desta.construction.pipeline import construct as run
    from desta.generators.openai.client import OpenAIGenerator

    generator = _load_generator(config)
    try:
        return run(config, Path(out), generator, retry=retry)
    finally:  # what an interrupted run has cost is worth knowing as well
        if isinstance(generator, OpenAIGenerator):
            used = asdict(generator.usage)
            log.info(", ".join(f"{name} {count}" for name, count in used.items()))


def train(
    recipe: str | Path | TrainConfig, out: str | Path, *, overrides: Sequence[str] = ()
) -> TrainSummary:
    """Train a connector, or go on with a run that was interrupted; `load(out)` then loads it.

    Args:
        recipe: of the run.
        out: run directory.
        overrides: changes to the file of a recipe, such as `steps=500`.

    Raises:
        ConfigError: the recipe is wrong, or the directory holds a run of another one.
        DataError: there are no data, too large a share of them is unusable, or a process died.
        MissingExtraError: the packages of `desta[train]` are not installed.
    """
    config = _recipe(recipe, TrainConfig, overrides)
    packages = ["accelerate", "datasets", "tensorboard"]
    for package in packages + (["peft"] if config.model.lora else []):
        need(package, extra="train", to="train a connector")
    from desta.training.loop import train as run

    return cast(TrainSummary, run(config, Path(out)))


@overload
def evaluate(  # type: ignore[overload-overlap]
    benchmark: Literal["text"],
    recipe: str | Path | EvalRecipe[D],
    out: str | Path,
    *,
    overrides: Sequence[str] = (),
) -> TextScores: ...


@overload
def evaluate(
    benchmark: str,
    recipe: str | Path | EvalRecipe[D],
    out: str | Path,
    *,
    overrides: Sequence[str] = (),
    shard: Shard | None = None,
    allow_missing: bool = False,
    retry: bool = False,
) -> Scores | None: ...


def evaluate(
    benchmark: str,
    recipe: str | Path | EvalRecipe[D],
    out: str | Path,
    *,
    overrides: Sequence[str] = (),
    shard: Shard | None = None,
    allow_missing: bool = False,
    retry: bool = False,
) -> Scores | TextScores | None:
    """Evaluate a model and its baselines on a benchmark.

    The same call goes on where it stopped, and gives the same bytes as without an interruption.

    Args:
        benchmark: its name (`desta benchmarks` lists them).
        recipe: which data, which model, which systems.
        out: folder for plan, results and scores.
        overrides: changes to the file of a recipe, such as `limit=40`.
        shard: the part to answer, if several processes share the work; None: all.
        allow_missing: score systems that did not answer everything, by what they answered.
        retry: ask again where an earlier call got no answer.

    Returns:
        What `scores.json` holds; None for a part of a run.

    Raises:
        ConfigError: the recipe is wrong, or `out` holds another evaluation.
        UnavailableError: an endpoint does not answer; the same call goes on later.
        DataError: the questions cannot be read, or too many items have no answer.
    """
    from desta.evaluation.benchmarks.table import find_benchmark
    from desta.evaluation.models import load_models, model_fingerprint, with_device
    from desta.evaluation.runner import evaluate as run
    from desta.evaluation.systems import needs_audio_model

    found = find_benchmark(benchmark)
    if found.check is not None:
        _refuse(benchmark, shard=shard, allow_missing=allow_missing, retry=retry)
    config = resolve_recipe(
        load_eval_recipe(Path(recipe), found.data, overrides)
        if isinstance(recipe, str | Path)
        else _recipe(recipe, EvalRecipe, overrides),
        found,
    )
    if config.model is None and needs_audio_model(config.systems):
        config = replace(config, model=SHIPPED)
    if found.check is not None:
        return cast(TextScores, found.check.run(config, Path(out)))
    scores = run(
        found,
        with_device(config, Path(out)),
        load_models,
        Path(out),
        weights=model_fingerprint(config.model),
        shard=shard,
        allow_missing=allow_missing,
        retry=retry,
    )
    return cast(Scores | None, scores)


def _construct_on_cluster(
    config: ConstructConfig, out: Path, address: str, workers: int, *, retry: bool
) -> Manifest:
    from desta.construction.cluster import construct_on_cluster
    from desta.construction.cluster_config import LOCAL, per_worker
    from desta.generators.config import LocalEngine
    from desta.model.config import AUTO

    if isinstance(config.engine, LocalEngine) and config.engine.device == AUTO:
        from desta.model.precision import choose_device

        # which devices other machines have, nobody knows here
        device = str(choose_device(AUTO if address == LOCAL else "cpu"))
        config = replace(config, engine=replace(config.engine, device=device))
    recipe, cluster = per_worker(config, address, workers)
    return construct_on_cluster(config, out, partial(_load_generator, recipe), cluster, retry=retry)


def _load_generator(config: ConstructConfig) -> TextGenerator:
    from desta.generators.load import load_generator  # torch: here, or in a worker

    return load_generator(config)


def _refuse(benchmark: str, **options: object) -> None:
    """Refuse options that are given to a benchmark that has no use for them."""
    for name, value in options.items():
        if value:
            raise ConfigError(
                f"--{name.replace('_', '-')} cannot be used with the benchmark {benchmark}",
                fix="leave it out",
            )


def _recipe(recipe: object, kind: type[R], overrides: Sequence[str]) -> R:
    """Return a recipe, read from its file if it is a path."""
    if isinstance(recipe, str | Path):
        return load_recipe(Path(recipe), kind, overrides)
    if not isinstance(recipe, kind):
        raise ConfigError(
            f"the recipe is a {type(recipe).__name__}", fix=f"give a {kind.__name__} or a file"
        )
    if overrides:
        raise ConfigError("overrides change a recipe in a file", fix="use dataclasses.replace")
    return recipe
