"""A run that is killed: it goes on as if nothing had been, or says why it cannot."""

import errno
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from desta.config import dump_recipe
from desta.errors import DataError
from desta.training import processes
from desta.training.config import TrainConfig
from desta.training.processes import dead_process_errors
from desta.training.state import Progress, gather_state, load_state, save_state
from support.commands import desta, run_desta, start_desta
from support.training import losses, run_config, validations, wait_for_steps

NUM_KILLS = 5


@pytest.fixture
def config(tmp_path: Path, published_tiny: Path) -> TrainConfig:
    return run_config(tmp_path, published_tiny)


def test_kill_9_at_any_moment_changes_neither_losses_nor_weights(
    config: TrainConfig, tmp_path: Path
) -> None:
    config = replace(config, steps=30)  # long enough to be killed five times on the way
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(dump_recipe(config))
    whole = desta("train", recipe, "--out", tmp_path / "whole")  # with other hashes than the others
    assert whole.exit_code == 0, whole.output
    draw = random.Random(0)
    run = tmp_path / "killed"

    resumed = 0
    for kill in range(NUM_KILLS):
        resumed += bool(list(run.glob("resume/step-*")))
        process = start_desta("train", recipe, "--out", run)
        wait_for_steps(run / "metrics.jsonl", process, at_least=4 + 4 * kill)
        time.sleep(draw.uniform(0, 0.1))
        process.kill()
        assert process.wait() == -signal.SIGKILL, "the run ended before it was killed"
    assert resumed >= NUM_KILLS - 1
    assert not (run / "summary.json").exists()
    last = run_desta("train", recipe, "--out", run)
    assert last.returncode == 0, last.stderr

    assert losses(run) == losses(tmp_path / "whole")
    assert validations(run) == validations(tmp_path / "whole")
    for name in ("model.safetensors", "config.json", "recipe.yaml"):
        assert (run / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


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
    with (
        pytest.raises(DataError if dead else RuntimeError) as caught,
        dead_process_errors(),
    ):
        raise RuntimeError(message)
    assert ("has died" in str(caught.value)) == dead

    translated = ValueError("a library's own words")
    translated.__cause__ = RuntimeError(message)
    with (
        pytest.raises(DataError if dead else ValueError) as caught,
        dead_process_errors(),
    ):
        raise translated
    assert ("has died" in str(caught.value)) == dead


def test_a_connection_that_breaks_before_a_reader_is_known_to_be_dead_is_its_death() -> None:
    def tell(*_: object) -> None:
        raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. ")

    before = signal.signal(signal.SIGALRM, tell)
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    try:
        with pytest.raises(DataError, match="has died"), dead_process_errors():
            raise ConnectionResetError("Connection reset by peer")
    finally:
        signal.signal(signal.SIGALRM, before)


def test_a_connection_to_a_reader_that_breaks_without_a_signal_is_its_death(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(processes, "_NEWS_SECONDS", 0)
    ours, theirs = multiprocessing.Pipe()
    theirs.close()
    with pytest.raises(DataError, match="has died: EOFError"), dead_process_errors():
        ours.recv()
    with pytest.raises(ConnectionResetError), dead_process_errors():
        raise ConnectionResetError("of a tracker")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.ENOENT, errno.EACCES])
def test_an_error_of_the_disk_is_told_at_once(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: pytest.fail("waits for the death of a reader"))
    with pytest.raises(OSError, match="of the disk"), dead_process_errors():
        raise OSError(number, "of the disk")


def test_a_killed_reader_is_one_clear_error(config: TrainConfig, tmp_path: Path) -> None:
    data = replace(config.data, num_workers=1, validation=())
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(dump_recipe(replace(config, data=data, steps=2000)))
    command = [sys.executable, "-m", "desta.cli", "train", str(recipe), "--out"]
    run = tmp_path / "run"
    process = subprocess.Popen([*command, str(run)], stderr=subprocess.PIPE, text=True)
    wait_for_steps(run / "metrics.jsonl", process, at_least=1)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()

    os.kill(int(children[0]), signal.SIGKILL)
    _, told = process.communicate(timeout=600)

    assert "error: a process that reads audio has died" in told, told
    assert process.returncode == 2
    assert "give the same command again" in told
    assert "Traceback" not in told
