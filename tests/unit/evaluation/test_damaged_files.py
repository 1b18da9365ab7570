"""Whatever happens to a file of ours, a command says in one sentence what is wrong with it."""

import copy
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from desta.errors import DestaError
from desta.evaluation.benchmarks.table import BENCHMARKS
from desta.evaluation.journal import Shard
from desta.evaluation.scores import score_folder
from support.commands import desta
from support.results import make_result

VALUES = (
    None,
    True,
    -1,
    3,
    10**400,
    1e308,
    float("nan"),
    float("inf"),
    "",
    "x",
    [],
    [1],
    {},
    {"a": 1},
)
ITEMS: dict[str, list[dict[str, Any]]] = {
    "attributes": [
        {
            "id": f"held-out/Gender/{n}",
            "groups": {"task": "Gender", "group": "held-out"},
            "target": ("Male", "Female")[n % 2],
            "choices": ("Female", "Male"),
            "record": {},
            "output": "a man",
        }
        for n in range(4)
    ],
    "sakura": [
        {
            "id": f"Animal/{n}.wav/single",
            "groups": {"track": "Animal", "hop": "single"},
            "target": "(a) dog",
            "choices": ("(a) dog", "(b) cat"),
            "record": {"options": {"a": "dog", "b": "cat"}},
            "output": "(a)",
            "replies": ("Explanation: so.\nJudgement: correct",),
        }
        for n in range(4)
    ],
    "voicebench": [
        {
            "id": f"{subset}/test/0",
            "groups": {"subset": subset},
            "target": target,
            "choices": choices,
            "record": {"prompt": "Why?", **record},
            "output": "yes",
            "replies": replies,
        }
        for subset, target, choices, record, replies in (
            ("bbh", "Yes", ("yes", "no"), {"id": "navigate_1", "reference": "Yes"}, ()),
            ("commoneval", "", (), {}, ("4", "5", "4")),
            (
                "ifeval",
                "",
                (),
                {
                    "instruction_id_list": ["change_case:english_lowercase"],
                    "kwargs": [{}],
                    "key": 1,
                },
                (),
            ),
            ("openbookqa", "A", ("A", "B", "C", "D"), {"reference": "A"}, ()),
        )
    ],
    "speech_ifeval": [
        {
            "id": f"closed_ended/{n}",
            "groups": {"section": "closed_ended", "dataset": "D", "group": "change_case"},
            "target": "woman",
            "choices": (),
            "record": {
                "audio_filepath": f"{n}.wav",
                "instruction": "Who?",
                "dataset": "D",
                "metric": "accuracy",
                "label": "woman",
                "instruction_id_list": ["change_case:english_lowercase"],
                "kwargs": [{}],
            },
            "output": "a woman",
            "replies": ("Result: YES",),
        }
        for n in range(4)
    ],
}
PROMPT = ({"role": "user", "content": "<|AUDIO|>", "audios": [{"audio": "a.wav", "text": " "}]},)
SYSTEMS = ("model", "no_audio")


def make_evaluation(folder: Path, benchmark: str) -> Path:
    """Write the finished evaluation of two systems on four items, and the journals of two parts."""
    folder.mkdir(parents=True)
    asked = ITEMS[benchmark]
    plan = {
        "benchmark": benchmark,
        "version": "1",
        "weights": "abc",
        "num_items": len(asked),
        "batch_size": 2,
        "systems": SYSTEMS,
        "order": [item["id"] for item in asked],
        "config": {"data": "here"},
    }
    lines = [
        json.dumps(
            BENCHMARKS[benchmark]
            .rescore(make_result(system=system, question=f"{item['id']}?", prompt=PROMPT, **item))
            .to_json()
        )
        for system in SYSTEMS
        for item in asked
    ]
    (folder / "plan.json").write_text(json.dumps(plan))
    (folder / "environment.json").write_text(json.dumps({"command": "desta eval", "python": "3"}))
    (folder / "results.jsonl").write_text("".join(f"{line}\n" for line in lines))
    for number in range(2):
        part = [line for at, line in enumerate(lines) if at // 2 % 2 == number]
        path = folder / Shard(number=number, count=2).file
        path.write_text("".join(f"{line}\n" for line in part))
    if benchmark == "sakura":
        counts = dict.fromkeys(("num_replies", "num_in_form", "num_read"), 8)
        judge = {"id": "x", "revision": "1", "prompts": {}, "unread": [], "refused": {}, **counts}
        (folder / "judge.json").write_text(json.dumps(judge))
    score_folder(folder)
    return folder


def make_run(folder: Path) -> Path:
    """Write the directory of a training run with its data and its evaluation."""
    make_evaluation(folder / "eval" / "attributes", "attributes")
    data = make_data(folder / "data")
    recipe = {"data": {"train": [str(data)], "validation": None}, "model": {"encoder": "e"}}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    steps = [
        {"step": n, "loss": 1.0 / n, "seconds": n, "samples_per_second": 2.0} for n in (1, 2, 3)
    ]
    sample = {"prompt": "p", "target": "t", "generated": "g"}
    steps.append({"step": 3, "validation_loss": 0.5, "samples": [sample]})
    (folder / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in steps))
    (folder / "environment.json").write_text('{"command": "desta train", "versions": {"a": "1"}}')
    (folder / "config.json").write_text('{"target_layer_ids": [1, 3]}')
    weights = {"perception.connector.layer_weights": np.zeros((4, 2), np.float32)}
    save_file(weights, folder / "model.safetensors")
    return folder


def make_data(folder: Path) -> Path:
    """Write a data set of two pairs."""
    folder.mkdir(parents=True)
    rows = [
        {
            "id": str(n),
            "dataset": "d",
            "seed_description": "[00:00-00:02] (Dog)",
            "prompt": "What?",
            "response": "A dog.",
            "messages": [
                {
                    "role": "user",
                    "content": "<start_audio><|AUDIO|><end_audio> What?",
                    "audios": [{"audio": "a.wav", "text": " "}],
                }
            ],
        }
        for n in range(2)
    ]
    shard = "".join(f"{json.dumps(row)}\n" for row in rows).encode()
    (folder / "audio-00000.jsonl").write_bytes(shard)
    import hashlib

    manifest = {
        "backbone": "b",
        "revision": "1",
        "prompt_pool": "0",
        "sampling": {"temperature": 1.0},
        "recipe": "0",
        "shards": [
            {"name": "audio-00000.jsonl", "rows": 2, "sha256": hashlib.sha256(shard).hexdigest()}
        ],
        "dropped": {"too long": {"count": 1, "example": "7"}},
        "counts": {"d": {"ask": {"kept": 2, "dropped": 1}}},
        "faithfulness": {"ask": {"Sound": {"asked": 2, "right": 1, "kept": 1, "kept_right": 1}}},
        "num_unknown": 0,
        "format": 2,
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to every value inside another."""
    keys = (
        value.keys()
        if isinstance(value, dict)
        else range(len(value) if isinstance(value, list) else 0)
    )
    for key in keys:
        yield (*at, key)
        yield from places(value[key], (*at, key))


@st.composite
def damaged(draw: st.DrawFn, path: Path) -> bytes:
    """Return what a file may hold after an accident."""
    data = path.read_bytes()
    if draw(st.integers(0, 9)) == 0:
        return data[: draw(st.integers(0, len(data)))]
    lines = path.suffix == ".jsonl"
    text = data.decode()
    value = (
        yaml.safe_load(text)
        if path.suffix == ".yaml"
        else [json.loads(line) for line in text.splitlines()]
        if lines
        else json.loads(text)
    )
    ways = list(places(value))
    way = draw(st.sampled_from(ways))
    changed = copy.deepcopy(value)
    inner = changed
    for key in way[:-1]:
        inner = inner[key]
    if draw(st.booleans()):
        inner[way[-1]] = draw(st.sampled_from(VALUES))
    elif isinstance(inner, dict):
        del inner[way[-1]]
    else:
        inner.append(inner[way[-1]])
    if path.suffix == ".yaml":
        return yaml.safe_dump(changed).encode()
    if lines:
        return b"".join(f"{json.dumps(line)}\n".encode() for line in changed)
    return json.dumps(changed, indent=1).encode()


def check_told(*command: Any, page: Path | None = None) -> None:
    """Demand success without NaN, or one sentence with its fix."""
    done = desta(*command)
    if done.exit_code:
        assert isinstance(done.exception, DestaError | OSError), repr(done.exception)
        assert "\n" not in getattr(done.exception, "message", "")
    shown = done.stdout + (page.read_text(encoding="utf-8") if page and page.exists() else "")
    assert not re.search(r"(?<![\w.])[-+]?(nan|inf)(?![\w.])", shown, re.IGNORECASE), shown[:2000]


def try_damages(path: Path, examples: int, check: Callable[[], None]) -> None:
    whole = path.read_bytes()

    @settings(
        max_examples=examples,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(damaged(path))
    def run(data: bytes) -> None:
        path.write_bytes(data)
        try:
            check()
        finally:
            path.write_bytes(whole)

    check()
    run()


@pytest.mark.parametrize("benchmark", list(ITEMS))
@pytest.mark.parametrize("name", ["results.jsonl", "plan.json", "judge.json"])
def test_evaluations_are_compared_and_scored_or_refused(
    tmp_path: Path, benchmark: str, name: str
) -> None:
    whole = make_evaluation(tmp_path / "whole", benchmark)
    folder = make_evaluation(tmp_path / "other", benchmark)
    if not (folder / name).exists():
        pytest.skip("nobody judged")
    kept = (folder / "results.jsonl").read_bytes()

    def check() -> None:
        check_told("compare", whole, folder)
        check_told("score", folder, "--allow-missing")
        if name != "results.jsonl":
            (folder / "results.jsonl").write_bytes(kept)

    try_damages(folder / name, 5, check)


@pytest.mark.parametrize("benchmark", list(ITEMS))
@pytest.mark.parametrize("name", ["results-1-of-2.jsonl", "plan.json"])
def test_parts_are_merged_or_refused(tmp_path: Path, benchmark: str, name: str) -> None:
    folder = make_evaluation(tmp_path / "eval", benchmark)
    try_damages(folder / name, 5, lambda: check_told("merge", folder))


@pytest.mark.parametrize("name", ["scores.json", "results.jsonl", "plan.json", "environment.json"])
def test_evaluations_are_reported_or_refused(tmp_path: Path, name: str) -> None:
    folder = make_evaluation(tmp_path / "eval", "sakura")
    page = folder / "report.md"
    try_damages(folder / name, 3, lambda: check_told("report", folder, page=page))


@pytest.mark.parametrize(
    "name",
    [
        "recipe.yaml",
        "metrics.jsonl",
        "environment.json",
        "config.json",
        "data/manifest.json",
        "eval/attributes/scores.json",
        "eval/attributes/results.jsonl",
    ],
)
def test_runs_are_reported_or_refused(tmp_path: Path, name: str) -> None:
    folder = make_run(tmp_path / "run")
    page = folder / "report.html"
    try_damages(folder / name, 3, lambda: check_told("report", folder, page=page))


@pytest.mark.parametrize("name", ["manifest.json", "audio-00000.jsonl"])
def test_data_sets_are_inspected_or_refused(tmp_path: Path, name: str) -> None:
    folder = make_data(tmp_path / "data")
    if name != "manifest.json":
        (folder / "manifest.json").unlink()
    try_damages(folder / name, 8, lambda: check_told("inspect", folder))
