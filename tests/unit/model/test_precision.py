"""Which device `auto` is, wherever a device is named."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from desta.config import dump_recipe, load_recipe
from desta.construction.config import ConstructConfig
from desta.errors import ConfigError
from desta.evaluation.judge.ask import JudgeRecipe
from desta.evaluation.models import with_device
from desta.evaluation.recipe import BenchmarkFiles, EvalRecipe
from desta.inference.engine import Engine
from desta.model import precision
from desta.model.precision import choose_device, find_device
from desta.training import loop, processes
from desta.training.config import TrainConfig
from support.commands import desta, run_afresh, run_desta

UNKNOWN = ("gpu", "CPU", "", "cuda:x", "cuda:-1", " cpu", "Auto", "npu")
UNUSABLE = ("meta", "hpu", "privateuseone", "xla", "vulkan", "opengl", "ipu")

Machine = Callable[..., None]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Return what makes this machine one with other devices; `broken` ones are there in vain."""

    def pretend(*there: str, broken: tuple[str, ...] = (), bitsandbytes: bool = True) -> None:
        def fault(device: Any) -> str | None:
            kind = torch.device(device).type
            return None if kind in (*there, "cpu") and kind not in broken else "the driver is old"

        monkeypatch.setattr(torch.cuda, "is_available", lambda: "cuda" in there)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: "mps" in there)
        monkeypatch.setattr(precision, "_fault", fault)
        find_spec = precision.importlib.util.find_spec
        monkeypatch.setattr(
            precision.importlib.util,
            "find_spec",
            lambda name: bitsandbytes if name == "bitsandbytes" else find_spec(name),
        )

    return pretend


@pytest.mark.parametrize(
    ("there", "stored", "chosen"),
    [
        ((), None, "cpu"),
        (("cuda",), None, "cuda"),
        (("mps",), None, "mps"),
        (("cuda", "mps"), None, "cuda"),
        (("cuda",), "int8", "cuda"),
        (("cuda",), "nf4", "cuda"),
        (("mps",), "int8", "cpu"),
        (("mps",), "its own", "cpu"),
        ((), "int8", "cpu"),
    ],
)
def test_auto_is_the_first_device_that_can_run_the_model(
    machine: Machine, there: tuple[str, ...], stored: str | None, chosen: str
) -> None:
    machine(*there)
    assert choose_device("auto", stored=lambda: stored) == torch.device(chosen)


@pytest.mark.parametrize("kind", ["cuda", "mps"])
def test_a_device_that_is_there_in_vain_is_not_taken_and_that_is_said(
    machine: Machine, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    caplog.set_level("INFO")
    machine(kind, broken=(kind,))
    assert choose_device("auto") == torch.device("cpu")
    assert caplog.messages == [f"device: cpu ({kind} is not taken: the driver is old)"]


def test_int8_stays_on_the_cpu_where_a_gpu_cannot_read_it(
    machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    machine("cuda", bitsandbytes=False)
    assert choose_device("auto", stored=lambda: "int8") == torch.device("cpu")
    assert "quant-gpu" in caplog.text
    assert choose_device("auto") == torch.device("cuda")


def test_nobody_asks_how_a_backbone_is_stored_where_there_is_nothing_to_choose() -> None:
    assert choose_device("auto", stored=lambda: pytest.fail("asked")) == torch.device("cpu")


def test_a_device_that_is_named_is_taken_without_a_word(
    machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    machine("cuda")
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_device("cuda:1") == torch.device("cuda:1")
    assert not caplog.messages


def test_one_process_of_a_run_speaks_for_all(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    for rank in ("0", "1", "2"):
        monkeypatch.setenv("RANK", rank)
        choose_device("auto")
    assert caplog.messages == ["device: cpu"]


@pytest.mark.parametrize("name", UNKNOWN)
def test_an_unknown_device_is_one_sentence(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        find_device(name)
    assert caught.value.message == f'device "{name}" cannot be used: there is none of that name'
    assert caught.value.fix.startswith("give auto, cpu")


@pytest.mark.parametrize("name", UNUSABLE)
def test_a_device_that_this_machine_has_not_is_one_short_sentence(name: str) -> None:
    with pytest.raises(ConfigError, match=f'device "{name}" cannot be used') as caught:
        find_device(name)
    assert len(caught.value.message) < 200
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    "verb",
    [
        ["ask", "What?", "--model"],
        ["chat", "--model"],
        ["eval", "text", "--out", "out", "--model"],
    ],
)
def test_every_verb_says_its_device_and_refuses_one_that_is_not_there(
    published_tiny: Path, tmp_path: Path, verb: list[str]
) -> None:
    run = run_desta(*verb, published_tiny, "--device", "gpu", cwd=tmp_path)
    assert run.returncode == 2
    assert run.stderr.startswith(
        'error: device "gpu" cannot be used: there is none of that name\n  fix: give auto, cpu'
    )
    assert run.stderr.count("\n") == 2
    run = run_afresh(*verb, published_tiny, cwd=tmp_path)
    assert run.stderr.splitlines().count("device: cpu") == 1, run.stderr
    assert "device:" not in run.stdout


MODEL = {"backbone": "b", "encoder": "e"}
RECIPES: dict[type[Any], dict[str, Any]] = {
    EvalRecipe: {
        "model": "m",
        "data": {"clips": [{"path": "c", "root": "r"}], "attributes": {"Gender": []}},
    },
    TrainConfig: {"model": MODEL, "data": {"train": ["d"], "token_budget": 2048}, "steps": 1},
}
WITH_ENGINES: dict[type[Any], dict[str, Any]] = {
    JudgeRecipe: {"backbone": "b"},
    ConstructConfig: {
        "backbone": "b",
        "clips": [{"path": "c", "root": "r"}],
        "sampling": {"temperature": 0.0, "max_new_tokens": 1},
    },
}


@pytest.mark.parametrize("kind", [*RECIPES, *WITH_ENGINES])
def test_a_recipe_that_names_no_device_means_auto(kind: type[Any], tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump((RECIPES | WITH_ENGINES)[kind]))
    config = load_recipe(path, kind)
    assert (config.engine if kind in WITH_ENGINES else config).device == "auto"


@pytest.mark.parametrize(
    "command",
    [
        ["eval", "text", "--model", "m"],
        ["eval", "mmau", "--data", "d"],
        ["eval", "attributes", "--recipe", "attributes.yaml"],
        ["train", "train.yaml"],
        ["construct", "construct.yaml", "--out", "o"],
    ],
)
def test_every_verb_of_a_recipe_takes_a_device(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, recipe in (
        ("attributes", RECIPES[EvalRecipe]),
        ("train", RECIPES[TrainConfig]),
        ("construct", WITH_ENGINES[ConstructConfig]),
    ):
        Path(f"{name}.yaml").write_text(yaml.safe_dump(recipe))
    for device in ("cpu", "cuda:1"):
        run = desta(*command, "--device", device, "--dry-run")
        recipe = yaml.safe_load(run.stdout)
        assert recipe.get("engine", recipe)["device"] == device, run.stdout
    recipe = yaml.safe_load(desta(*command, "--dry-run").stdout)
    assert recipe.get("engine", recipe)["device"] == "auto"


def test_an_engine_elsewhere_has_no_device_of_ours(tmp_path: Path) -> None:
    path = tmp_path / "construct.yaml"
    path.write_text(yaml.safe_dump(WITH_ENGINES[ConstructConfig]))
    run = desta(
        *("construct", path, "--out", tmp_path / "o", "--device", "cpu"),
        *("--set", "engine.kind=scripted", "--dry-run"),
    )
    assert isinstance(run.exception, ConfigError)
    assert run.exception.message == "--device cannot be used with the engine scripted"


def test_an_evaluation_goes_on_by_the_device_that_it_was_begun_on(
    tmp_path: Path, machine: Machine
) -> None:
    machine("cuda")
    recipe = EvalRecipe(data=BenchmarkFiles(path="d"))
    assert with_device(recipe, tmp_path).device == "cuda"
    assert with_device(replace(recipe, device="cpu"), tmp_path).device == "cpu"
    plan = {"benchmark": "mmau", "version": "1", "weights": None, "systems": ["model"]}
    plan |= {"num_items": 1, "batch_size": 1, "items": "", "prompts": "", "order": ["a"]}
    for config, device in (({"device": "cpu"}, "cpu"), ({}, "cpu"), ({"device": "mps"}, "mps")):
        (tmp_path / "plan.json").write_text(json.dumps({**plan, "config": config}))
        assert with_device(recipe, tmp_path).device == device


def test_a_training_run_of_before_devices_were_named_goes_on(tmp_path: Path) -> None:
    config = load_recipe(
        None, TrainConfig, [f"{k}={json.dumps(v)}" for k, v in RECIPES[TrainConfig].items()]
    )
    old = yaml.safe_load(dump_recipe(config))
    del old["device"]
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(old))
    for device in ("auto", "cpu", "cuda"):
        assert not loop._is_finished(tmp_path, replace(config, device=device))
    with pytest.raises(ConfigError, match="another recipe"):
        loop._is_finished(tmp_path, replace(config, steps=2))


def test_one_gpu_cannot_be_named_for_several_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="every process needs its own") as caught:
        processes.start("no", "cuda:1")
    assert caught.value.fix == "give device: cuda"


def test_an_engine_computes_on_auto_unless_told_otherwise(
    published_tiny: Path, machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    assert Engine.load(published_tiny).model.device.type == "cpu"
    assert caplog.messages.count("device: cpu") == 1
