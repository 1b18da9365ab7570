"""Recipe of `desta eval` for published benchmarks."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from desta.config import suggest
from desta.errors import ConfigError, DataError
from desta.evaluation.base import MODEL, Item
from desta.evaluation.hub import fetch
from desta.evaluation.systems import check_names
from desta.generators.config import OpenAIEngine
from desta.model.config import AUTO


@dataclass(frozen=True, kw_only=True)
class SuiteRecipe:
    """What is asked of whom."""

    data: str
    """Folder or file as the benchmark's authors publish it, or the id of a Hub data set."""
    revision: str | None = None
    """Commit of the Hub data set; null: the one that is pinned here, where there is one."""
    audio: Path | None = None
    """Folder that the clips' paths are relative to; null: where the authors put them."""
    subsets: tuple[str, ...] = ()
    """Parts to be asked, by the benchmark's own names; empty: all."""
    limit: int | None = None
    """Items to draw by their ids, to try a run; null: all."""
    model: str | None = None
    """Directory or Hub id of a trained model; null where no system needs one."""
    backbone: str | None = None
    """Directory, GGUF file or Hub id of a backbone that reads in place of the model's own."""
    endpoints: Mapping[str, OpenAIEngine] = field(default_factory=dict)
    """Name of a system -> endpoint that hears."""
    systems: tuple[str, ...] = (MODEL,)
    """Who answers: names of `systems.BUILT_IN` and of endpoints."""
    transcribe: bool = True
    """Tell the model what it recognises in a clip, beside hearing it, as published."""
    batch_size: int = 16
    max_new_tokens: int | None = None
    """Longest answer; null: as published."""
    device: str = AUTO
    """Where models compute: auto (cuda, else mps, else cpu), cpu, cuda, cuda:1, ..."""
    max_skipped_share: float = 0.05
    """Share of items that may stay without an answer before the run fails, in [0, 1]."""

    def __post_init__(self) -> None:
        for name in ("batch_size", "max_new_tokens", "limit"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name} = {value} leaves nothing to do", fix="give 1 or more")
        check_names(self.systems, list(self.endpoints))
        for name, endpoint in self.endpoints.items():
            if endpoint.model is None:
                raise ConfigError(
                    f'endpoint "{name}" does not say which model', fix=f"set endpoints.{name}.model"
                )

    def place(self, patterns: Sequence[str] = ("*",), pinned: str | None = None) -> Path:
        """Return where the files lie, fetched from the Hub if they are not on disk.

        Raises:
            DataError: there is no such file or folder, and no commit to fetch.
        """
        path = Path(self.data)
        if path.exists():
            return path
        revision = self.revision or pinned
        if revision is None or self.data.count("/") != 1:
            raise DataError(
                f"{self.data} is not there",
                fix="give the folder of the published files, or the id of a Hub data set and the "
                "commit as `revision`",
            )
        return fetch(self.data, revision, patterns)

    def chosen(self, names: Sequence[str]) -> list[str]:
        """Return which of a benchmark's parts are wanted.

        Raises:
            ConfigError: it has no such part.
        """
        for name in self.subsets:
            if name not in names:
                raise ConfigError(f'unknown subset "{name}"', fix=suggest(name, list(names)))
        return [name for name in names if not self.subsets or name in self.subsets]

    def drawn(self, items: Sequence[Item]) -> list[Item]:
        """Return as many items as there may be, drawn by their ids."""

        def lot(item: Item) -> str:
            return hashlib.sha256(item.id.encode()).hexdigest()

        return sorted(items, key=lot)[: self.limit] if self.limit else list(items)
