"""Measure how construction on Ray scales with the number of workers.

    python scripts/cluster.py [--workers 1 2] [--rows 3000] [--milliseconds 20] [--json FILE]

Every response of the scripted engine costs a fixed number of rounds of SHA-256 in one thread, which
is calibrated first. Starting Ray and the workers is not timed: a run is timed from its first
response until its data set is finished. The data sets are compared byte for byte.
"""

import argparse
import hashlib
import json
import shutil
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from construct import synthetic_clips
from desta.construction.cluster import construct_on_cluster
from desta.construction.cluster_config import ClusterConfig
from desta.construction.config import ClipsConfig, ConstructConfig
from desta.generators.scripted import ScriptedGenerator
from desta.model.backbone.sampling import Sampling
from desta.shards import RESPONSES

PROMPTS_PER_CLIP = 2


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rows", type=int, default=3000, help="pairs to construct")
    parser.add_argument("--milliseconds", type=float, default=20, help="CPU time of a response")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--json", type=Path, help="write the figures there")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="cluster-"))
    rounds = calibrate(options.milliseconds / 1000)
    runs: list[dict[str, Any]] = []
    try:
        config = recipe(folder, options.rows, options.batch_size)
        for workers in options.workers:
            runs.append(
                {"workers": workers, **measure(folder, config, options.rows, rounds, workers)}
            )
    finally:
        shutil.rmtree(folder)
    first = runs[0]["seconds"]
    for run in runs:
        run["times faster"] = round(first / run["seconds"], 2)
    digests = {run.pop("bytes") for run in runs}
    figures = {"rows": options.rows, "same bytes": len(digests) == 1, "runs": runs}
    text = json.dumps(figures, indent=1)
    print(text)
    if options.json:
        options.json.write_text(f"{text}\n", encoding="utf-8")


def measure(
    folder: Path, config: ConstructConfig, num_rows: int, rounds: int, workers: int
) -> dict[str, Any]:
    """Construct the data set once; return the figures of the run."""
    out, began = folder / f"by-{workers}", folder / f"by-{workers}.began"
    load = partial(ScriptedGenerator, partial(speak, rounds=rounds, began=began))
    called, spent = time.time(), time.process_time()
    construct_on_cluster(config, out, load, ClusterConfig(workers=workers))
    ended, spent = time.time(), time.process_time() - spent
    first = float(began.read_text())
    digest = hashlib.sha256()
    for path in sorted(out.iterdir()):
        if path.name != RESPONSES:  # its pages are in the order of writing
            digest.update(path.read_bytes())
    return {
        "seconds": round(ended - first, 2),
        "seconds to the first answer": round(first - called, 2),
        "rows per second": round(num_rows / (ended - first), 1),
        "CPU seconds of this process": round(spent, 2),
        "bytes": digest.hexdigest(),
    }


def speak(content: str, *, rounds: int, began: Path) -> str:
    """Return a response after some rounds of hashing."""
    if not began.exists():
        began.write_text(str(time.time()))
    return f"I hear {work(content, rounds)}."


def work(content: str, rounds: int) -> str:
    """Return the hash of a text after some rounds."""
    digest = content.encode()
    for _ in range(rounds):
        digest = hashlib.sha256(digest).digest()
    return digest.hex()


def calibrate(seconds: float) -> int:
    """Return the number of rounds that take so many seconds of CPU time."""
    rounds = 200_000
    began = time.process_time()
    work("", rounds)
    return round(rounds * seconds / (time.process_time() - began))


def recipe(folder: Path, num_rows: int, batch_size: int) -> ConstructConfig:
    """Write synthetic clips, and return a recipe for them."""
    path = folder / "clips.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for clip in synthetic_clips(num_rows // PROMPTS_PER_CLIP):
            file.write(json.dumps(clip.to_json()) + "\n")
    return ConstructConfig(
        clips=(ClipsConfig(path=path, root=folder, prompts_per_clip=PROMPTS_PER_CLIP),),
        backbone="scripted",
        sampling=Sampling(temperature=0.05),
        filters=("empty", "cut_off"),
        max_dropped_share=1.0,
        batch_size=batch_size,
    )


if __name__ == "__main__":
    main()
