"""Names of before are understood, and the new one is told."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from desta.config import load_recipe, to_plain
from desta.construction import filters
from desta.construction.config import ConstructConfig
from desta.errors import ConfigError
from desta.evaluation.base import Item, Result, Score
from desta.evaluation.benchmarks.attributes.questions import AttributesData
from desta.evaluation.benchmarks.table import BENCHMARKS
from desta.evaluation.benchmarks.text import TextData
from desta.evaluation.judge.ask import JudgeRecipe
from desta.evaluation.recipe import (
    BenchmarkFiles,
    build_eval_recipe,
    load_eval_recipe,
    resolve_recipe,
)
from desta.evaluation.runner import current_config
from desta.inference.desta25 import DeSTA25AudioModel
from desta.inference.engine import Engine
from desta.model import checkpoint
from desta.model.config import ModelConfig
from desta.renamed import OLD_FILTERS, OLD_KEYS, OLD_METRICS, current_scores
from desta.training.config import TrainConfig
from support.commands import desta, run_desta

RECIPES: dict[type[Any], dict[str, Any]] = {
    JudgeRecipe: {"backbone": "b"},
    ModelConfig: {"backbone": "b", "encoder": "e"},
    ConstructConfig: {
        "backbone": "b",
        "clips": [{"path": "c", "root": "r"}],
        "sampling": {"temperature": 0.0, "max_new_tokens": 1},
    },
}


def load(tmp_path: Path, kind: type[Any], *overrides: str, **keys: Any) -> Any:
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(RECIPES[kind] | keys))
    return load_recipe(path, kind, overrides)


@pytest.mark.parametrize("key", OLD_KEYS)
@pytest.mark.parametrize("kind", RECIPES)
def test_an_older_key_of_a_recipe_counts_and_the_new_one_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: type[Any], key: str
) -> None:
    assert load(tmp_path, kind, **{key: "int8"}).backbone_quantization == "int8"
    assert f'"{key}" is now called "backbone_quantization"' in caplog.text
    with pytest.raises(ConfigError, match='"backbone_quantization" = '):
        load(tmp_path, kind, **{key: "int3"})


def test_the_new_key_is_taken_without_a_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = load(tmp_path, ModelConfig, backbone_quantization="int8")
    assert config.backbone_quantization == "int8"
    assert not caplog.text


@pytest.mark.parametrize("key", [*OLD_KEYS, "backbone_quantization"])
@pytest.mark.parametrize("override", [*OLD_KEYS, "backbone_quantization"])
def test_an_override_counts_by_whatever_name_the_recipe_has_the_key(
    tmp_path: Path, key: str, override: str
) -> None:
    config = load(tmp_path, JudgeRecipe, f"{override}=nf4", **{key: "int8"})
    assert config.backbone_quantization == "nf4"
    assert (
        load(tmp_path, JudgeRecipe, f"{override}=null", **{key: "int8"}).backbone_quantization
        is None
    )


def test_a_key_under_two_names_is_an_error(tmp_path: Path) -> None:
    keys = {"backbone_quantization": "int8", "backbone_quantisation": "nf4"}
    with pytest.raises(ConfigError, match="under two names"):
        load(tmp_path, JudgeRecipe, **keys)


def test_a_users_own_word_is_no_key_of_ours(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        ConstructConfig,
        clips=[{"path": "c", "root": "r", "where": {"quantise": ["yes"]}}],
    )
    assert config.clips[0].where == {"quantise": ("yes",)}


def test_a_training_recipe_of_before_is_read(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    model = RECIPES[ModelConfig] | {"backbone_quantisation": "int8"}
    path.write_text(yaml.safe_dump({"model": model, "data": {"train": ["d"]}, "steps": 1}))
    run = desta("train", path, "--dry-run")
    assert "backbone_quantization: int8" in run.stdout
    assert load_recipe(path, TrainConfig).model.backbone_quantization == "int8"


@pytest.mark.parametrize(
    "function", [Engine.load, DeSTA25AudioModel.from_pretrained, checkpoint.load]
)
def test_an_older_keyword_counts_and_the_new_one_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, function: Any
) -> None:
    with pytest.raises(Exception, match="nowhere"):  # only loading says that it is not there
        function(tmp_path / "nowhere", quantisation="int8")
    assert "(quantisation=...) is now called quantization" in caplog.text
    if function is not checkpoint.load:
        with pytest.raises(ConfigError, match="quantization 'int3' is unknown"):
            function(tmp_path / "nowhere", quantisation="int3")


@pytest.mark.parametrize("verb", [["ask", "What?"], ["chat"]])
def test_one_spelling_of_the_option_is_shown_and_both_are_taken(
    published_tiny: Path, verb: list[str]
) -> None:
    shown = desta(verb[0], "--help").stdout
    assert "--quantize" in shown
    assert "--quantise" not in shown
    for option, told in (
        ("--quantize", ""),
        ("--quantise", "--quantise is now called --quantize\n"),
    ):
        run = run_desta(*verb, "--model", published_tiny, option, "int3")
        assert run.returncode == 2
        assert run.stderr.startswith(f"{told}error: quantization 'int3' is unknown"), run.stderr


def test_a_filter_of_before_counts_and_the_new_id_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = load(tmp_path, ConstructConfig, filters=list(OLD_FILTERS))
    assert config.filters == tuple(OLD_FILTERS.values())
    assert 'the filter "cut off" is now called "cut_off"' in caplog.text
    for old, new in OLD_FILTERS.items():  # data sets of before count under it
        assert filters.FILTERS[new].reason == old


CLIPS = [{"path": "c", "root": "r"}]
ATTRIBUTES = {"clips": CLIPS, "attributes": {"Gender": ["Male"]}, "per_value": 3, "seed": 1}
BEFORE: dict[str, tuple[Any, dict[str, Any], dict[str, Any]]] = {
    "attributes": (
        AttributesData,
        {"model": "m", **ATTRIBUTES, "baselines": ["oracle"]},
        {"model": "m", "data": ATTRIBUTES, "systems": ["model", "oracle"]},
    ),
    "text": (
        TextData,
        {"model": "m", "prompts": ["Hello?"]},
        {"model": "m", "data": {"prompts": ["Hello?"]}},
    ),
    "sakura": (
        BenchmarkFiles,
        {"data": "d", "revision": "v", "audio": "a", "subsets": ["Animal"], "limit": 2},
        {
            "data": {"path": "d", "revision": "v", "audio": "a", "subsets": ["Animal"]},
            "limit": 2,
        },
    ),
}


@pytest.mark.parametrize("name", BEFORE)
def test_an_evaluation_recipe_of_before_is_read_and_its_new_keys_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    section, before, now = BEFORE[name]
    old, new = tmp_path / "old.yaml", tmp_path / "new.yaml"
    old.write_text(yaml.safe_dump(before))
    new.write_text(yaml.safe_dump(now))
    recipe = load_eval_recipe(new, section)
    assert not caplog.text
    assert load_eval_recipe(old, section) == recipe
    for key in before.keys() - now.keys():
        assert f'"{key}" is now called "{"systems" if key == "baselines" else f"data.{key}"}"' in (
            caplog.text
        )
    overrides = [f"{key}={json.dumps(value)}" for key, value in before.items()]
    assert load_eval_recipe(None, section, overrides) == recipe
    assert load_eval_recipe(new, section, overrides) == recipe


def test_a_system_of_before_counts_and_the_new_id_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ids = ("no_audio", "transcription_only", "always_first", "oracle")
    before = ["no audio", "transcription only", "always first", "oracle"]
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump({"data": "d", "systems": before}))
    assert load_eval_recipe(path, BenchmarkFiles).systems == ids
    assert f'{path}: the system "no audio" is now called "no_audio"' in caplog.text
    override = f"systems={json.dumps(before)}"
    assert load_eval_recipe(None, BenchmarkFiles, ["data=d", override]).systems == ids


def test_scores_of_before_are_read_by_the_names_of_now() -> None:
    figure = {"value": 1.0, "standard_error": 0.0}
    old, new = "rule: letter or text", "rule"
    left = {"reason": "why", "count": 1, "example": "1"}
    before = {
        "official": ["word error rate", "judge"],
        "systems": [
            {
                "system": "no audio",
                "figures": {f"Average single ({old})": figure | {"reading": old}},
                "cells": [{"reading": old, "group": old}],
                "notes": [left],
                "left_out": [left | {"readings": [old, "judge"]}],
            }
        ],
        "verdict": {"sentence": "why", "reading": old, "against": [{"system": "no audio"}]},
    }
    now = {
        "official": ["wer", "judge"],
        "systems": [
            {
                "system": "no_audio",
                "headline": {f"Average single ({new})": figure | {"metric": new}},
                "cells": [{"metric": new, "group": old}],
                "remarks": [left],
                "left_out": [left | {"metrics": [new, "judge"]}],
            }
        ],
        "verdict": {"sentence": "why", "metric": new, "against": [{"system": "no_audio"}]},
    }
    assert current_scores(before) == now
    assert current_scores(now) == now
    for damaged in (
        3,
        [],
        {"systems": [3, {"figures": 3, "cells": [None], "left_out": {}}]},
        {"verdict": {"against": 3}},
    ):
        current_scores(damaged)


def test_results_of_before_are_read_by_the_metrics_of_now() -> None:
    item = Item(id="1", messages=(), question="?", target="")
    ids = dict.fromkeys(OLD_METRICS.values(), 1.0)
    now = Result(item=item, output="", score=Score(values=ids, weights=ids))
    before = {old: 1.0 for old in OLD_METRICS}
    assert Result.from_json(now.to_json() | {"values": before, "weights": before}) == now


def test_a_key_of_an_evaluation_under_two_names_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    for keys in ({"data": {"audio": "a"}, "audio": "b"}, {"systems": ["model"], "baselines": []}):
        path.write_text(yaml.safe_dump(keys))
        with pytest.raises(ConfigError, match="is given under two names"):
            load_eval_recipe(path, BenchmarkFiles)


def test_an_evaluation_of_before_goes_on() -> None:
    benchmark = BENCHMARKS["attributes"]
    before = BEFORE["attributes"][1] | {"batch_size": 16, "max_new_tokens": 32}
    now = build_eval_recipe(BEFORE["attributes"][2] | {"device": "cpu"}, AttributesData, where="")
    assert current_config(before, benchmark) == to_plain(resolve_recipe(now, benchmark))
    assert current_config({"clips": 3}, benchmark) != to_plain(resolve_recipe(now, benchmark))
