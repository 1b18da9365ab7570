"""Training on the tiny model: it learns, it leaves the frozen parts alone, it survives a kill."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from desta.cli.app import app
from desta.config import dump_recipe
from desta.data.dataset import PairDataset
from desta.errors import ConfigError, DataError
from desta.model import checkpoint
from desta.model.config import ConnectorConfig, LoraConfig, ModelConfig
from desta.model.desta import DestaModel
from desta.model.verify import verify
from desta.training import processes
from desta.training.batches import Collator
from desta.training.config import DataConfig, OptimConfig, TrainConfig
from desta.training.loop import train
from desta.training.state import Progress, gather_state, load_state, save_state

NUM_KILLS = 5


@pytest.fixture
def config(tmp_path: Path, published_tiny: Path) -> TrainConfig:
    """A run of twelve steps over pairs that reuse the three tiny recordings."""
    rows = [json.loads(line) for line in (published_tiny / "train.jsonl").open()]
    data = tmp_path / "data"
    data.mkdir()
    with (data / "audio-00000.jsonl").open("w") as file:
        for number in range(24):
            row = rows[number % len(rows)]
            record = {
                "id": f"pair-{number}",
                "dataset": "tiny",
                "seed_description": "",
                "prompt": "",
                "response": f"{row['response']} {number}",
                "messages": row["messages"],
            }
            file.write(json.dumps(record) + "\n")
    return TrainConfig(
        model=ModelConfig(
            backbone=str(published_tiny / "backbone"),
            encoder=str(published_tiny / "openai" / "whisper-tiny"),
            connector=ConnectorConfig(num_query_tokens=4, num_layers=2, ffn_dim=64),
            dtype="float32",
        ),
        data=DataConfig(
            train=(data,),
            validation=(data,),
            audio_root=published_tiny,
            token_budget=512,
            max_tokens=256,
        ),
        optim=OptimConfig(learning_rate=1e-2, warmup_steps=2),
        steps=12,
        accumulate=2,
        precision="no",
        validate_every=6,
        validation_rows=24,
        num_samples=2,
        save_every=3,
    )


def losses(run: Path) -> list[tuple[int, float]]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").open()]
    return [(line["step"], line["loss"]) for line in lines if "loss" in line]


def validations(run: Path) -> list[dict]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").open()]
    return [line for line in lines if "validation_loss" in line]


def test_the_loss_falls_and_frozen_parts_stay_bit_identical(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    fresh = checkpoint.fresh

    def keep(*args, **options):
        loaded = fresh(*args, **options)
        before = {k: v.clone() for k, v in loaded.model.state_dict().items()}
        seen.append((loaded.model, before))
        return loaded

    monkeypatch.setattr(checkpoint, "fresh", keep)  # watch the model that the run builds
    train(replace(config, steps=40), tmp_path / "run")

    values = [loss for _, loss in losses(tmp_path / "run")]
    assert sum(values[-8:]) / 8 < 0.85 * sum(values[:4]) / 4
    model, before = seen[0]
    trained = set(model.trained_state())
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]) == (name not in trained), name


def test_a_finished_run_can_be_loaded_and_is_not_repeated(
    config: TrainConfig, tmp_path: Path
) -> None:
    first = train(config, tmp_path / "run")
    weights = (tmp_path / "run" / "model.safetensors").read_bytes()

    assert train(config, tmp_path / "run") == first
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == weights
    loaded = checkpoint.load(tmp_path / "run").model.config
    connector = replace(config.model.connector, target_layers=(0, 1, 2, 3))
    assert loaded == replace(config.model, connector=connector)
    assert len(validations(tmp_path / "run")) == 2


def test_another_recipe_in_the_same_directory_is_refused(
    config: TrainConfig, tmp_path: Path
) -> None:
    train(config, tmp_path / "run")
    with pytest.raises(ConfigError, match="another recipe"):
        train(replace(config, steps=13), tmp_path / "run")


def test_a_run_stops_when_too_many_recordings_are_missing(
    config: TrainConfig, tmp_path: Path
) -> None:
    broken = replace(config.data, audio_root=tmp_path, validation=())
    with pytest.raises(DataError, match=r"\d+ pairs on end cannot be used.* does not exist"):
        train(replace(config, data=broken), tmp_path / "run")


def test_unusable_pairs_are_counted_and_the_run_goes_on(
    config: TrainConfig, tmp_path: Path
) -> None:
    shard = tmp_path / "data" / "audio-00000.jsonl"
    rows = [json.loads(line) for line in shard.open()]
    rows[0]["response"] = None
    rows[4]["messages"][1]["audios"][0]["audio"] = "gone.wav"
    shard.write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = replace(config, data=replace(config.data, max_skipped_share=0.1))

    summary = train(config, tmp_path / "run")

    assert summary["steps"] == config.steps
    examples = {"has no response": "pair-0", "does not exist": "pair-4"}
    assert {r: e["example"] for r, e in summary["skipped"].items()} == examples
    counted = {r: {"count": 1, "example": example} for r, example in examples.items()}
    assert summary["skipped_in_validation"] == counted


@pytest.mark.parametrize(("num_gone", "max_share"), [(2, 0.08), (24, 1.0)])
def test_a_validation_that_cannot_be_read_stops_the_run_before_it_trains(
    config: TrainConfig, tmp_path: Path, num_gone: int, max_share: float
) -> None:
    rows = [json.loads(line) for line in (tmp_path / "data" / "audio-00000.jsonl").open()]
    for row in rows[:num_gone]:
        row["messages"][1]["audios"][0]["audio"] = "gone.wav"
    held_out = tmp_path / "held-out"
    held_out.mkdir()
    (held_out / "audio-00000.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = replace(config.data, validation=(held_out,), max_skipped_share=max_share)

    with pytest.raises(
        DataError, match=rf"{num_gone} of 24 validation pairs are unusable; .*: does not exist"
    ):
        train(replace(config, data=data), tmp_path / "run")


def test_what_is_cut_off_is_counted_with_an_example_and_printed(
    config: TrainConfig, tmp_path: Path
) -> None:
    shard = tmp_path / "data" / "audio-00000.jsonl"
    rows = [json.loads(line) for line in shard.open()]
    rows[4]["response"] *= 20
    rows[7]["messages"][1]["audios"][0]["text"] = "many words " * 20
    shard.write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = replace(config.data, validation=(), max_text_tokens=40)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(dump_recipe(replace(config, data=data)))

    told = CliRunner().invoke(app, ["train", str(recipe), "--out", str(tmp_path / "run")])

    assert told.exit_code == 0, told.output
    cut = json.loads((tmp_path / "run" / "summary.json").read_text())["cut"]
    examples = {reason: entry["example"] for reason, entry in cut.items()}
    assert examples == {
        "response beyond data.max_tokens": "pair-4",
        "transcription beyond data.max_text_tokens": "pair-7",
    }
    for reason, entry in cut.items():
        assert entry["count"] > 0
        assert reason in " ".join(told.output.split())


def test_kill_9_at_any_moment_changes_neither_losses_nor_weights(
    config: TrainConfig, tmp_path: Path
) -> None:
    config = replace(config, steps=40)  # long enough to be killed five times on the way
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(dump_recipe(config))
    command = [sys.executable, "-m", "desta.cli", "train", str(recipe), "--out"]
    # Sums over another number of threads differ in the last bit: all processes get the same.
    options = {"stderr": subprocess.DEVNULL, "env": os.environ | {"OMP_NUM_THREADS": "1"}}
    subprocess.run([*command, str(tmp_path / "whole")], check=True, **options)
    draw = random.Random(0)
    run = tmp_path / "killed"

    resumed = 0
    for kill in range(NUM_KILLS):
        resumed += bool(list(run.glob("resume/step-*")))
        process = subprocess.Popen([*command, str(run)], **options)
        _wait_for_steps(run / "metrics.jsonl", process, at_least=4 + 6 * kill)
        time.sleep(draw.uniform(0, 0.1))
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, "the run ended before it was killed"
    assert resumed >= NUM_KILLS - 1
    assert not (run / "summary.json").exists()
    subprocess.run([*command, str(run)], check=True, **options)

    assert losses(run) == losses(tmp_path / "whole")
    assert validations(run) == validations(tmp_path / "whole")
    for name in ("model.safetensors", "config.json", "recipe.yaml"):
        assert (run / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def _wait_for_steps(path: Path, process: subprocess.Popen, at_least: int) -> None:
    """Wait until a step has been logged, or the process has ended."""
    while process.poll() is None:
        if path.exists() and path.read_bytes().count(b"grad_norm") >= at_least:
            return
        time.sleep(0.01)


def test_lora_is_trained_saved_and_loaded_and_its_backbone_stays(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh = checkpoint.fresh
    seen = []

    def keep(*args, **options):
        loaded = fresh(*args, **options)
        checkpoint.save(loaded.model, tmp_path / "before")
        seen.append(loaded.model)
        return loaded

    monkeypatch.setattr(checkpoint, "fresh", keep)
    lora = LoraConfig(rank=2, dropout=0.5, targets=("q_proj", "v_proj"))
    config = replace(config, model=replace(config.model, lora=lora), gradient_checkpointing=True)
    train(config, tmp_path / "run")

    before = checkpoint.load(tmp_path / "before").model
    after = checkpoint.load(tmp_path / "run").model
    assert after.config.lora == lora
    assert verify(tmp_path / "run").trained_tensors == len(after.trained_state())
    name = "llm_model.model.layers.0.self_attn.q_proj.lora_B.default.weight"
    assert not before.state_dict()[name].any()
    trained = set(after.trained_state())
    assert name in trained
    frozen = seen[0].state_dict()
    for key, tensor in after.state_dict().items():
        changed = not torch.equal(tensor, before.state_dict()[key])
        assert changed == (key in trained), key
        assert torch.equal(tensor, frozen[key]), key
    active = {n.split(".")[-2] for n, m in seen[0].llm_model.named_modules() if m.training}
    assert active == {"q_proj", "v_proj", "lora_dropout"}, "nothing else of the backbone drops out"


def test_other_ways_of_reading_give_the_same_losses(config: TrainConfig, tmp_path: Path) -> None:
    connector = replace(config.model.connector, dropout=0.0)
    data = replace(config.data, validation=(), token_budget=24 * 256)  # all pairs in one batch
    config = replace(config, model=replace(config.model, connector=connector), steps=3)
    for name, changes in {
        "plain": {},
        "packed": {"packing": True},
        "read elsewhere": {"num_workers": 1},
    }.items():
        train(replace(config, data=replace(data, **changes), accumulate=1), tmp_path / name)

    plain, packed, elsewhere = (
        dict(losses(tmp_path / name)) for name in ("plain", "packed", "read elsewhere")
    )
    assert len(plain) == 3
    assert packed == pytest.approx(plain, abs=1e-4)
    assert elsewhere == pytest.approx(plain, abs=1e-6)


def test_a_loss_that_is_no_number_stops_the_run_before_the_weights_move(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward, calls = DestaModel.forward, []

    def break_down(*args):
        calls.append(args)
        return forward(*args) * (float("nan") if len(calls) == 4 else 1.0)

    monkeypatch.setattr(DestaModel, "forward", break_down)
    with pytest.raises(ConfigError, match="the loss of step 2 is nan") as caught:
        train(replace(config, save_every=1), tmp_path / "run")

    assert "learning_rate" in caught.value.fix
    state = load_file(tmp_path / "run" / "resume" / "step-00000001" / "state.safetensors")
    assert all(torch.isfinite(tensor).all() for tensor in state.values())


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("progress.json", b""),
        ("progress.json", b'{"step": 3, "unknown": 1, "position": {}}'),
        ("progress.json", None),
        ("state.safetensors", b"\0" * 9),
        ("state.safetensors", None),
        ("state.safetensors", "of another model"),
    ],
)
def test_a_damaged_state_is_one_clear_error(
    tmp_path: Path, name: str, content: bytes | str | None
) -> None:
    def made(size: int) -> tuple[dict[str, torch.nn.Parameter], torch.optim.Optimizer]:
        weight = torch.nn.Parameter(torch.ones(size))
        optimizer = torch.optim.AdamW([weight])
        weight.sum().backward()
        optimizer.step()
        return {"weight": weight}, optimizer

    save_state(tmp_path, Progress(step=3), gather_state(*made(2)))
    assert load_state(tmp_path, *made(2)) == Progress(step=3)
    path = tmp_path / "resume" / "step-00000003" / name
    if content is None:
        path.unlink()
    elif isinstance(content, bytes):
        path.write_bytes(content)

    with pytest.raises(DataError, match="step-00000003 cannot be resumed from: .*"):
        load_state(tmp_path, *made(2 if isinstance(content, bytes | None) else 3))


def test_the_old_state_goes_when_the_new_one_is_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_state(tmp_path, Progress(step=1), {"a": torch.ones(1)})
    done: list[str] = []
    fsync, rename, remove = os.fsync, Path.rename, shutil.rmtree

    def recorded_fsync(descriptor: int) -> None:
        done.append(f"sync {Path(f'/proc/self/fd/{descriptor}').readlink().name}")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", recorded_fsync)
    monkeypatch.setattr(
        Path, "rename", lambda old, new: done.append(f"rename {new.name}") or rename(old, new)
    )
    monkeypatch.setattr(
        shutil, "rmtree", lambda path, **o: done.append(f"remove {path.name}") or remove(path, **o)
    )
    save_state(tmp_path, Progress(step=2), {"a": torch.zeros(1)})

    order = ["sync state.safetensors", "sync partial", "rename step-00000002", "sync resume"]
    order.append("remove step-00000001")
    assert [event for event in done if event in order] == order
    assert "sync .progress.json.part" in done[: done.index("sync partial")]


@pytest.mark.parametrize(
    ("message", "dead"),
    [
        ("DataLoader worker (pid(s) 7, 8) exited unexpectedly", True),
        ("DataLoader worker (pid 7) is killed by signal: Killed. ", True),
        ("Caught RuntimeError in DataLoader worker process 0.\nOriginal Traceback: bug", False),
    ],
)
def test_only_a_reader_that_died_is_said_to_have_died(message: str, dead: bool) -> None:
    with pytest.raises(DataError if dead else RuntimeError) as caught, processes.told():
        raise RuntimeError(message)
    assert ("has died" in str(caught.value)) == dead

    translated = ValueError("a library's own words")
    translated.__cause__ = RuntimeError(message)
    with pytest.raises(DataError if dead else ValueError) as caught, processes.told():
        raise translated
    assert ("has died" in str(caught.value)) == dead


def test_a_killed_reader_is_one_clear_error(config: TrainConfig, tmp_path: Path) -> None:
    data = replace(config.data, num_workers=1, validation=())
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(dump_recipe(replace(config, data=data, steps=2000)))
    command = [sys.executable, "-m", "desta.cli", "train", str(recipe), "--out"]
    run = tmp_path / "run"
    process = subprocess.Popen([*command, str(run)], stderr=subprocess.PIPE, text=True)
    _wait_for_steps(run / "metrics.jsonl", process, at_least=1)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()

    os.kill(int(children[0]), signal.SIGKILL)
    _, told = process.communicate(timeout=60)

    assert "error: a process that reads audio has died" in told
    assert process.returncode == 2
    assert "give the same command again" in told
    assert "Traceback" not in told


def test_clips_encoded_in_groups_give_the_loss_of_one_padded_batch(
    config: TrainConfig, tmp_path: Path
) -> None:
    loaded = checkpoint.fresh(config.model)
    pairs = [PairDataset(config.data.train)[row] for row in range(3)]
    paths = [tmp_path / f"{seconds}.wav" for seconds in (1, 9, 2, 4)]
    for path, seconds in zip(paths, (1, 9, 2, 4), strict=True):
        noise = np.random.default_rng(seconds).standard_normal(seconds * 16_000)
        soundfile.write(path, 0.1 * noise, 16_000)
    rest = iter(paths)
    pairs = [
        replace(
            pair,
            messages=tuple(
                replace(m, audios=tuple(replace(a, audio=str(next(rest))) for a in m.audios))
                for m in pair.messages
            ),
        )
        for pair in pairs
    ]
    losses = []
    for group_windows in (True, False):
        data = replace(config.data, group_windows=group_windows)
        micro_batch = Collator(data, loaded)(pairs)
        assert len(micro_batch.mels) == (3 if group_windows else 1)
        losses.append(loaded.model(*micro_batch.inputs()))
    torch.testing.assert_close(*losses, rtol=0, atol=1e-4)
