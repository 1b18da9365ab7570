"""Construction that is killed at any moment and started again writes the bytes of one run.

The data set of one recipe is killed while it is made; then another recipe takes its place, and is
killed at that as well. The moments are drawn by lot, a quarter of them among the renames at the
end, which a timer seldom hits.
"""

import json
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from desta.records import Clip
from desta.shards import verify_shards
from support.construction import contents

CHILD = """
import hashlib, os, signal, sys, time
from pathlib import Path
from desta.construction.config import ClipsConfig, ConstructConfig
from desta.construction.pipeline import construct
from desta.generators.base import Sampling
from desta.generators.scripted import ScriptedGenerator

folder, out = map(Path, sys.argv[1:3])
filters, rename = sys.argv[3].split(","), int(sys.argv[4])
renamed = 0

def audit(event, arguments):
    global renamed
    if event in ("os.rename", "os.remove", "os.rmdir") and str(out) in str(arguments[0]):
        if renamed == rename:
            os.kill(os.getpid(), signal.SIGKILL)
        renamed += 1

def speak(content):
    time.sleep(0.001)
    digest = hashlib.sha256(content.encode()).hexdigest()
    return "" if digest < "4" else f"I hear {digest}."  # a quarter is dropped

config = ConstructConfig(
    clips=(ClipsConfig(path=folder / "clips.jsonl", root=folder, prompts_per_clip=4),),
    backbone="scripted",
    sampling=Sampling(temperature=0.05),
    filters=tuple(filters),
    batch_size=1,  # 64 to a chunk, so that there are several chunks
    shard_rows=29,
)
sys.addaudithook(audit)
print("begun", flush=True)
construct(config, out, ScriptedGenerator(speak))
"""

RECIPES = ("empty", "empty,cut_off")
NEVER = -1


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    clips = [
        Clip(
            id=f"c/{number}",
            source="c",
            audio=f"{number}.wav",
            duration=1.0 + number,
            domain="sound",
            attributes={"Sound class": f"Thing {number % 7}"},
        )
        for number in range(60)
    ]
    lines = [json.dumps(clip.to_json()) + "\n" for clip in clips]
    (tmp_path / "clips.jsonl").write_text("".join(lines))
    return tmp_path


def start(
    folder: Path,
    out: Path,
    filters: str,
    rename: int = NEVER,
    limit: Callable[[], None] | None = None,
) -> subprocess.Popen[str]:
    """Start a child; it kills itself before the rename of that number."""
    command = [sys.executable, "-c", CHILD, str(folder), str(out), filters, str(rename)]
    child = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, preexec_fn=limit
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "begun\n"
    return child


def kill_many(folder: Path, num_kills: int, seed: int) -> None:
    """Kill a first data set and one that takes its place, and compare with uninterrupted runs."""
    moments = random.Random(seed)
    out, before = folder / "killed", folder / "nothing"
    before.mkdir()
    for filters in RECIPES:
        whole = folder / filters
        shutil.copytree(before, whole)
        child = start(folder, whole, filters)
        began = time.monotonic()
        assert child.wait() == 0
        duration = time.monotonic() - began
        assert verify_shards(whole).num_dropped > 0

        num_killed = 0
        while num_killed < num_kills // 2:
            if not out.exists():
                shutil.copytree(before, out)
            if num_killed % 4 == 3:
                child = start(folder, out, filters, rename=moments.randrange(8))
            else:
                child = start(folder, out, filters)
                time.sleep(duration * moments.uniform(0.0, 0.6))
                child.kill()
            if child.wait() == -signal.SIGKILL:
                num_killed += 1
            else:  # it was done before that moment
                shutil.rmtree(out)
        assert start(folder, out, filters).wait() == 0
        assert contents(out) == contents(whole)
        before = whole


def test_killed_at_random_moments_the_bytes_are_those_of_one_run(folder: Path) -> None:
    kill_many(folder, num_kills=8, seed=0)


@pytest.mark.slow
def test_killed_at_fifty_random_moments_the_bytes_are_those_of_one_run(folder: Path) -> None:
    kill_many(folder, num_kills=50, seed=1)


@pytest.mark.slow
def test_killed_before_any_rename_the_bytes_are_those_of_one_run(folder: Path) -> None:
    """Both the first data set and the one that takes its place, before each change of a name."""
    for filters in RECIPES:
        assert start(folder, folder / filters, filters).wait() == 0
    for rename in range(64):
        out = folder / f"killed-{rename}"
        assert start(folder, out, RECIPES[0]).wait() == 0
        killed = start(folder, out, RECIPES[1], rename).wait() == -signal.SIGKILL
        assert start(folder, out, RECIPES[1]).wait() == 0
        assert contents(out) == contents(folder / RECIPES[1])
        if not killed:
            break
    assert 8 < rename < 63  # all of them were reached


def test_after_a_full_disk_the_bytes_are_those_of_one_run(folder: Path) -> None:
    assert start(folder, folder / "whole", RECIPES[0]).wait() == 0
    out = folder / "full"
    for size in (20_000, 60_000):  # no file grows beyond: the journal, or a shard

        def limit(size: int = size) -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

        assert start(folder, out, RECIPES[0], limit=limit).wait() == 1
        assert not (out / "manifest.json").exists()
    assert start(folder, out, RECIPES[0]).wait() == 0
    assert contents(out) == contents(folder / "whole")
