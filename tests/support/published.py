"""Results files in published formats."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from desta.evaluation.base import ReadOptions
from desta.evaluation.benchmarks.table import find_benchmark
from desta.evaluation.metrics import Report
from desta.evaluation.published import (
    read_results_files,
    score_published,
)

DATA = Path(__file__).parents[3] / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the real outputs are not here")


def write(path: Path, value: Any, *, lines: bool = False, packed: bool = False) -> Path:
    text = "\n".join(map(json.dumps, value)) if lines else json.dumps(value)
    path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    return path


def rule(number: int, response: str, flag: bool | None = None) -> dict[str, Any]:
    record: dict[str, Any] = {
        "audio_filepath": f"{number}.wav",
        "seed_transcript": "Hello",
        "instruction": "Write it in capitals.",
        "dataset": "D",
        "metric": "open",
        "instruction_id_list": ["change_case:english_capital"],
        "kwargs": [{}],
        "response": response,
    }
    return record if flag is None else {**record, "follow_all_instructions": flag}


def figures(benchmark: str, *paths: Path, **options: Any) -> dict[str, float]:
    published = read_results_files(find_benchmark(benchmark), paths, **options)
    found = score_published(published)["systems"][0]["headline"]
    return {name: figure["value"] for name, figure in found.items()}


def report(benchmark: str, *paths: Path, **options: Any) -> Report:
    row = find_benchmark(benchmark)
    assert row.published
    return row.aggregate(row.published.read(paths, ReadOptions(**options)))
