"""A small data set to construct: twelve clips, and a backbone that counts characters."""

import hashlib
import json
import os
import resource
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from desta.construction.config import ClipsConfig, ConstructConfig
from desta.construction.pipeline import construct
from desta.construction.plan import Job, Planner
from desta.construction.survey import survey_clips
from desta.generators.scripted import ScriptedGenerator
from desta.model.backbone.sampling import Sampling
from desta.records import AudioTextPair, Clip, Segment, read_jsonl
from desta.shards import RESPONSES, shard_paths

NEVER = -1
LANGUAGES = ("French", "Russian", "Spanish")


def read_pairs(directory: Path) -> Iterator[AudioTextPair]:
    """Yield the pairs of a data set, in the order of its shards."""
    for path in shard_paths(directory):
        yield from map(AudioTextPair.from_json, read_jsonl(path))


def clip(number: int, **changes: Any) -> Clip:
    values: dict[str, Any] = {
        "id": f"c/{number}",
        "source": "c",
        "audio": f"{number}.wav",
        "duration": 1.0 + number,
        "domain": "speech",
        "segments": (Segment(start=0.0, end=1.0, text="word " * number),),
        "attributes": {"Language": LANGUAGES[number % 3]},
    }
    return Clip(**{**values, **changes})


def corpus(directory: Path, clips: Sequence[Clip]) -> ClipsConfig:
    path = directory / "clips.jsonl"
    path.write_text("".join(json.dumps(c.to_json()) + "\n" for c in clips))
    return ClipsConfig(path=path, root=Path("recordings"), prompts_per_clip=2)


def recipe(directory: Path) -> ConstructConfig:
    """Return a recipe with two prompts about each of twelve clips."""
    return ConstructConfig(
        clips=(corpus(directory, [clip(n) for n in range(12)]),),
        backbone="scripted",
        sampling=Sampling(temperature=0.05, max_new_tokens=40),
        batch_size=5,
        shard_rows=7,
    )


def speak(content: str) -> str:
    return f"I hear {len(content)} things."


def plan(config: ConstructConfig) -> list[Job]:
    return [job for _, jobs in Planner(config).plan(survey_clips(config)) for job in jobs or ()]


def contents(directory: Path) -> dict[str, bytes]:
    """Return the files that must be equal after an interruption: all but the journal."""
    names = {path.name for path in directory.iterdir()} - {RESPONSES}
    return {name: (directory / name).read_bytes() for name in names}


def construct_slowly(folder: Path, out: Path, filters: str) -> None:
    """Construct a data set of `folder/clips.jsonl` at a thousand responses a second.

    Args:
        folder: folder of the clips.
        out: directory of the data set.
        filters: their ids, separated by commas.
    """

    def answer(content: str) -> str:
        time.sleep(0.001)
        digest = hashlib.sha256(content.encode()).hexdigest()
        return "" if digest < "4" else f"I hear {digest}."  # a quarter is dropped

    config = ConstructConfig(
        clips=(ClipsConfig(path=folder / "clips.jsonl", root=folder, prompts_per_clip=4),),
        backbone="scripted",
        sampling=Sampling(temperature=0.05),
        filters=tuple(filters.split(",")),
        batch_size=1,  # 64 to a chunk, so that there are several chunks
        shard_rows=29,
    )
    construct(config, out, ScriptedGenerator(answer))


def construct_or_die(folder: Path, out: Path, filters: str, rename: int, limit: int | None) -> None:
    """Do so, but be killed before the rename or removal of that number; NEVER lets it live.

    A limit is the number of bytes that no file may grow beyond.
    """
    renamed = 0

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal renamed
        if event in ("os.rename", "os.remove", "os.rmdir") and str(out) in str(arguments[0]):
            if renamed == rename:
                os.kill(os.getpid(), signal.SIGKILL)
            renamed += 1

    if limit is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    sys.addaudithook(audit)
    sys.stdout.write("begun")
    sys.stdout.flush()
    construct_slowly(folder, out, filters)
