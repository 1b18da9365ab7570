"""The Python of README.md and docs/guides/python.md does what is said there, on the tiny model."""

import json
import re
import shutil
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pytest
import soundfile
import yaml

from desta.api import Figure, Scores, SystemScores, TrainSummary

ROOT = Path(__file__).parents[2]
SPLITS = ["train"] * 8 + ["test"] * 4


@pytest.fixture
def place(published_tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(published_tiny, tmp_path / "demo/run")
    shutil.copy(published_tiny / "a.wav", tmp_path / "clip.wav")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def corpus(place: Path, published_tiny: Path) -> None:
    """Recordings with a table, and a recipe for each step, on models that are tiny."""
    tones = {"Low": 200, "High": 2000}
    (place / "corpus").mkdir()
    rows = []
    for number in range(12):
        pitch = ("Low", "High")[number % 2]
        wave = np.sin(np.arange(8000 + 100 * number) * tones[pitch] * 2 * np.pi / 16_000) / 2
        soundfile.write(place / f"corpus/{number}.wav", wave, 16_000)
        rows.append(json.dumps({"file": f"{number}.wav", "tone": pitch, "split": SPLITS[number]}))
    (place / "corpus/table.jsonl").write_text("\n".join(rows), encoding="utf-8")
    clips = [{"path": "clips/clips.jsonl", "root": "corpus"}]
    backbone = str(published_tiny / "backbone")
    recipes = {
        "corpus": {
            "name": "tones",
            "table": "table.jsonl",
            "columns": {"audio": "file", "split": "split"},
            "attributes": {"Tone": "tone"},
            "domain": "sound",
            "licence": "none",
        },
        "data": {
            "backbone": backbone,
            "engine": {"kind": "scripted"},
            "clips": clips,
            "sampling": {"max_new_tokens": 8},
        },
        "train": {
            "model": {
                "backbone": backbone,
                "encoder": str(published_tiny / "openai/whisper-tiny"),
                "connector": {"num_query_tokens": 4, "num_layers": 2, "ffn_dim": 64},
            },
            "data": {"train": ["data"]},
            "steps": 2,
        },
        "eval": {"model": "run", "clips": clips, "attributes": {"Tone": []}},
    }
    for name, recipe in recipes.items():
        (place / f"{name}.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")


def run_blocks(page: str) -> dict[str, Any]:
    text = (ROOT / page).read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    blocks = re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert blocks
    for block in blocks:
        exec(compile(block, page, "exec"), names)
    return names


@pytest.mark.usefixtures("place")
def test_the_example_of_the_readme_answers_with_a_published_checkpoint(
    capsys: pytest.CaptureFixture[str],
) -> None:
    run_blocks("README.md")
    assert capsys.readouterr().out.strip()


@pytest.mark.usefixtures("corpus")
def test_every_block_of_the_page_does_what_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    names = run_blocks("docs/guides/python.md")
    printed = capsys.readouterr().out

    assert names["both"].text == names["output"].text * 2
    first, drawn, told, failed = names["replies"]
    assert len(first.answers) == 1
    assert len(drawn.answers) == 2
    assert all(len(alternatives) == 3 for _, alternatives in told.answers[0].logprobs)
    assert "nowhere.wav does not exist" in str(failed.error)
    assert [message.role for message in names["talk"].messages[1:]] == ["user", "assistant"] * 2
    assert "a message has 0 <|AUDIO|> but 1 audio clips ->" in printed
    assert len(names["description"].clips) == 12
    assert names["manifest"].num_kept == 8
    assert names["summary"]["steps"] == 2
    kept = json.loads(Path("run/eval/attributes/scores.json").read_text(encoding="utf-8"))
    assert names["scores"] == kept
    promised = get_type_hints(Scores).keys(), get_type_hints(SystemScores).keys()
    assert promised[0] <= kept.keys()
    assert all(promised[1] <= system.keys() for system in kept["systems"])
    figures = [figure for system in kept["systems"] for figure in system["figures"].values()]
    assert all(get_type_hints(Figure).keys() <= figure.keys() for figure in figures)
    assert get_type_hints(TrainSummary).keys() <= names["summary"].keys()
