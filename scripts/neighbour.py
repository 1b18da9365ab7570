"""Measure answering and training beside a process that keeps one core busy, and on an idle machine.

    python scripts/neighbour.py [--clips DIR] [--json FILE] [--spins 300000 2000] [--rounds 3]

OpenMP's threads wait for each other at the end of every operation: first they spin, for
`GOMP_SPINCOUNT` turns of a loop, then they sleep. A thread that spins while it waits for another
thread may keep the core from it. Every number of turns is measured in its own process, since
libgomp reads it when loaded: libgomp's default is 300,000, ours `desta.threads.SPIN_COUNT`.
Settings alternate within a round, each idle and then beside the neighbour; a figure is the median
of rounds. The neighbour runs in its own session, like a program of another terminal.

Prints a Markdown table: seconds, and the speed as a share of that of the first setting, idle. With
one core of two taken, a half is the fair share. Measures that are missing after `--limit` seconds
are "not done".
"""

import argparse
import json
import math
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from desta.environment import environment
from desta.errors import DestaError
from desta.progress import progress_bar
from desta.threads import SPIN_COUNT
from measure.clips import write_clips
from measure.rounds import cpu_name
from measure.settings import BUSY, QUICK, Scale

LIBGOMP_DEFAULT = 300_000  # turns, without the variable
SECONDS = 5  # length of the clips
IDLE, BESIDE = "idle", "beside a busy process"

Figures = dict[tuple[int, str, str], list[float]]
"""Seconds of all rounds by turns, neighbour and measure."""


def main() -> int:
    """Measure and print."""
    options = _parse()
    scale = QUICK if options.quick else BUSY
    try:
        with tempfile.TemporaryDirectory() as folder:
            write_clips(
                options.clips, Path(folder), count=scale.batch_sizes[-1] + 1, seconds=SECONDS
            )
            figures = measure(options, scale, folder)
    except DestaError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    facts = environment() | {
        "command": shlex.join(["python", *sys.argv]),
        "processor": cpu_name(),
        "model": f"{options.encoder} + {options.backbone}",
        "clips": f"{SECONDS} s, {options.clips or 'synthetic voices'}",
        "rounds": options.rounds,
    }
    shown = table(figures)
    print(shown, end="\n\n")
    for name, value in facts.items():
        print(f"- {name}: {value}")
    if options.json:
        rows = [
            {"spins": spins, "neighbour": neighbour, "measure": what, "seconds": values}
            for (spins, neighbour, what), values in figures.items()
        ]
        text = json.dumps({"facts": facts, "table": shown, "rows": rows}, indent=1)
        options.json.write_text(f"{text}\n", encoding="utf-8")
    return 0


def measure(options: argparse.Namespace, scale: Scale, clips: str) -> Figures:
    """Return the seconds of every round."""
    figures: Figures = {}
    total = options.rounds * len(options.spins) * 2
    with progress_bar("measuring", total=total) as advance:
        for _ in range(options.rounds):
            for spins in options.spins:
                for neighbour in (IDLE, BESIDE):
                    with busy_process(neighbour == BESIDE):
                        found = _measure_once(options, spins, clips)
                    for what, seconds in found.items():
                        figures.setdefault((spins, neighbour, what), []).append(seconds)
                    advance(f"{spins} turns, {neighbour}")
    return figures


@contextmanager
def busy_process(wanted: bool) -> Iterator[None]:
    """Keep one core busy in this context, if wanted."""
    if not wanted:
        yield
        return
    loop = f"import os\nwhile os.getppid() == {os.getpid()}: pass"  # ends with this process
    command = [sys.executable, "-c", loop]
    with subprocess.Popen(command, start_new_session=True) as process:
        try:
            yield
        finally:
            process.kill()


def _measure_once(options: argparse.Namespace, spins: int, clips: str) -> dict[str, float]:
    command = [sys.executable, "-m", "measure.waits", clips, options.encoder, options.backbone]
    command += ["--quick"] if options.quick else []
    here = str(Path(__file__).parent)
    path = os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH")]))
    variables = os.environ | {"GOMP_SPINCOUNT": str(spins), "PYTHONPATH": path}
    with subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, text=True) as process:
        try:
            printed, _ = process.communicate(timeout=options.limit)
        except subprocess.TimeoutExpired:
            process.kill()
            printed, _ = process.communicate()
        else:
            if process.returncode:
                raise DestaError("a measuring process failed", fix="read its message above")
    return dict(map(json.loads, printed.splitlines()))


def table(figures: Figures) -> str:
    """Return the table of seconds and of the speed relative to the first setting, idle."""
    settings = list(dict.fromkeys((spins, neighbour) for spins, neighbour, _ in figures))
    measures = list(dict.fromkeys(what for _, _, what in figures))
    first = settings[0]
    lines = [f"| GOMP_SPINCOUNT | | {' | '.join(measures)} |", "|---" * (len(measures) + 2) + "|"]
    for spins, neighbour in settings:
        cells = []
        for what in measures:
            seconds = median(figures.get((spins, neighbour, what), [math.inf]))
            share = median(figures[*first, what]) / seconds
            cells.append(f"{seconds:.3g} ({share:.0%})" if share else "not done")
        lines.append(f"| {spins:,} | {neighbour} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--clips", type=Path, metavar="DIR", help="recordings; else synthetic")
    parser.add_argument("--backbone", default="HuggingFaceTB/SmolLM2-135M-Instruct")
    parser.add_argument("--encoder", default="openai/whisper-base")
    parser.add_argument(
        "--spins", type=int, nargs="+", default=[LIBGOMP_DEFAULT, SPIN_COUNT], metavar="TURNS"
    )
    parser.add_argument("--rounds", type=int, default=3, help="of all settings in turn")
    parser.add_argument("--limit", type=float, default=200, help="seconds a process may take")
    parser.add_argument("--quick", action="store_true", help="very little, as a test")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error("--rounds is too small: give 1 or more")
    return options


if __name__ == "__main__":
    sys.exit(main())
