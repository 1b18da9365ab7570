"""Recipes: what is wrong in them is said by name, with the nearest right one."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from desta.config import build_config, dump_recipe, load_recipe, suggest
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


@dataclass(frozen=True, kw_only=True)
class Words:
    """Fields that hold a user's own words."""

    values: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    where: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    name: str = ""
    column: str | None = None
    folder: Path = Path()
    switch: Literal["on", "off"] = "on"
    more: Mapping[str, Any] = field(default_factory=dict)


WRITTEN = (
    *("no", "yes", "on", "off", "Off", "y", "N", "true", "False", "1", "01", "+1", "-0", "1_000"),
    *("0o7", "010", "0x1F", "0x_", "1.0", "1.", "1e3", ".inf", ".NaN", "12:30", "2020-01-01"),
    *("2020-13-45", "2020-01-01T12:30:00Z", "=", "é", "5 %", "null and void"),
)
"""Words of a table, most of which YAML would read as something else."""


def load(tmp_path: Path, text: str, *overrides: str) -> Outer:
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    return load_recipe(path, Outer, overrides)


def load_words(tmp_path: Path, text: str, *overrides: str) -> Words:
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    words = load_recipe(path, Words, overrides)
    path.write_text(dump_recipe(words))
    assert load_recipe(path, Words) == words
    return words


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
        ("kind: a", (), 'missing key "steps"', 'add "steps: ..." to the recipe'),
        ("steps: many", (), "\"steps\" = 'many' is not a whole number", "give"),
        ("steps: true", (), '"steps" = True is not a whole number', "give"),
        ("steps: 3\nkind: c", (), "is not one of a, b", "give"),
        ("steps: 3\ninner: 4", (), '"inner" is 4, not keys', "indent"),
        ("steps: [", (), "is not YAML", "correct"),
        ("steps: 3\nkind: b\nsteps: 4", (), '"steps" appears twice.*line 3', "correct"),
        ("steps: 3\ninner: {rate: 1, rate: 2}", (), '"rate" appears twice', "correct"),
        ("steps: 3", ("inner={rate: 1, rate: 2}",), "is not YAML", "quote"),
        ("steps: 3", ("inner=!!map rate",), "is not YAML", "quote"),
        ("- 1", (), "holds no keys", "write"),
        ("steps: 3", ("steps",), '"steps" is not KEY=VALUE', "write"),
        ("steps: 3", ("parts.0.rate=1",), "is not a list", "give"),
        ("steps: 3\nparts: [{}]", ("parts.1.rate=1",), "not an index of a list of 1", "give"),
    ],
)
def test_what_is_wrong_is_said_with_a_fix(
    tmp_path: Path, text: str, overrides: tuple[str, ...], message: str, fix: str
) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        load(tmp_path, text, *overrides)
    assert any(word in caught.value.fix for word in fix.split("|"))


def test_a_missing_key_of_a_section_belongs_below_it() -> None:
    with pytest.raises(ConfigError, match='missing key "data.steps"') as caught:
        build_config(Outer, {}, where="recipe.yaml", path="data")
    assert caught.value.fix.startswith('add "steps: ..." below "data" in the recipe, or give --set')


@pytest.mark.parametrize("word", WRITTEN)
def test_words_are_what_is_written(tmp_path: Path, word: str) -> None:
    text = (
        f"values: {{{word}: {{{word}: {word}, x: {word}}}}}\n"
        f"where: {{{word}: [{word}]}}\nname: {word}\ncolumn: {word}\nfolder: {word}\n"
    )
    expected = Words(
        values={word: {word: word, "x": word}},
        where={word: (word,)},
        name=word,
        column=word,
        folder=Path(word),
    )
    assert load_words(tmp_path, text) == expected
    overrides = [line.replace(": ", "=", 1) for line in text.splitlines()]
    assert load_words(tmp_path, "switch: on", *overrides) == expected


@pytest.mark.parametrize("word", ["null", "~", "Null"])
def test_null_is_a_word_as_a_key_and_nothing_as_a_value(tmp_path: Path, word: str) -> None:
    loaded = load_words(tmp_path, f"values: {{a: {{{word}: b}}}}\ncolumn: {word}")
    assert loaded == Words(values={"a": {word: "b"}})
    with pytest.raises(ConfigError, match=r'"values.a.b" = None is not text\n') as caught:
        load_words(tmp_path, f"values: {{a: {{b: {word}}}}}")
    assert f'"{word}" is in quotes' in caught.value.fix


def test_a_word_that_yaml_reads_as_a_boolean_may_be_one_of_several(tmp_path: Path) -> None:
    assert load_words(tmp_path, "switch: off").switch == "off"
    with pytest.raises(ConfigError, match='"switch" = False is not one of on, off'):
        load_words(tmp_path, "switch: no")


def test_values_of_no_stated_type_are_what_yaml_reads(tmp_path: Path) -> None:
    more = load_words(tmp_path, "more: {no: no, 1: [2, {on: ~}], day: 2020-01-01}").more
    assert more == {"no": False, "1": [2, {"on": None}], "day": "2020-01-01"}


def test_words_can_be_anchors_and_merged(tmp_path: Path) -> None:
    text = "name: &w no\nvalues: {a: &a {*w : x, 1: y}, b: {<<: *a, 1: z, off: u}}"
    assert load_words(tmp_path, text).values["b"] == {"no": "x", "1": "z", "off": "u"}


def test_set_reaches_into_words(tmp_path: Path) -> None:
    changed = load_words(tmp_path, "values: {a: {1: x, no: y}}", "values.a.1=on", "values.a.no=2")
    assert changed.values == {"a": {"1": "on", "no": "2"}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("values: {a: {1: x, '1': y}}", '"1" appears twice'),
        ("values: {a: {no: x, no: y}}", '"no" appears twice'),
        ("? [a]\n: 1", "a key is a list or a mapping"),
        ("more: &m {x: *m}", "recursive"),
        ("no: x", 'unknown key "no"'),
    ],
)
def test_keys_that_cannot_be_words_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_words(tmp_path, text)


def test_where_there_is_no_recipe_nobody_is_sent_to_it() -> None:
    with pytest.raises(ConfigError, match='the command line: missing key "steps"') as caught:
        load_recipe(None, Outer)
    assert caught.value.fix.startswith("give --set steps=")


def test_one_text_is_not_taken_for_several_overrides() -> None:
    from desta.evaluation.recipe import BenchmarkFiles, load_eval_recipe

    with pytest.raises(ConfigError, match="the overrides are the text 'steps=1'") as caught:
        load_recipe(None, Outer, "steps=1")
    assert caught.value.fix == "give a list: ['steps=1']"
    with pytest.raises(ConfigError, match="the overrides are the text"):
        load_eval_recipe(None, BenchmarkFiles, "data=d")


def test_every_recipe_of_the_project_loads(caplog: pytest.LogCaptureFixture) -> None:
    from desta.construction.config import ConstructConfig
    from desta.evaluation.benchmarks.attributes.questions import AttributesData
    from desta.evaluation.benchmarks.text import TextData
    from desta.evaluation.recipe import BenchmarkFiles, load_eval_recipe
    from desta.sources.custom import CustomRecipe
    from desta.sources.lhotse import LhotseRecipe
    from desta.studies.recipe import StudyRecipe
    from desta.training.config import TrainConfig

    kinds = {
        "llama31_8b.yaml": TrainConfig,
        "custom_corpus.yaml": CustomRecipe,
        "lhotse_corpus.yaml": LhotseRecipe,
        "demo/data.yaml": ConstructConfig,
        "demo/train.yaml": TrainConfig,
        "emotion/data.yaml": ConstructConfig,
        "tiny/speech.yaml": ConstructConfig,
        "tiny/sounds.yaml": ConstructConfig,
        "emotion/train.yaml": TrainConfig,
        "tiny/words_speech.yaml": TrainConfig,
        "tiny/words.yaml": TrainConfig,
        "tiny/music.yaml": TrainConfig,
        "tiny/train.yaml": TrainConfig,
        "study/base.yaml": StudyRecipe,
        "study/prompts.yaml": StudyRecipe,
        "study/data.yaml": ConstructConfig,
        "study/data_prompts.yaml": ConstructConfig,
        "study/first.yaml": TrainConfig,
        "study/train.yaml": TrainConfig,
    }
    data = {
        "demo/eval.yaml": AttributesData,
        "emotion/eval.yaml": AttributesData,
        "tiny/eval.yaml": AttributesData,
        "study/eval.yaml": AttributesData,
        "study/text.yaml": TextData,
        "evaluation.yaml": BenchmarkFiles,
        "demo/text.yaml": TextData,
    }
    folder = Path(__file__).parents[2] / "recipes"
    kinds |= {f"backbones/{p.name}": TrainConfig for p in folder.glob("backbones/*.yaml")}
    assert {p.relative_to(folder).as_posix() for p in folder.rglob("*.yaml")} == {*kinds, *data}
    for name, kind in kinds.items():
        load_recipe(folder / name, kind)
    for name, section in data.items():
        load_eval_recipe(folder / name, section)
    assert not caplog.text  # all keys are those of now


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


@pytest.mark.parametrize("deep", ["[" * 3000, "{a: " * 3000, "[" * 3000 + "]" * 3000])
def test_a_value_nested_thousands_deep_is_one_sentence(tmp_path: Path, deep: str) -> None:
    with pytest.raises(ConfigError, match="nested too deep"):
        load_words(tmp_path, f"values: {deep}")
    with pytest.raises(ConfigError, match="is not YAML"):
        load_words(tmp_path, "name: a", f"values={deep}")


def test_a_word_in_other_case_is_near_the_right_one() -> None:
    assert suggest("MMAU", ["mmau", "mmar", "text"]) == 'did you mean "mmau"?'
    assert suggest("text", ["MMAU", "Text"]) == 'did you mean "Text"?'
