"""A whole study on the tiny model: killed, gone on with, and the same as without."""

import contextlib
import errno
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from desta import cli
from desta.errors import DataError
from support.commands import desta, run_desta
from support.studies import write_base, write_first

SAME = ("outcomes", "contrasts", "budgets", "pairs_read", "variants", "differs", "steps")


def study(name: str, recipe: Path, out: Path, *, seeds: int = 1) -> dict[str, Any]:
    words = ("study", name, "--recipe", recipe, "--out", out, "--seeds", seeds, "--json")
    run = desta(*words)
    if run.exception:
        raise run.exception
    found: dict[str, Any] = json.loads((out / "findings.json").read_text())
    return found


def runs(out: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in out.glob("*/**/summary.json")}


def test_a_study_that_is_killed_goes_on_and_finds_what_it_would_have_found(
    tmp_path: Path, published_tiny: Path
) -> None:
    recipe = write_base(tmp_path, published_tiny)
    change = {"first": write_first(tmp_path)}
    recipe.write_text(recipe.read_text() + "".join(f"{k}: {v}\n" for k, v in change.items()))
    whole = study("trainable", recipe, tmp_path / "whole", seeds=2)
    out = tmp_path / "killed"
    command = [sys.executable, "-m", "desta.cli", "study", "trainable", "--recipe", str(recipe)]
    command += ["--out", str(out), "--seeds", "2"]

    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    while process.poll() is None and len(runs(out)) < 3:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "the study ended before it was killed"
    done = runs(out)
    assert not (out / "findings.json").exists()
    found = study("trainable", recipe, out, seeds=2)

    assert {path: runs(out)[path] for path in done} == done, "what was done is not done again"
    assert {name: found[name] for name in SAME} == {name: whole[name] for name in SAME}
    measured = {row["measure"] for row in found["outcomes"]}
    assert measured == {
        *("nats", "withheld", "given", "instructions", "instructions-read", "text", "degenerate")
    }
    assert found["pairs_read"] == {name: [12, 12] for name in ("connector", "lora")}
    kept = {r["variant"]: r["value"] for r in found["outcomes"] if r["measure"] == "text"}
    assert kept["connector"] == 1.0
    assert len(list((out / "first").iterdir())) == 2, "one a seed"
    for file in ("report.md", "report.html", "report.svg"):
        assert (out / file).stat().st_size > 1000


def test_writers_are_compared_on_the_same_pairs(tmp_path: Path, published_tiny: Path) -> None:
    recipe = write_base(tmp_path, published_tiny, other=str(published_tiny / "backbone"))
    found = study("targets", recipe, tmp_path / "out")

    budgets = list(found["budgets"].values())
    assert len(budgets) == 5
    for key in ("pairs", "clips", "seconds"):
        assert len({budget[key] for budget in budgets}) == 1
    texts = {
        path.parent.name.rpartition("-")[0]: [json.loads(line) for line in path.open()]
        for path in (tmp_path / "out" / "pairs").glob("*/*.jsonl")
    }
    assert len({tuple(row["id"] for row in rows) for rows in texts.values()}) == 1
    assert {row["response"] for row in texts["labels"]} <= {"French", "Greek"}
    nats = {r["variant"]: r["value"] for r in found["outcomes"] if r["measure"] == "nats"}
    assert len({*nats.values()}) == 3, "itself, sentences and labels: the script says the same"


def test_a_cascade_is_asked_but_not_trained(tmp_path: Path, published_tiny: Path) -> None:
    recipe = write_base(tmp_path, published_tiny)
    found = study("transcription", recipe, tmp_path / "out")
    asked = {row["measure"] for row in found["outcomes"] if row["variant"] == "cascade"}
    assert asked == {"given", "instructions", "instructions-read", "degenerate"}
    assert "cascade" not in found["budgets"]
    told = json.loads((tmp_path / "out" / "costs.json").read_text())
    assert not [step for step in told if step.startswith("train/cascade")]


def test_one_prompt_and_all_of_them_are_asked_about_the_same_clips(
    tmp_path: Path, published_tiny: Path
) -> None:
    recipe = write_base(tmp_path, published_tiny, pairs=8)
    study("prompts", recipe, tmp_path / "out")
    rows = {
        path.parent.name.rpartition("-")[0]: [json.loads(line) for line in path.open()]
        for path in (tmp_path / "out" / "pairs").glob("*/*.jsonl")
    }
    assert len({tuple(row["id"] for row in these) for these in rows.values()}) == 1
    prompts = {name: {row["prompt"] for row in these} for name, these in rows.items()}
    assert len(prompts["one"]) == 1
    assert len(prompts["all"]) > 1


def test_too_few_common_pairs_are_one_sentence_and_nothing_is_trained(
    tmp_path: Path, published_tiny: Path
) -> None:
    recipe = write_base(tmp_path, published_tiny, pairs=17)
    with pytest.raises(DataError, match="16 pairs in common, and the study trains on 17"):
        study("loss", recipe, tmp_path / "out")
    assert not (tmp_path / "out" / "runs").exists()


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path, published_tiny: Path) -> None:
    recipe = write_base(tmp_path, published_tiny)
    run = run_desta("study", "loss", "--recipe", recipe, "--out", "/proc/none/out")
    assert run.returncode == 2, run.stderr
    assert "Traceback" not in run.stderr
    error, fix = run.stderr.strip().splitlines()[-2:]
    assert error.startswith("error: ")
    assert "/proc/none" in error
    assert fix.startswith("  fix: ")


def test_a_full_disk_is_one_sentence_and_the_study_goes_on_after_it(
    tmp_path: Path, published_tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = write_base(tmp_path, published_tiny)
    fsync, left = os.fsync, [40]

    def full(descriptor: int) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        told = end_of(patch, "study", "loss", "--recipe", recipe, "--out", tmp_path / "out")
    assert "No space left on device" in told
    assert "make room and give the command again" in told
    assert study("loss", recipe, tmp_path / "out")["outcomes"]


def end_of(patch: pytest.MonkeyPatch, *words: object) -> str:
    """Return what the program says before it ends with exit code 2."""
    said = io.StringIO()
    patch.setattr(sys, "argv", ["desta", *map(str, words)])
    with pytest.raises(SystemExit) as caught, contextlib.redirect_stderr(said):
        cli.main()
    assert caught.value.code == 2
    return said.getvalue()
