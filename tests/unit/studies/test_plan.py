"""Base recipes, variants and plans: what is wrong is said, and what is shared is done once."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from desta.config import load_recipe
from desta.construction.config import ConstructConfig
from desta.errors import ConfigError
from desta.evaluation.benchmarks.attributes.questions import AttributesData
from desta.evaluation.benchmarks.table import find_benchmark
from desta.evaluation.recipe import load_eval_recipe, resolve_recipe
from desta.studies.cost import Costs
from desta.studies.forecast import forecast
from desta.studies.measures import commands, evaluations, num_answers
from desta.studies.plan import Plan, differences
from desta.studies.recipe import Base
from desta.studies.table import FAMILIES, find_family
from desta.training.config import TrainConfig
from support.commands import desta
from support.studies import write, write_base, write_first


@pytest.fixture
def recipe(tmp_path: Path, published_tiny: Path) -> Path:
    return write_base(tmp_path, published_tiny, other=str(published_tiny / "other"))


def make(name: str, recipe: Path, **options: Any) -> Plan:
    base = Base.load(recipe)
    return Plan.make(name, base, **{"num_seeds": 2, "out": recipe.parent / "out"} | options)


def change(recipe: Path, name: str, **keys: Any) -> None:
    path = recipe.parent / f"{name}.yaml"
    tree = yaml.safe_load(path.read_text())
    for key, value in keys.items():
        section, _, below = key.partition("__")
        if below:
            tree[section][below] = value
        else:
            tree[section] = value
    write(path, tree)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_study_plans_runs_of_different_recipes_in_different_places(
    name: str, recipe: Path
) -> None:
    if name == "questions_per_clip":
        change(recipe, "train", data__token_budget=4096)
    plan = make(name, recipe)

    names = [variant.name for variant in plan.variants]
    assert len({*names}) == len(names) >= 2
    assert all(differences(variant, plan.variants[0]) for variant in plan.variants[1:])
    runs = [plan.run(*each) for each in plan.runs() if each[0].trains]
    assert len({*runs}) == len(runs) == 2 * sum(variant.trains for variant in plan.variants)
    assert not plan.out.exists(), "a plan writes nothing"


@pytest.mark.parametrize(
    ("name", "data_sets"),
    [("targets", 3), ("prompts", 4), ("transcription", 1), ("trainable", 1), ("loss", 1)],
)
def test_responses_are_written_once_for_all_variants_with_the_same_recipe(
    name: str, data_sets: int, recipe: Path
) -> None:
    plan = make(name, recipe)
    assert len(plan.data_sets) == data_sets
    assert {plan.data(variant) for variant in plan.variants} == {*plan.data_sets}


def test_other_clips_are_asked_about_in_another_place(recipe: Path) -> None:
    def folders() -> list[Path]:
        plan = make("loss", recipe)
        return [each.folder for each in evaluations(plan, plan.variants[0], 0).values()]

    before = folders()
    assert folders() == before
    with (recipe.parent / "clips.jsonl").open("a") as file:
        file.write("\n")
    assert not {path.name for path in folders()} & {path.name for path in before}


def test_a_value_that_is_the_default_changes_no_place(recipe: Path) -> None:
    before = make("loss", recipe)
    change(recipe, "train", data__balance_weights={}, steps=3)
    after = make("loss", recipe)
    assert [*after.recipes()] == [*before.recipes()]
    change(recipe, "train", steps=4)
    assert [*make("loss", recipe).recipes()] != [*before.recipes()]


def test_first_stages_are_shared_where_the_model_is_the_same(recipe: Path) -> None:
    change(recipe, "base", first=write_first(recipe.parent))

    def firsts(name: str) -> int:
        plan = make(name, recipe)
        return len({plan.first(variant, 0) for variant in plan.variants})

    assert [firsts(name) for name in ("targets", "trainable", "query_tokens")] == [1, 1, 3]
    plan = make("trainable", recipe)
    lora = plan.variants[1]
    first = plan.first_config(lora, 1)
    assert first is not None
    assert (first.model.lora, first.seed) == (None, 1)
    assert plan.train_config(lora, 1).start == plan.first(lora, 1)


def test_changed_clips_lead_to_other_folders(recipe: Path) -> None:
    def places() -> list[Path]:
        plan = make("loss", recipe)
        first = plan.variants[0]
        return [plan.data(first), plan.pairs(first), plan.run(first, 0)]

    before = places()
    clips = recipe.parent / "clips.jsonl"
    clips.write_text(clips.read_text().replace("Greek", "Danish"))
    assert not {*before} & {*places()}


def test_the_cascade_has_no_run_of_its_own(recipe: Path) -> None:
    plan = make("transcription", recipe)
    cascade = plan.variants[-1]
    assert plan.run(cascade, 1) == plan.run(plan.variants[0], 0)
    assert [seed for variant, seed in plan.runs() if variant is cascade] == [0]
    asked = evaluations(plan, cascade, 0)
    assert {"given", "instructions"} == {*asked}
    assert asked["given"].recipe.systems == ("cascade",)
    assert asked["given"].folder not in {
        e.folder for e in evaluations(plan, plan.variants[0], 0).values()
    }


def test_the_recipes_of_all_steps_load_as_they_are_written(recipe: Path) -> None:
    from desta.studies.run import _write_recipes

    change(recipe, "base", first=write_first(recipe.parent))
    plan = make("loss", recipe)
    _write_recipes(plan)

    kinds = {"construct": ConstructConfig, "train": TrainConfig}
    for path, (verb, _, config) in plan.recipes().items():
        assert load_recipe(path, kinds[verb]) == config
    for path, (command, config) in commands(plan).items():
        benchmark = find_benchmark(command.split()[2])
        read = load_eval_recipe(path, benchmark.data)
        assert resolve_recipe(read, benchmark) == resolve_recipe(config, benchmark)


def test_time_is_that_of_the_budget_at_the_stated_speed_until_it_was_measured(
    recipe: Path,
) -> None:
    plan = make("loss", recipe)
    expected = forecast(plan)
    assert expected.train == pytest.approx(3 * 4 / 3.2)
    assert expected.write == pytest.approx(12 / 10)
    assert expected.answer == pytest.approx(num_answers(plan) / 3)
    assert num_answers(plan) == 2 * (8 + 4 + 2)

    costs = Costs(plan.out / "costs.json")
    plan.out.mkdir()
    with costs.measure("train/written/0") as count:
        time.sleep(0.05)
        count(1000)
    again = forecast(plan)
    assert again.measured == {"train": pytest.approx(costs.per_second("train"), rel=1e-2)}
    assert again.train < expected.train


def test_budgets_that_could_differ_are_refused(recipe: Path) -> None:
    change(recipe, "train", data__batch_rows=None)
    with pytest.raises(ConfigError, match="does not say how many pairs a step reads"):
        Base.load(recipe)
    change(recipe, "train", data__batch_rows=4, data__token_budget=511)
    with pytest.raises(ConfigError, match="token_budget = 511 can cut a batch of 4") as caught:
        Base.load(recipe)
    assert "give 512" in caught.value.fix
    change(recipe, "train", data__token_budget=512)
    with pytest.raises(ConfigError, match="token_budget = 512"):
        make("questions_per_clip", recipe)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("study", "target"), 'unknown study "target"'),
        (("study", "loss", "--seeds", 0), "0 seeds leave nothing to run"),
        (("study", "loss", "--set", "pair=3"), 'unknown key "pair"'),
        (("study", "loss", "--set", "pairs=0"), "pairs = 0 is too small"),
        (("study", "loss", "--set", "speed.train=0"), "speed.train = 0"),
        (("study", "loss", "--set", "train=none.yaml"), "none.yaml is not a file"),
        (("study", "targets", "--set", "other=null"), "the study compares two backbones"),
        (("study", "loss", "--set", "first=FOLDER/train.yaml"), "is no first stage"),
        (("study", "loss", "--out", "FOLDER/base.yaml"), "is not a folder"),
        (("study", "loss", "--page", "FOLDER"), "is a folder, not a file"),
    ],
)
def test_what_is_wrong_is_one_sentence_and_a_fix(
    words: tuple[object, ...], message: str, recipe: Path
) -> None:
    given = [str(word).replace("FOLDER", str(recipe.parent)) for word in words]
    error = desta(*given, "--recipe", recipe).exception
    assert isinstance(error, ConfigError), error
    assert message in error.message
    assert error.fix


def test_a_wrong_key_of_a_named_recipe_is_said_with_its_file(recipe: Path) -> None:
    change(recipe, "train", stepz=3)
    with pytest.raises(ConfigError, match=r"train.yaml: unknown key \"stepz\""):
        Base.load(recipe)


def test_a_dry_run_prints_variants_budgets_and_commands_and_writes_nothing(recipe: Path) -> None:
    out = recipe.parent / "out"
    run = desta("study", "targets", "--recipe", recipe, "--out", out, "--dry-run")
    assert run.exit_code == 0, run.exception
    text = " ".join(run.stdout.split())
    for words in ("temperature-1", "labels", "pairs 12, seeds 3", "one seed of one variant: about"):
        assert words in text
    assert f"desta construct {out}/recipes/" in run.stdout
    assert not out.exists()


@pytest.mark.parametrize("options", [(), ("--dry-run",)])
def test_clips_that_are_missing_are_told_before_anything_is_done(
    recipe: Path, options: tuple[str, ...]
) -> None:
    (recipe.parent / "clips.jsonl").unlink()
    out = recipe.parent / "out"
    run = desta("study", "loss", "--recipe", recipe, "--out", out, *options)
    assert isinstance(run.exception, ConfigError)
    assert "clips.jsonl is missing" in run.exception.message
    assert "desta describe" in run.exception.fix
    assert not out.exists()


def test_the_nearest_study_is_named() -> None:
    with pytest.raises(ConfigError) as caught:
        find_family("promts")
    assert caught.value.fix.startswith('did you mean "prompts"?')


def test_the_base_decides_the_backbone_of_every_recipe(recipe: Path) -> None:
    base = Base.load(recipe, ["backbone=another"])
    assert base.construct.backbone == base.train.model.backbone == "another"
    assert not base.train.data.validation
    assert base == replace(base)
    assert isinstance(base.attributes.data, AttributesData)
