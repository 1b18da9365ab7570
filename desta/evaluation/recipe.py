"""Recipe of `desta eval`: one type for all benchmarks, each with its own section `data`."""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

from desta.config import (
    COMMAND_LINE,
    apply_override,
    build_config,
    check_overrides,
    read_tree,
    suggest,
)
from desta.errors import ConfigError, DataError
from desta.evaluation.base import Benchmark, Item
from desta.evaluation.hub import fetch
from desta.evaluation.systems import check_names
from desta.generators.config import OpenAIEngine
from desta.model.config import AUTO
from desta.renamed import EVALUATION_DATA, system_id, with_data_section

log = logging.getLogger(__name__)

D = TypeVar("D")


@dataclass(frozen=True, kw_only=True)
class BenchmarkFiles:
    """Data section of published benchmarks; `data: PATH` is short for `data: {path: PATH}`."""

    path: str
    """Folder or file as the benchmark's authors publish it, or the id of a Hub data set."""
    revision: str | None = None
    """Commit of the Hub data set; null: the pinned one, where there is one."""
    audio: Path | None = None
    """Folder that the clips' paths are relative to; null: where the authors put them."""
    subsets: tuple[str, ...] = ()
    """Parts to evaluate, by the benchmark's own names; empty: all."""

    def place(self, patterns: Sequence[str] = ("*",), pinned: str | None = None) -> Path:
        """Return the path of the files, downloaded from the Hub if they are not on disk.

        Args:
            patterns: files to download, such as `bbh/*.parquet`.
            pinned: commit to download where the recipe names none.

        Raises:
            DataError: there is no such file or folder, and no commit to download.
        """
        path = Path(self.path)
        if path.exists():
            return path
        revision = self.revision or pinned
        if revision is None or self.path.count("/") != 1:
            raise DataError(
                f"{self.path} is not there",
                fix="give the folder of the published files, or the id of a Hub data set and the "
                "commit as `data.revision`",
            )
        return fetch(self.path, revision, patterns)

    def chosen(self, names: Sequence[str]) -> list[str]:
        """Return the parts of a benchmark to evaluate, in its order.

        Raises:
            ConfigError: the benchmark has no such part.
        """
        for name in self.subsets:
            if name not in names:
                raise ConfigError(f'unknown subset "{name}"', fix=suggest(name, list(names)))
        return [name for name in names if not self.subsets or name in self.subsets]


@dataclass(frozen=True, kw_only=True)
class EvalRecipe(Generic[D]):
    """Recipe of a benchmark run."""

    data: D
    """Clips and questions: `BenchmarkFiles`, or a section of the benchmark's own."""
    model: str | None = None
    """Directory or Hub id of a trained model; null for the one that comes with desta."""
    backbone: str | None = None
    """Directory, GGUF file or Hub id of a text model for the baselines and the cascade; null: the
    model's own backbone."""
    endpoints: Mapping[str, OpenAIEngine] = field(default_factory=dict)
    """Name of a system -> audio endpoint."""
    systems: tuple[str, ...] = ()
    """Systems that answer: names of `systems.BUILT_IN` and of endpoints; empty: those of the
    benchmark."""
    transcribe: bool | None = None
    """Give the model its own transcription of each clip, beside the clip; null: as the benchmark
    does."""
    limit: int | None = None
    """Items to draw by their ids, to try a run; null: all."""
    batch_size: int = 16
    """Items that are answered at once."""
    max_new_tokens: int | None = None
    """Longest answer, in tokens; null: as the benchmark says."""
    device: str = AUTO
    """Device of the models: auto (cuda, else mps, else cpu), cpu, cuda, cuda:1, ..."""
    max_skipped_share: float = 0.05
    """Share of items that may stay without an answer before the run fails, in [0, 1]."""

    def __post_init__(self) -> None:
        for name in ("batch_size", "max_new_tokens", "limit"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name} = {value} leaves nothing to do", fix="give 1 or more")
        systems = tuple(system_id(name, where="systems") for name in self.systems)
        object.__setattr__(self, "systems", systems)
        if self.systems:
            check_names(self.systems, list(self.endpoints))
        for name, endpoint in self.endpoints.items():
            if endpoint.model is None:
                raise ConfigError(
                    f'endpoint "{name}" does not say which model', fix=f"set endpoints.{name}.model"
                )

    def draw(self, items: Sequence[Item]) -> list[Item]:
        """Return at most `limit` items, drawn by their ids."""

        def lot(item: Item) -> str:
            return hashlib.sha256(item.id.encode()).hexdigest()

        return sorted(items, key=lot)[: self.limit] if self.limit else list(items)


def load_eval_recipe(
    path: Path | None, data: type[D], overrides: Sequence[str] = ()
) -> EvalRecipe[D]:
    """Read the recipe of a benchmark run.

    Args:
        path: YAML file; None: the overrides are all there is.
        data: dataclass of the section `data`.
        overrides: `key.path=value`, applied in order.

    Raises:
        ConfigError: the file is missing or is not YAML, or a key is unknown, missing or ill-typed.
    """
    where = COMMAND_LINE if path is None else str(path)
    tree = with_data_section({} if path is None else read_tree(path), where=where)
    for override in check_overrides(overrides):
        key = override.partition("=")[0].partition(".")[0]
        if key in EVALUATION_DATA:
            log.warning('%s: "%s" is now called "data.%s"', where, key, key)
            override = f"data.{override}"
        elif key == "baselines":
            tree.pop("systems", None)
        apply_override(tree, override)
        tree = with_data_section(tree, where=where)
    return build_eval_recipe(tree, data, where=where)


def build_eval_recipe(tree: Mapping[str, Any], data: type[D], *, where: str) -> EvalRecipe[D]:
    """Turn a tree of plain values into a recipe; `where` opens every error message.

    Raises:
        ConfigError: a key is unknown, missing or ill-typed.
    """
    section = build_config(data, tree["data"], where=where, path="data")
    return build_config(EvalRecipe, {**tree, "data": section}, where=where)


def resolve_recipe(recipe: EvalRecipe[D], benchmark: Benchmark) -> EvalRecipe[D]:
    """Return a recipe with the benchmark's own systems, transcribe and max_new_tokens filled in.

    Raises:
        ConfigError: it sets a key that the benchmark has no use for, or has the data of another.
    """
    if not isinstance(recipe.data, benchmark.data):
        raise ConfigError(
            f"data is a {type(recipe.data).__name__}, which is not what {benchmark.name} reads",
            fix=f"give a {benchmark.data.__name__}",
        )
    filled = _fill(recipe, benchmark)
    if benchmark.check is not None:
        usual = _fill(EvalRecipe(data=recipe.data), benchmark)
        keys = benchmark.check.keys
        for key in (f.name for f in fields(recipe) if f.name not in keys):
            if getattr(filled, key) != getattr(usual, key):
                raise ConfigError(
                    f"{key} cannot be used with the benchmark {benchmark.name}",
                    fix=f"leave it out; its recipe has {', '.join(sorted(keys))}",
                )
    return filled


def _fill(recipe: EvalRecipe[D], benchmark: Benchmark) -> EvalRecipe[D]:
    return replace(
        recipe,
        model=str(Path(recipe.model)) if recipe.model else None,  # `run/` is `run`
        systems=recipe.systems or benchmark.systems,
        transcribe=benchmark.transcribe if recipe.transcribe is None else recipe.transcribe,
        max_new_tokens=recipe.max_new_tokens or benchmark.max_new_tokens,
    )
