"""Plan of a study: which data, runs and evaluations there are, where they lie, what they cost.

    recipes/NAME.yaml           recipes of all steps, to be run by hand
    data/NAME-KEY/              responses of a writer; shared by variants with the same recipe
    pairs/NAME-KEY/             the pairs that all variants have, as one is trained on them
    first/seed-S-KEY/           first stages; shared by variants with the same model
    questions/KEY/              questions with instructions about the form of the answer
    runs/NAME/seed-S-KEY/       runs, each with its evaluations in eval/NAME-KEY/
    costs.json                  seconds, memory and energy of each step

A key is a hash of all that a folder depends on, so a changed recipe never meets old files. Values
that are the default are left out of it: a field that recipes get later changes no key.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from desta.config import to_plain
from desta.construction.config import ConstructConfig
from desta.errors import ConfigError, need
from desta.files import sha256
from desta.model.config import AUTO
from desta.studies.recipe import Base, check_batches
from desta.studies.table import find_family
from desta.studies.variant import Family, Variant
from desta.training.config import TrainConfig

COSTS = "costs.json"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All that a study is going to do; nothing is read or written yet."""

    family: Family
    base: Base
    variants: tuple[Variant, ...]
    num_seeds: int
    out: Path

    @classmethod
    def make(cls, name: str, base: Base, *, num_seeds: int, out: Path) -> Self:
        """Plan a study.

        Raises:
            ConfigError: there is no such study, no seed, or a variant cannot be.
        """
        family = find_family(name)
        if num_seeds < 1:
            raise ConfigError(f"{num_seeds} seeds leave nothing to run", fix="give 1 or more")
        variants = tuple(family.variants(base))
        for variant in variants:
            check_batches(base.study.train, variant.train)
        return cls(family=family, base=base, variants=variants, num_seeds=num_seeds, out=out)

    def check_packages(self) -> None:
        """Raise MissingExtraError, before hours of work, if a package is not installed."""
        packages = {"accelerate": "train", "datasets": "train", "tensorboard": "train"}
        if any(variant.train.model.lora for variant in self.variants):
            packages["peft"] = "train"
        for package, extra in {**packages, "matplotlib": "eval"}.items():
            need(package, extra=extra, to="run a study")

    def check_files(self) -> None:
        """Raise ConfigError if clips are not there that recipes name."""
        made = [clips.path for variant in self.variants for clips in variant.construct.clips]
        asked = [clips.path for clips in self.base.attributes.data.clips]
        if missing := [path for path in dict.fromkeys([*made, *asked]) if not path.is_file()]:
            raise ConfigError(
                f"{missing[0]} is missing, one of {len(missing)} files of clips",
                fix="make them with desta describe NAME ROOT --out FOLDER, or name others in the "
                "recipe",
            )

    @property
    def seeds(self) -> range:
        """Seeds of the runs: of the connector's weights, the order of the pairs and the dropout."""
        return range(self.num_seeds)

    def construct_config(self, variant: Variant) -> ConstructConfig:
        """Return the recipe of the data that a variant's pairs are chosen from."""
        config = variant.construct
        folder = self.prompts(variant)
        return config if folder is None else replace(config, prompts=folder)

    def prompts(self, variant: Variant) -> Path | None:
        """Return the folder of the few prompts that a variant draws from; None for a whole pool."""
        if variant.num_prompts is None:
            return None
        return self.out / "prompts" / f"{variant.num_prompts}-{self._data_keys[variant.name]}"

    def data(self, variant: Variant) -> Path:
        """Return the folder of that data set, which variants with the same recipe share."""
        key = self._data_keys[variant.name]
        name = next(name for name, other in self._data_keys.items() if other == key)
        return self.out / "data" / f"{name}-{key}"

    @cached_property
    def _data_keys(self) -> dict[str, str]:
        return {variant.name: _data_key(variant) for variant in self.variants}

    @cached_property
    def data_sets(self) -> dict[Path, Variant]:
        """Every data set, with the first variant that it is of."""
        found: dict[Path, Variant] = {}
        for variant in self.variants:
            found.setdefault(self.data(variant), variant)
        return found

    def pairs(self, variant: Variant) -> Path:
        """Return the folder of the pairs that a variant is trained on."""
        key = key_of(
            [folder.name for folder in self.data_sets],
            self.data(variant).name,
            self.base.study.pairs,
            repr(variant.change),
            variant.train.model.backbone,
        )
        return self.out / "pairs" / f"{variant.name}-{key}"

    def first_config(self, variant: Variant, seed: int) -> TrainConfig | None:
        """Return the recipe of a variant's first stage; None where the study has none.

        It learns the words of descriptions, which all variants have: those of the first variant.
        """
        first = self.base.first
        if first is None:
            return None
        return replace(
            first,
            model=replace(variant.train.model, lora=None),
            data=replace(first.data, train=(self.pairs(self.variants[0]),)),
            seed=seed,
        )

    def first(self, variant: Variant, seed: int) -> Path | None:
        """Return the run directory of a variant's first stage, which others may share."""
        config = self.first_config(variant, seed)
        return None if config is None else self.out / "first" / f"seed-{seed}-{_run_key(config)}"

    def train_config(self, variant: Variant, seed: int) -> TrainConfig:
        """Return the training recipe of a variant."""
        config = variant.train
        return replace(
            config,
            data=replace(config.data, train=(self.pairs(variant),)),
            start=self.first(variant, seed) or config.start,
            seed=seed,
        )

    def run(self, variant: Variant, seed: int) -> Path:
        """Return the run directory of a variant; what does not train takes the first one's."""
        if not variant.trains:
            return self.run(self.variants[0], 0)
        key = _run_key(self.train_config(variant, seed))
        return self.out / "runs" / variant.name / f"seed-{seed}-{key}"

    @cached_property
    def questions(self) -> Path:
        """Folder of the questions with instructions."""
        key = key_of(self.base.attributes.data, self.held_out, self.base.study.instructions)
        return self.out / "questions" / key

    @cached_property
    def held_out(self) -> list[str | None]:
        """Hashes of the held-out clips, and of the questions of SAKURA."""
        files = [clips.path for clips in self.base.attributes.data.clips]
        if (sakura := self.base.study.sakura) is not None:
            files += sorted(sakura.rglob("metadata.json"))
        return hashes(files)

    def runs(self) -> Iterator[tuple[Variant, int]]:
        """Yield the variants with each seed; what does not train has one, whatever the seeds."""
        for seed in self.seeds:
            for variant in self.variants:
                if variant.trains or seed == 0:
                    yield variant, seed

    def recipes(self) -> dict[Path, tuple[str, Path, Any]]:
        """Return file -> verb, output folder and recipe of every step that is a command."""
        found: dict[Path, tuple[str, Path, Any]] = {}

        def add(verb: str, out: Path, config: Any) -> None:
            name = "-".join(out.relative_to(self.out).parts)
            found[self.out / "recipes" / f"{name}.yaml"] = verb, out, config

        for folder, variant in self.data_sets.items():
            add("construct", folder, self.construct_config(variant))
        for variant, seed in self.runs():
            first, config = self.first(variant, seed), self.first_config(variant, seed)
            if first is not None and config is not None:
                add("train", first, config)
            if variant.trains:
                add("train", self.run(variant, seed), self.train_config(variant, seed))
        return found

    def commands(self) -> list[str]:
        """Return the commands that do what the study does, but for the choice of the pairs."""
        return [
            f"desta {verb} {path} --out {out}" for path, (verb, out, _) in self.recipes().items()
        ]


def differences(variant: Variant, first: Variant) -> dict[str, str]:
    """Return key -> value of what a variant has otherwise than the first."""
    found: dict[str, str] = {}
    for section in ("construct", "train"):
        ours, theirs = (
            dict(_leaves(to_plain(getattr(each, section)), section)) for each in (variant, first)
        )
        found |= {
            key: str(ours.get(key))
            for key in dict.fromkeys([*ours, *theirs])
            if ours.get(key) != theirs.get(key)
        }
    for key in ("num_prompts", "change", "system"):
        if (value := getattr(variant, key)) != getattr(first, key):
            found[key] = str(value)
    return found


def _leaves(tree: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from _leaves(value, f"{path}.{key}")
    else:
        yield path, tree


def _data_key(variant: Variant) -> str:
    """Return the hash of all that responses depend on, but for the code."""
    config = variant.construct
    files = [corpus.path for corpus in config.clips]
    if config.prompts is not None:
        files += sorted(config.prompts.glob("*.txt"))
    return key_of(config, hashes(files), variant.num_prompts)


def _run_key(config: TrainConfig) -> str:
    return key_of(replace(config, device=AUTO))


def hashes(files: Iterable[Path]) -> list[str | None]:
    """Return the hash of what each file holds; None where there is none."""
    return [sha256(path) if path.is_file() else None for path in files]


def key_of(*parts: Any) -> str:
    """Return a short hash of recipes and plain values."""
    told = to_plain(parts, defaults=False)
    return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()[:8]
