"""The whole loop on real recordings with small real models: the commands a user would type.

Read `STEPS` as the tutorial. Every step is a command of its own, can be run by hand from the same
folder, and is skipped by itself where its result is there already.
"""

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import typer

from desta.errors import ConfigError, DestaError
from desta.evaluation.baselines import title_of
from desta.files import write_atomic

OUT = Path("demo")
RECIPES = Path("recipes/demo")
CORPORA = OUT / "corpora"
_SOURCES = ("tuxpaint", "asterisk", "tuxpaint-sounds", "sonic-pi")
_HELD_OUT = "asterisk"  # other speakers, another room, 8 kHz: the model never trains on them
_MODELS = "openai/whisper-base HuggingFaceTB/SmolLM2-135M-Instruct"
_CLIP = CORPORA / "usr/share/tuxpaint/stamps/seasonal/clover_desc_fr.ogg"  # of the test split

STEPS = (
    f"desta sources fetch {' '.join(_SOURCES)} --out {CORPORA}",
    f"desta models fetch {_MODELS}",
    *(
        f"desta describe {name} {CORPORA} --out {OUT}/clips/{name}"
        + (" --split test" if name == _HELD_OUT else "")
        for name in _SOURCES
    ),
    f"desta construct {RECIPES}/data.yaml --out {OUT}/data/train",
    f"desta construct {RECIPES}/data.yaml --out {OUT}/data/validation "
    "--set split=validation --set clips.0.per_value.Language=8",
    f"desta train {RECIPES}/train.yaml --out {OUT}/run",
    f"desta eval attributes --recipe {RECIPES}/eval.yaml",
    f"desta eval text --recipe {RECIPES}/text.yaml",
    f'desta ask {_CLIP} "Which language do you hear?" --model {OUT}/run',
    f"desta report {OUT}/run",
)


@dataclass(frozen=True)
class Step:
    """Cost of one command."""

    command: str
    seconds: float
    peak_gib: float
    """Largest resident memory of the process."""


def run_demo(corpora: Path | None) -> None:
    """Run all steps in the current folder, and print what they took and found.

    Args:
        corpora: unpacked packages to use instead of fetching them.

    Raises:
        ConfigError: `corpora` is no folder, or one that another demo has filled is in its place.
        DestaError: a step failed.
    """
    _bring_recipes()
    if corpora is not None:
        _use(corpora)
    if corpora is None and CORPORA.is_symlink():
        CORPORA.unlink()  # of an earlier demo: packages must not be unpacked into that folder
    log = OUT / "demo.json"
    before = {step["command"]: Step(**step) for step in _read(log)} if log.is_file() else {}
    costs, steps = dict(before), []
    for command in STEPS:
        if corpora is not None and command.startswith("desta sources fetch"):
            continue
        typer.secho(f"\n$ {command}", bold=True)
        step = _run(command)
        if command not in before or step.seconds > before[command].seconds:
            costs[command] = step  # not one that found its result there
        steps.append(costs[command])
        known = [asdict(costs[name]) for name in STEPS if name in costs]
        write_atomic(log, f"{json.dumps(known, indent=2)}\n".encode())
    _print(steps)


def _bring_recipes() -> None:
    """Put the recipes of the demo here, if the folder is not the project's own."""
    if RECIPES.is_dir():
        return
    packaged = Path(__file__).parent / "assets/demo"  # in a wheel; else the project is around it
    shutil.copytree(packaged if packaged.is_dir() else Path(__file__).parents[1] / RECIPES, RECIPES)


def _use(corpora: Path) -> None:
    if not corpora.is_dir():
        raise ConfigError(f"{corpora} is not a folder", fix="give the folder of unpacked corpora")
    OUT.mkdir(exist_ok=True)
    if CORPORA.is_symlink():
        CORPORA.unlink()
    if CORPORA.exists():
        raise ConfigError(f"{CORPORA} is there already", fix=f"remove it to use {corpora}")
    CORPORA.symlink_to(corpora.resolve())


def _run(command: str) -> Step:
    """Run a command in a process of its own, whose peak memory can be measured."""
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "desta.cli", *shlex.split(command)[1:]])
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise DestaError(
            f"the demo stopped: `{command}` ended with exit code {process.returncode}",
            fix="mend what it says above and run the demo again; it goes on from here",
        )
    return Step(command, time.perf_counter() - started, usage.ru_maxrss / 2**20)


def _print(steps: list[Step]) -> None:
    typer.secho("\nWhat it took", bold=True)
    for step in steps:
        typer.echo(f"{step.seconds:7.0f} s {step.peak_gib:6.2f} GiB  {step.command}")
    total = sum(step.seconds for step in steps)
    peak = max(step.peak_gib for step in steps)
    typer.echo(f"{total:7.0f} s {peak:6.2f} GiB  all, and the largest")

    typer.secho("\nWhat it found", bold=True)
    for directory in (OUT / "data" / "train", OUT / "data" / "validation"):
        manifest = _read(directory / "manifest.json")
        kept = sum(shard["rows"] for shard in manifest["shards"])
        dropped = sum(entry["count"] for entry in manifest["dropped"].values())
        typer.echo(f"{directory}: kept {kept} of {kept + dropped} responses")
    for cell in _read(OUT / "run" / "eval" / "attributes" / "scores.json")["scores"]:
        if estimate := cell.get("balanced_accuracy"):
            typer.echo(
                f"{cell['task']}, {cell['group']}, {title_of(cell['system'])}: balanced accuracy "
                f"{estimate['value']:.1%} ± {estimate['standard_error']:.1%}"
            )
    text = _read(OUT / "run" / "eval" / "text" / "scores.json")
    typer.echo(
        f"text-only answers equal to the bare backbone's: {text['equal']} of {text['total']}"
    )
    typer.echo(f"report: {OUT / 'run' / 'report.html'}")


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
