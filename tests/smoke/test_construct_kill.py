"""Construction that is killed at any moment and started again writes the bytes of one run.

The data set of one recipe is killed while it is made; then another recipe takes its place, and is
killed at that as well. The moments are drawn by lot, a quarter of them among the renames at the
end, which a timer seldom hits.
"""

import json
import random
import shutil
import signal
import time
from pathlib import Path

import pytest

from desta.records import Clip
from desta.shards import verify_shards
from support.construction import NEVER, construct_or_die, construct_slowly, contents
from support.forks import Fork

RECIPES = ("empty", "empty,cut_off")


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
    folder: Path, out: Path, filters: str, *, rename: int = NEVER, limit: int | None = None
) -> Fork:
    """Start a construction; it kills itself before the rename of that number."""
    child = Fork(construct_or_die, folder, out, filters, rename, limit)
    child.wait_for_output()
    return child


def kill_many(folder: Path, num_kills: int, seed: int) -> None:
    """Kill a first data set and one that takes its place, and compare with uninterrupted runs."""
    moments = random.Random(seed)
    out, before = folder / "killed", folder / "nothing"
    before.mkdir()
    for filters in RECIPES:
        whole = folder / filters
        shutil.copytree(before, whole)
        began = time.monotonic()
        construct_slowly(folder, whole, filters)
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
        construct_slowly(folder, folder / filters, filters)
    for rename in range(64):
        out = folder / f"killed-{rename}"
        assert start(folder, out, RECIPES[0]).wait() == 0
        killed = start(folder, out, RECIPES[1], rename=rename).wait() == -signal.SIGKILL
        assert start(folder, out, RECIPES[1]).wait() == 0
        assert contents(out) == contents(folder / RECIPES[1])
        if not killed:
            break
    assert 8 < rename < 63  # all of them were reached


def test_after_a_full_disk_the_bytes_are_those_of_one_run(folder: Path) -> None:
    construct_slowly(folder, folder / "whole", RECIPES[0])
    out = folder / "full"
    for size in (20_000, 60_000):  # no file grows beyond: the journal, or a shard
        assert start(folder, out, RECIPES[0], limit=size).wait() == 1
        assert not (out / "manifest.json").exists()
    assert start(folder, out, RECIPES[0]).wait() == 0
    assert contents(out) == contents(folder / "whole")
