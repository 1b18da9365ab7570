"""Write every figure of README.md and docs/lab/speed.md from files of measurements.

    python scripts/readme.py [--demo demo] [--speed speed.json] [--proof proof.json]
                                [--neighbour neighbour.json] [--tiny]

Each option writes its own blocks, with the command and the commit of the figures; other blocks are
not changed.

    --demo   folder of `make demo`                       block `demo` of README.md
    --speed  file or files of `speed.py --json`          block `speed` of README.md, lab/speed.md
    --tiny   what comes with desta                       block `tiny` of README.md, guides/tiny.md
    --proof  file of `proof_of_conversion.py --json`     block `proof` of README.md
    --neighbour  file of `neighbour.py --json`           block `neighbour` of lab/speed.md
"""

import argparse
import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

from desta.errors import DataError, DestaError
from measure import table
from measure.blocks import origin, replace_block
from measure.scores import score_table

VERBS = {  # verb of the demo's commands -> its name in the README
    "sources": "fetching recordings",
    "models": "fetching models",
    "describe": "describing",
    "construct": "construction",
    "train": "training",
    "eval": "evaluation",
}


def main() -> int:
    """Write the requested blocks."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--demo", type=Path, metavar="DIR")
    parser.add_argument("--speed", type=Path, nargs="+", metavar="FILE", help="one or a part each")
    parser.add_argument("--proof", type=Path, metavar="FILE")
    parser.add_argument("--neighbour", type=Path, metavar="FILE")
    parser.add_argument("--tiny", action="store_true", help="scores of desta-tiny")
    parser.add_argument("--root", type=Path, default=Path(), help="where README.md and docs/ lie")
    options = parser.parse_args()
    readme = options.root / "README.md"
    try:
        if options.demo:
            replace_block(readme, "demo", demo_block(options.demo))
        if options.speed:
            runs = [read(path) for path in options.speed]
            replace_block(readme, "speed", "\n\n".join(map(speed_block, runs)))
            page = "\n\n".join(map(speed_page, runs))
            replace_block(options.root / "docs/lab/speed.md", "speed", page)
        if options.proof:
            replace_block(readme, "proof", proof_block(read(options.proof)))
        if options.neighbour:
            block = neighbour_block(read(options.neighbour))
            replace_block(options.root / "docs/lab/speed.md", "neighbour", block)
        if options.tiny:
            scores = read(options.root / "desta/assets/desta-tiny/scores.json")
            block = "\n".join(score_table(scores["scores"]))
            for page in (readme, options.root / "docs/guides/tiny.md"):
                replace_block(page, "tiny", block)
    except DestaError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def read(path: Path) -> Any:
    """Read a JSON file."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}", fix="measure first") from error


def demo_block(folder: Path) -> str:
    """Return the block with time, memory and results of the demo."""
    steps = read(folder / "demo.json")
    facts = read(folder / "run/environment.json") | {"command": "make demo"}
    seconds: dict[str, float] = defaultdict(float)
    for step in steps:
        seconds[step["command"].split()[1]] += step["seconds"]
    total = round(sum(seconds.values()))
    parts = ", ".join(f"{name} {seconds[verb]:.0f} s" for verb, name in VERBS.items())
    kept = dropped = 0
    for part in ("train", "validation"):
        manifest = read(folder / "data" / part / "manifest.json")
        kept += sum(shard["rows"] for shard in manifest["shards"])
        dropped += sum(entry["count"] for entry in manifest["dropped"].values())
    text = read(folder / "run/eval/text/scores.json")
    lines = [
        f"{origin(facts)}, {facts['cpus']} processors ({facts['machine']}): "
        f"{total // 60} min {total % 60} s after setting up, of which {parts}; largest process "
        f"{max(step['peak_gib'] for step in steps):.2f} GiB. Kept {kept:,} of {kept + dropped:,} "
        f"responses ({kept / (kept + dropped):.0%}).",
        "",
        *score_table(read(folder / "run/eval/attributes/scores.json")["scores"]),
        "",
        f"`desta eval text`: {text['equal']} of {text['total']} text-only answers equal the bare "
        "backbone's, token for token.",
    ]
    return "\n".join(lines)


def speed_block(figures: dict[str, Any]) -> str:
    """Return the comparison of both ends at the length at which every lever was measured."""
    facts = figures["facts"]
    parts = [
        f"{origin(facts)}; {facts['model']}; {facts['threads']} threads; clips: {facts['clips']}; "
        "every lever between the two and other lengths: [docs/lab/speed.md](docs/lab/speed.md).",
    ]
    for device, of_device in figures["devices"].items():
        rung = of_device["ladder_seconds"]
        rows = [row for row in of_device["rows"] if row["seconds"] == rung]
        parts += [f"On {device} ({of_device['processor']}):", table.comparison(rows)]
    return "\n\n".join(parts)


def speed_page(figures: dict[str, Any]) -> str:
    """Return all tables of measurements."""
    parts = [table.report(device, found) for device, found in figures["devices"].items()]
    facts = figures["facts"] | {
        f"{name}, {device}": value
        for device, found in figures["devices"].items()
        for name, value in found["facts"].items()
    }
    return "\n\n".join([*parts, "\n".join(f"- {name}: {value}" for name, value in facts.items())])


def proof_block(figures: dict[str, Any]) -> str:
    """Return the table of the conversion of the zoo's models."""
    lines = [origin(figures["facts"]) + ":", "", "| claim | measured | wanted |", "|---|---|---|"]
    lines += [f"| {r['claim']} | {r['measured']} | {r['wanted']} |" for r in figures["rows"]]
    return "\n".join(lines)


def neighbour_block(figures: dict[str, Any]) -> str:
    """Return the table of speed on an idle machine and beside a busy process."""
    facts = "\n".join(f"- {name}: {value}" for name, value in figures["facts"].items())
    return f"{figures['table']}\n\n{facts}"


if __name__ == "__main__":
    sys.exit(main())
