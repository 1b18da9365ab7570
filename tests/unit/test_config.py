"""Recipes: what is wrong in them is said by name, with the nearest right one."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from desta.config import dump_recipe, load_recipe
from desta.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Inner:
    rate: float = 0.1
    names: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Outer:
    steps: int
    inner: Inner = field(default_factory=Inner)
    parts: tuple[Inner, ...] = ()
    kind: Literal["a", "b"] = "a"
    note: str | None = None
    folder: Path = Path()


def load(tmp_path: Path, text: str, *overrides: str) -> Outer:
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    return load_recipe(path, Outer, overrides)


def test_values_are_read_into_the_tree(tmp_path: Path) -> None:
    config = load(tmp_path, "steps: 3\ninner: {rate: 1e-4, names: [x]}\nkind: b\nfolder: a/b")
    assert config == Outer(
        steps=3, inner=Inner(rate=1e-4, names=("x",)), kind="b", folder=Path("a/b")
    )


def test_an_anchor_may_be_merged_into_keys_that_change_it(tmp_path: Path) -> None:
    text = (
        "steps: 3\ninner: &rate {rate: 2}\nparts: [{<<: *rate, names: [x]}, {<<: *rate, rate: 5}]"
    )
    assert [part.rate for part in load(tmp_path, text).parts] == [2.0, 5.0]


def test_a_dumped_recipe_reads_back_as_itself(tmp_path: Path) -> None:
    config = load(tmp_path, "steps: 3\nparts: [{rate: 2}]")
    assert load(tmp_path, dump_recipe(config)) == config


def test_set_reaches_into_trees_and_lists(tmp_path: Path) -> None:
    config = load(tmp_path, "steps: 3\nparts: [{rate: 2}]", "inner.rate=5", "parts.0.rate=7")
    assert (config.inner.rate, config.parts[0].rate) == (5.0, 7.0)


def test_a_key_may_stand_beside_one_that_is_merged(tmp_path: Path) -> None:
    text = (
        "steps: 3\nparts: [&a {rate: 1.0}, &b {<<: *a, rate: 2.0}]\ninner: {<<: *b, names: [x]}\n"
    )
    loaded = load(tmp_path, text)
    assert [part.rate for part in loaded.parts] == [1.0, 2.0]
    assert loaded.inner == Inner(rate=2.0, names=("x",))


@pytest.mark.parametrize(
    ("text", "overrides", "message", "fix"),
    [
        ("step: 3", (), 'unknown key "step"', 'did you mean "steps"?'),
        ("steps: 3\ninner: {rat: 1}", (), 'unknown key "inner.rat"', 'did you mean "rate"?'),
        ("kind: a", (), 'missing key "steps"', "add"),
        ("steps: many", (), "\"steps\" = 'many' is not a whole number", "give"),
        ("steps: true", (), '"steps" = True is not a whole number', "give"),
        ("steps: 3\nkind: c", (), "is not one of a, b", "give"),
        ("steps: 3\ninner: 4", (), '"inner" is 4, not keys', "indent"),
        ("steps: [", (), "is not YAML", "mend"),
        ("steps: 3\nkind: b\nsteps: 4", (), '"steps" stands twice.*line 3', "mend"),
        ("steps: 3\ninner: {rate: 1, rate: 2}", (), '"rate" stands twice', "mend"),
        ("steps: 3", ("inner={rate: 1, rate: 2}",), "is not YAML", "quote"),
        ("steps: 3", ("inner=!!map rate",), "is not YAML", "quote"),
        ("- 1", (), "holds no keys", "write"),
        ("steps: 3", ("steps",), '"steps" is not KEY=VALUE', "write"),
        ("steps: 3", ("parts.0.rate=1",), "is not a list", "give"),
        ("steps: 3\nparts: [{}]", ("parts.1.rate=1",), "no place in a list of 1", "give"),
    ],
)
def test_what_is_wrong_is_said_with_a_fix(
    tmp_path: Path, text: str, overrides: tuple[str, ...], message: str, fix: str
) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        load(tmp_path, text, *overrides)
    assert any(word in caught.value.fix for word in fix.split("|"))


def test_where_there_is_no_recipe_nobody_is_sent_to_it() -> None:
    with pytest.raises(ConfigError, match='the command line: missing key "steps"') as caught:
        load_recipe(None, Outer)
    assert caught.value.fix.startswith("give --set steps=")


def test_every_recipe_of_the_project_loads() -> None:
    from desta.construction.config import ConstructConfig
    from desta.evaluation.attributes import EvalConfig
    from desta.evaluation.suite import SuiteRecipe
    from desta.evaluation.text import TextConfig
    from desta.sources.custom import CustomRecipe
    from desta.sources.lhotse import LhotseRecipe
    from desta.training.config import TrainConfig

    kinds = {
        "llama31_8b.yaml": TrainConfig,
        "custom_corpus.yaml": CustomRecipe,
        "lhotse_corpus.yaml": LhotseRecipe,
        "demo/data.yaml": ConstructConfig,
        "demo/train.yaml": TrainConfig,
        "demo/eval.yaml": EvalConfig,
        "evaluation.yaml": SuiteRecipe,
        "demo/text.yaml": TextConfig,
    }
    folder = Path(__file__).parents[2] / "recipes"
    assert {p.relative_to(folder).as_posix() for p in folder.rglob("*.yaml")} == set(kinds)
    for name, kind in kinds.items():
        load_recipe(folder / name, kind)


@pytest.mark.parametrize(
    ("override", "what"),
    [
        ("data.chunk_rows=0", "data.chunk_rows = 0"),
        ("data.num_workers=-1", "data.num_workers = -1"),
        ("data.max_text_tokens=-1", "data.max_text_tokens = -1"),
        ("num_samples=-1", "num_samples = -1"),
        ("save_every=0", "save_every = 0"),
    ],
)
def test_numbers_that_nothing_can_be_done_with_are_refused(override: str, what: str) -> None:
    from desta.training.config import TrainConfig

    recipe = Path(__file__).parents[2] / "recipes" / "demo" / "train.yaml"
    with pytest.raises(ConfigError, match=f"{what} is too small"):
        load_recipe(recipe, TrainConfig, [override])


@pytest.mark.parametrize(
    ("override", "what"),
    [
        ("data.train=[]", "data.train is empty"),
        ("data.max_skipped_share=-1", "data.max_skipped_share = -1"),
        ("optim.learning_rate=-1", "optim.learning_rate = -1"),
        ("optim.clip_norm=-1", "optim.clip_norm = -1"),
        ("optim.clip_norm=.nan", "optim.clip_norm = nan"),
        ("optim.beta2=1", "optim.beta2 = 1"),
        ("optim.weight_decay=-1", "optim.weight_decay = -1"),
        ("optim.warmup_steps=-1", "optim.warmup_steps = -1"),
        ("seed=-1", "seed = -1"),
        ("model.audio_locator=''", "audio_locator is empty"),
    ],
)
def test_values_outside_their_range_are_refused(override: str, what: str) -> None:
    from desta.training.config import TrainConfig

    recipe = Path(__file__).parents[2] / "recipes" / "demo" / "train.yaml"
    with pytest.raises(ConfigError, match=re.escape(what)):
        load_recipe(recipe, TrainConfig, [override])


def test_set_reaches_into_what_a_recipe_leaves_out_as_null() -> None:
    from desta.training.config import TrainConfig

    recipe = Path(__file__).parents[2] / "recipes" / "demo" / "train.yaml"
    config = load_recipe(recipe, TrainConfig, ["model.lora=null", "model.lora.rank=8"])
    assert config.model.lora is not None
    assert config.model.lora.rank == 8
