"""Time answers and training steps in a process started by `neighbour.py`.

    python -m measure.waits CLIPS ENCODER BACKBONE [--quick]

Prints each measure with its seconds as a line of JSON, as soon as it is known.
"""

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from desta.model.config import ConnectorConfig, ModelConfig
from measure.answering import Side
from measure.clips import SPOKEN, ask
from measure.rounds import make_sides
from measure.settings import ANSWERING, BUSY, QUICK, TRAINING, Scale, ends
from measure.training import Job, train

STEP_PAIRS = 12  # pairs of a training step


def main() -> None:
    """Measure and print."""
    folder, encoder, backbone, *options = sys.argv[1:]
    scale = QUICK if "--quick" in options else BUSY
    connector = ConnectorConfig(num_layers=2)
    config = ModelConfig(backbone=backbone, encoder=encoder, connector=connector)
    paths = sorted(Path(folder).iterdir())
    for line in measure(config, paths, scale):
        print(json.dumps(line), flush=True)


def measure(config: ModelConfig, paths: list[Path], scale: Scale) -> Iterator[tuple[str, float]]:
    """Yield every measure with our settings and its seconds; repeated ones give the median."""
    *paths, other = paths
    [(_, _), (name, settings)] = ends(ANSWERING)
    side = make_sides(config, {name: settings}, "cpu", other_clip=other)[name]
    few = paths[: scale.num_alone]
    num_tokens, num_answers = scale.new_tokens, scale.batch_sizes[-1]
    yield (
        f"answer of {num_tokens} tokens",
        median(seconds(side, [path], SPOKEN, num_tokens) for path in few),
    )
    yield "first token, transcribed", median(seconds(side, [path], None, 1) for path in few)
    yield f"{num_answers} answers", seconds(side, paths[:num_answers], SPOKEN, num_tokens)
    settings = ends(TRAINING)[1][1]
    job = Job(config=config, settings=settings, scale=scale, paths=tuple(paths), device="cpu")
    yield f"training step of {STEP_PAIRS} pairs", STEP_PAIRS / train(job).samples_per_second


def seconds(side: Side, paths: list[Path], text: str | None, new_tokens: int) -> float:
    """Return the seconds for simultaneous questions about new clips."""
    side.reset()
    started = time.perf_counter()
    side.answer([ask(path, text) for path in paths], new_tokens)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
