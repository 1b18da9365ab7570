"""Measure opening, shuffling and resuming of a data set of the published size.

    python scripts/data_scale.py [--rows 5000000] [--out DIR] [--json FILE]

Writes synthetic rows in the published schema under the published file names, then runs each phase
in a fresh process, so that time and memory are its own:

    index    the first opening, which converts the shards to memory-mapped Arrow
    open     a later opening up to the first batch of token ids, shuffled
    resume   the same from row 3,000,000 of the first epoch (or 60 % of fewer rows)

The data are written to a temporary folder inside --out, which is removed at the end. Memory is the
peak of anonymous resident memory, that is, without pages of files. All rows name one recording of a
tenth of a second, whose header is read like that of any other.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

NAMES = [f"{kind}.{number}.jsonl" for kind in ("audio", "speech") for number in range(10)]
TARGETS = {"open": (20.0, 2.0), "resume": (10.0, 2.0)}  # seconds, GiB
CHUNK_ROWS = 1024
RESUME_SHARE = 0.6
WORDS = ("the", "a", "calm", "voice", "says", "that", "it", "was", "late", "nobody", "had", "come")


def main() -> None:
    """Write the data, measure every phase, print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--out", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--json", type=Path, help="write the table there as JSON")
    parser.add_argument("--keep", action="store_true", help="do not remove the data")
    parser.add_argument("--phase", choices=["index", "open", "resume"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.phase:
        print(json.dumps(measure(arguments.phase, arguments.out, arguments.rows)))
        return
    arguments.out.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="data-scale-", dir=arguments.out))
    try:
        table = measure_phases(folder, arguments.rows)
    finally:
        if arguments.keep:
            print(f"the data are in {folder}", file=sys.stderr)
        else:
            shutil.rmtree(folder)
    print(f"{arguments.rows:,} rows\n\n| phase | seconds | target | GiB | target |")
    print("|---|---|---|---|---|")
    for row in table:
        seconds, gib = TARGETS.get(row["phase"], ("", ""))
        print(f"| {row['phase']} | {row['seconds']:.1f} | {seconds} | {row['gib']:.2f} | {gib} |")
    if arguments.json:
        arguments.json.write_text(json.dumps({"rows": arguments.rows, "phases": table}, indent=2))


def measure_phases(folder: Path, num_rows: int) -> list[dict[str, Any]]:
    """Write the rows and run every phase in a process of its own."""
    write_rows(folder / "data", num_rows)
    table = []
    for phase in ("index", "open", "resume"):
        command = [sys.executable, __file__, "--phase", phase]
        command += ["--rows", str(num_rows), "--out", str(folder)]
        answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        table.append({"phase": phase, **json.loads(answer.stdout.splitlines()[-1])})
    return table


def write_rows(directory: Path, num_rows: int) -> None:
    """Write shards with rows like those of DeSTA-AQA5M."""
    import numpy as np
    import soundfile

    directory.mkdir(parents=True, exist_ok=True)
    soundfile.write(directory / "clip.wav", np.zeros(1600, dtype=np.float32), 16_000)
    draw = random.Random(0)
    texts = [" ".join(draw.choices(WORDS, k=draw.randint(8, 60))) for _ in range(1000)]
    for number, name in enumerate(NAMES):
        with (directory / name).open("w") as file:
            for index in range(number, num_rows, len(NAMES)):
                file.write(json.dumps(make_row(index, draw, texts)) + "\n")


def make_row(index: int, draw: random.Random, texts: list[str]) -> dict[str, Any]:
    """Return one audio-text pair in the published schema."""
    text, prompt = draw.choice(texts)[:80], draw.choice(texts)[:60]
    return {
        "id": f"{index:07d}",
        "dataset": "synthetic",
        "seed_description": f"[00:00-00:05] {text} (Gender: Female, Emotion: Happy, Duration: 5s)",
        "prompt": prompt,
        "response": draw.choice(texts),
        "messages": [
            {"role": "system", "content": "Focus on the audio clips and instructions."},
            {
                "role": "user",
                "content": f"<start_audio><|AUDIO|><end_audio>\n\n{prompt}",
                "audios": [{"audio": "clip.wav", "text": text}],
            },
        ],
    }


def measure(phase: str, out: Path, num_rows: int) -> dict[str, float]:
    """Run one phase in this process; return its duration in seconds and its memory in GiB."""
    os.environ["HF_DATASETS_CACHE"] = str(out / "cache")
    peak = 0.0
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.05):
            peak = max(peak, anonymous_gib())

    from desta.data.dataset import PairDataset
    from desta.data.sampling import Position

    tokenizer = find_tokenizer()  # not timed: a run has loaded its model before
    watcher = threading.Thread(target=watch)
    watcher.start()
    started = time.perf_counter()
    rows = PairDataset([out / "data"])
    assert len(rows) == num_rows
    if phase != "index":
        chunk = round(num_rows * RESUME_SHARE) // CHUNK_ROWS if phase == "resume" else 0
        first = next(first_batches(rows, tokenizer, out / "data", Position(chunk=chunk)))
        assert first
    seconds = time.perf_counter() - started
    done.set()
    watcher.join()
    return {"seconds": seconds, "gib": peak}


def first_batches(
    rows: Any, tokenizer: Any, audio_root: Path, start: Any
) -> Iterator[list[list[int]]]:
    """Yield batches of token ids from a position in the epoch, as in a training run."""
    from desta.data.dataset import Example, ExampleReader
    from desta.data.layout import Layout
    from desta.data.sampling import BucketSampler
    from desta.records import LOCATOR

    layout = Layout(tokenizer, num_query_tokens=64, locator=LOCATOR)
    reader = ExampleReader(layout, audio_root=audio_root, max_text_tokens=100, max_tokens=512)
    sampler = BucketSampler(
        len(rows),
        lambda row: reader.length(rows[row]),
        token_budget=2048,
        chunk_rows=CHUNK_ROWS,
    )
    for chosen, _ in sampler.batches(start):
        read = [reader.read(rows[row]) for row in chosen]
        yield [example.tokens.ids for example in read if isinstance(example, Example)]


def find_tokenizer() -> Any:
    """Return the tokenizer of the tests, which needs no download."""
    from transformers import AutoTokenizer

    folder = Path(__file__).parents[1] / "tests" / "parity" / "published_tiny" / "backbone"
    return AutoTokenizer.from_pretrained(folder)


def anonymous_gib() -> float:
    """Return the anonymous resident memory in GiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) / 2**20
    raise RuntimeError("this system does not report RssAnon")


if __name__ == "__main__":
    main()
