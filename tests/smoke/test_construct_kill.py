"""Construction that is killed at any moment and started again writes the bytes of one run."""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from desta.records import Clip
from desta.shards import verify

NUM_CLIPS = 60
BATCH = 4

CHILD = """
import hashlib, sys, time
from pathlib import Path
from desta.construction.config import ClipsConfig, ConstructConfig
from desta.construction.pipeline import construct
from desta.llm.base import Sampling
from desta.llm.scripted import ScriptedGenerator

def speak(content):
    time.sleep(0.004)
    digest = hashlib.sha256(content.encode()).hexdigest()
    return "" if digest < "4" else f"I hear {digest}."  # a quarter is dropped

folder, out = map(Path, sys.argv[1:])
config = ConstructConfig(
    clips=(ClipsConfig(path=folder / "clips.jsonl", root=folder, prompts_per_clip=4),),
    backbone="scripted",
    sampling=Sampling(temperature=0.05),
    batch_size=BATCH,
    shard_rows=9,
)
print("begun", flush=True)
construct(config, out, ScriptedGenerator(speak))
""".replace("BATCH", str(BATCH))


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
        for number in range(NUM_CLIPS)
    ]
    lines = [json.dumps(clip.to_json()) + "\n" for clip in clips]
    (tmp_path / "clips.jsonl").write_text("".join(lines))
    return tmp_path


def start(folder: Path, out: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", CHILD, str(folder), str(out)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "begun\n"
    return child


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_killed_at_five_random_moments_the_bytes_are_those_of_one_run(folder: Path) -> None:
    child = start(folder, folder / "whole")
    began = time.monotonic()
    assert child.wait() == 0
    duration = time.monotonic() - began
    whole = contents(folder / "whole")
    assert verify(folder / "whole").num_dropped > 0

    moments = random.Random(0)
    num_killed = 0
    out = folder / "killed"
    for _ in range(5):
        child = start(folder, out)
        time.sleep(duration * moments.uniform(0.02, 0.18))
        child.kill()
        num_killed += child.wait() == -signal.SIGKILL
    unfinished = not (out / "manifest.json").exists()
    assert start(folder, out).wait() == 0

    assert num_killed == 5
    assert unfinished
    assert contents(out) == whole


@pytest.mark.parametrize("lost", [1, 2, 5])
def test_killed_while_shards_are_written_nothing_is_left_over(folder: Path, lost: int) -> None:
    """The states between the last batch and the manifest, which a timer seldom hits."""
    assert start(folder, folder / "whole").wait() == 0
    whole = contents(folder / "whole")

    child = start(folder, folder / "killed")
    out = folder / "killed"
    while not list(out.glob("audio-*.jsonl")) and child.poll() is None:
        time.sleep(0.0005)
    time.sleep(0.001 * lost)
    child.kill()
    child.wait()
    assert start(folder, out).wait() == 0

    assert contents(out) == whole
