"""`desta eval` on a tiny random model: two benchmarks in their published layout, all systems."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from desta.errors import DataError, DestaError
from desta.evaluation.base import Result
from desta.evaluation.benchmarks.table import BENCHMARKS
from desta.evaluation.metrics import find
from desta.evaluation.scores import read_results
from support import commands

SYSTEMS = ("model", "no_audio", "oracle", "always_first", "majority")


@pytest.fixture
def sakura(tmp_path: Path) -> Path:
    """Two tracks of six clips, as its authors publish them."""
    root = tmp_path / "sakura"
    for track, labels in {"Animal": ("dog", "cat"), "Gender": ("female", "male")}.items():
        (root / "data" / track / "audio").mkdir(parents=True)
        table = {}
        for number in range(6):
            label = labels[number % 2]
            name = f"{label}{number}.wav"
            wave = 0.1 * np.sin(np.arange(4000 + 800 * number) * (0.1 + 0.05 * number))
            soundfile.write(root / "data" / track / "audio" / name, wave, 16000)
            answer = f"(a) {labels[0]}" if number % 2 == 0 else f"(b) {labels[1]}"
            question = f"Which is it? (a) {labels[0]} (b) {labels[1]}"
            table[f"data/{track}/audio/{name}"] = {
                "attribute_label": label,
                "single_instruction": question,
                "single_answer": answer,
                "multi_instruction": f"Think. {question}",
                "multi_answer": answer,
            }
        (root / "data" / track / "metadata.json").write_text(json.dumps(table))
    return root


@pytest.fixture
def mmau(tmp_path: Path) -> Path:
    root = tmp_path / "mmau"
    root.mkdir()
    rows = []
    for number in range(5):
        soundfile.write(root / f"{number}.wav", np.full(3000 + number, 0.1 * number), 16000)
        rows.append(
            {
                "id": f"q{number}",
                "audio_id": f"./{number}.wav",
                "question": "What is heard?",
                "choices": ["rain", "a car", "wind"][: 2 + number % 2],
                "answer": "rain",
                "task": "sound",
                "difficulty": "easy",
            }
        )
    (root / "mmau-test-mini.json").write_text(json.dumps(rows))
    return root


def desta(*words: object) -> Any:
    result = commands.desta(*words)
    if isinstance(result.exception, DestaError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result


def ask(benchmark: str, data: Path, model: Path, out: Path, *more: object) -> dict[str, Any]:
    systems = [word for name in SYSTEMS for word in ("--system", name)]
    common = ("--set", "transcribe=false", "--set", "max_new_tokens=4", "--set", "batch_size=4")
    words = ("eval", benchmark, "--data", data, "--model", model, "--out", out, "--json")
    scores: dict[str, Any] = json.loads(desta(*words, *systems, *common, *more).stdout)
    return scores


def system(scores: dict[str, Any], name: str) -> dict[str, Any]:
    return next(row for row in scores["systems"] if row["system"] == name)


def test_sakura_by_the_model_and_its_baselines(
    sakura: Path, published_tiny: Path, tmp_path: Path
) -> None:
    options = ("--set", "data.subsets=[Animal, Gender]")
    out = tmp_path / "out"
    scores = ask("sakura", sakura, published_tiny, out, *options)

    assert [row["system"] for row in scores["systems"]] == [*SYSTEMS, "chance"]
    assert {row["num_items"] for row in scores["systems"]} == {24}
    figure = "Average single (rule)"
    assert system(scores, "chance")["headline"][figure] == {
        "value": 0.5,
        "standard_error": 0.0,
        "metric": "rule",
        "num_scored": 12,
        "num_items": 12,
    }
    assert system(scores, "always_first")["headline"][figure]["value"] == 0.5
    results = read_results(out / "results.jsonl")
    assert len(results) == 24 * len(SYSTEMS)
    by_system: dict[str, list[Result]] = {}
    for result in results:
        by_system.setdefault(result.system, []).append(result)
    heard = {
        name: [any(m.get("audios") for m in r.prompt) for r in by_system[name]] for name in SYSTEMS
    }
    assert all(heard["model"])
    assert not any(given for name in SYSTEMS[1:] for given in heard[name])
    told = [r.prompt[-1]["content"] for r in by_system["oracle"]]
    assert sum("(Animal: dog, Duration: 0." in text for text in told) == 6
    assert any("(Gender: female" in text for text in told)
    plan = json.loads((out / "plan.json").read_text())
    assert plan["systems"] == list(SYSTEMS)
    assert len(plan["weights"]) == 64

    # the same command asks nobody again, and parts of it are the same run
    lines = (out / "results.jsonl").read_bytes()
    assert ask("sakura", sakura, published_tiny, out, *options) == scores
    parts = tmp_path / "parts"
    for part in ("1/2", "0/2"):
        with pytest.raises(json.JSONDecodeError):
            ask("sakura", sakura, published_tiny, parts, *options, "--shard", part)
    assert json.loads(desta("merge", parts, "--json").stdout) == scores
    assert (parts / "results.jsonl").read_bytes() == lines


def test_a_judges_reply_changes_the_score_of_a_stored_result(
    sakura: Path, published_tiny: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    ask("sakura", sakura, published_tiny, out, "--set", "subsets=[Animal]", "--limit", 3)
    benchmark = BENCHMARKS["sakura"]
    results = [r for r in read_results(out / "results.jsonl") if r.system == "always_first"]
    assert {r.score.values["judge"] for r in results} == {None}

    reply = "Explanation: it says so.\nJudgement: correct"
    judged = [benchmark.rescore(replace(r, replies=(reply,))) for r in results]

    report = benchmark.aggregate(judged)
    estimate = find(report.cells, "judge").estimate
    assert estimate is not None
    assert estimate.value == 1.0


def test_missing_audio_withholds_the_score_unless_it_is_allowed(
    mmau: Path, published_tiny: Path, tmp_path: Path
) -> None:
    clip = (mmau / "3.wav").read_bytes()
    (mmau / "3.wav").unlink()
    out = tmp_path / "out"
    with pytest.raises(DataError, match='1 of 5 questions have no answer of "model", for example'):
        ask("mmau", mmau, published_tiny, out, "--set", "systems=[model, majority]")

    stored = json.loads((out / "scores.json").read_text())
    assert system(stored, "model")["withheld"]
    assert system(stored, "model")["headline"] == {}
    assert system(stored, "majority")["headline"]["model_output"]["value"] == 1.0
    assert stored["skipped"] == [
        {"system": "model", "reason": "its audio is missing", "count": 1, "example": "q3"}
    ]
    allowed = json.loads(desta("score", out / "results.jsonl", "--allow-missing", "--json").stdout)
    assert system(allowed, "model")["withheld"] is None
    assert system(allowed, "model")["num_skipped"] == 1
    assert "model_output" in system(allowed, "model")["headline"]

    (mmau / "3.wav").write_bytes(clip)
    mended = ask("mmau", mmau, published_tiny, out, "--set", "systems=[model, majority]", "--retry")
    assert mended["skipped"] == []
    assert system(mended, "model")["num_skipped"] == 0


def test_text_systems_need_neither_audio_nor_transcriptions(
    mmau: Path, published_tiny: Path, tmp_path: Path
) -> None:
    for clip in mmau.glob("*.wav"):
        clip.unlink()
    scores = ask("mmau", mmau, published_tiny, tmp_path / "o", "--set", "systems=[no_audio]")
    assert system(scores, "no_audio")["num_skipped"] == 0


def test_the_bare_backbone_reads_speech_ifeval(published_tiny: Path, tmp_path: Path) -> None:
    data = tmp_path / "speech_ifeval"
    data.mkdir()
    record = {
        "audio_filepath": "a.wav",
        "textual_audio": "hello there",
        "dataset": "x",
        "instruction": "Answer in capitals.",
    }
    rule = {
        "metric": "accuracy",
        "label": "yes",
        "instruction_id_list": ["change_case:english_capital"],
        "kwargs": [{}],
    }
    lines = {
        "closed_ended_questions": record | rule,
        "creative_writing": record | rule | {"metric": "open"},
        "chain-of-thought": record | {"metric": "cot"},
    }
    for name, line in lines.items():
        (data / f"{name}.jsonl").write_text(json.dumps(line) + "\n")
    backbone = tmp_path / "backbone"
    shutil.copytree(published_tiny / "backbone", backbone)

    out = tmp_path / "out"
    words = ("eval", "speech_ifeval", "--data", data, "--backbone", backbone, "--out", out)
    desta(*words, "--system", "oracle", "--set", "max_new_tokens=4", "--json")

    results = read_results(out / "results.jsonl")
    assert {r.item.groups["section"] for r in results} == {
        "closed_ended",
        "creative_writing",
        "chain_of_thought",
    }
    contents = {r.prompt[-1]["content"] for r in results}
    assert contents == {"Speech Input: hello there\n\nAnswer in capitals."}
    scored = {r.item.groups["section"]: r.score.values for r in results}
    assert scored["closed_ended"]["followed"] in (0.0, 1.0)
    assert scored["chain_of_thought"]["followed"] is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("eval", "sakra", "--data", "x"), 'unknown benchmark "sakra"'),
        (("eval", "sakura"), "the data of sakura are not given"),
        (("eval", "sakura", "--data", "EMPTY"), "is not a file"),
        (("eval", "mmau", "--data", "EMPTY"), "holds 0 of the files"),
        (("eval", "dynamic_superb", "--data", "EMPTY"), "has no folder for 55 of 55 instances"),
        (("eval", "voicebench", "--data", "EMPTY"), "holds no test-"),
        (("eval", "speech_ifeval", "--data", "EMPTY"), "is missing"),
        (("eval", "sakura", "--data", "x", "--shard", "2/2"), "no part of a whole"),
        (("eval", "sakura", "--data", "x", "--system", "oracel"), 'unknown system "oracel"'),
        (("merge", "EMPTY"), "plan.json is missing"),
    ],
)
def test_wrong_input_is_one_sentence(words: tuple[str, ...], message: str, tmp_path: Path) -> None:
    given = [str(tmp_path) if word == "EMPTY" else word for word in words]
    out = () if words[0] == "merge" else ("--out", tmp_path / "out", "--set", "systems=[no_audio]")
    if "--system" in words:
        out = out[:2]
    with pytest.raises(DestaError) as raised:
        desta(*given, *out)
    assert message in raised.value.message
    assert "\n" not in raised.value.message


def test_the_same_item_twice_is_an_error(mmau: Path, published_tiny: Path, tmp_path: Path) -> None:
    path = mmau / "mmau-test-mini.json"
    rows = json.loads(path.read_text())
    path.write_text(json.dumps([*rows, rows[0]]))
    with pytest.raises(DataError, match="'q0' occurs 2 times"):
        ask("mmau", mmau, published_tiny, tmp_path / "out")
