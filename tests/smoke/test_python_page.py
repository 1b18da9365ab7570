"""The Python of README.md, docs/tour.md and docs/guides/python.md runs, on the tiny model."""

import json
import re
import shutil
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pytest
import soundfile
import yaml

from desta.api import FigureRow, Scores, SystemScores, TrainSummary

ROOT = Path(__file__).parents[2]


@pytest.fixture
def place(published_tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(published_tiny, tmp_path / "demo/run")
    shutil.copy(published_tiny / "a.wav", tmp_path / "clip.wav")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def corpus(place: Path, published_tiny: Path) -> None:
    """Recordings as docs/tutorial.md wants them, and its recipes on models that are tiny."""
    for number in range(1, 13):
        for language, pitch in (("fr", 200), ("ru", 2000)):
            clip = place / f"corpus/{language}/{number}.wav"
            clip.parent.mkdir(parents=True, exist_ok=True)
            wave = np.sin(np.arange(8000 + 100 * number) * pitch * 2 * np.pi / 16_000) / 2
            soundfile.write(clip, wave, 16_000)
    rows = [
        f"{language}/{number}.wav,{language},{'train' if number <= 8 else 'test'}"
        for language in ("fr", "ru")
        for number in range(1, 13)
    ]
    table = "\n".join(["file,language,split", *rows, "fr/gone.wav,fr,train"])
    (place / "corpus/table.csv").write_text(table, encoding="utf-8")
    backbone = str(published_tiny / "backbone")
    tiny: dict[str, dict[str, Any]] = {
        "corpus": {},
        "data": {
            "backbone": backbone,
            "engine": {"kind": "scripted", "answer": "A woman speaks French."},
        },
        "train": {
            "model": {
                "backbone": backbone,
                "encoder": str(published_tiny / "openai/whisper-tiny"),
                "connector": {"num_query_tokens": 4, "num_layers": 2, "ffn_dim": 64},
            },
            "steps": 2,
        },
        "eval": {},
    }
    written = blocks("docs/tutorial.md", "yaml")
    for (name, changes), text in zip(tiny.items(), written, strict=True):
        recipe = yaml.safe_load(text) | changes
        (place / f"{name}.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")


def blocks(page: str, kind: str) -> list[str]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{kind}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def run_blocks(page: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    code = blocks(page, "python")
    assert code
    for block in code:
        exec(compile(block, page, "exec"), names)
    return names


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize("page", ["README.md", "docs/tour.md"])
def test_a_short_example_answers_with_a_published_checkpoint(
    page: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run_blocks(page)
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
    assert len(names["description"].clips) == 24
    assert "24 {'does not exist': 1}" in printed
    manifest = names["manifest"]
    assert (manifest.num_kept, manifest.num_dropped) == (32, 32)  # half of them are not French
    assert names["summary"]["steps"] == 2
    kept = json.loads(Path("run/eval/attributes/scores.json").read_text(encoding="utf-8"))
    assert names["scores"] == kept
    promised = get_type_hints(Scores).keys(), get_type_hints(SystemScores).keys()
    assert promised[0] <= kept.keys()
    assert all(promised[1] <= system.keys() for system in kept["systems"])
    reason = get_type_hints(SystemScores)["withheld"]
    assert all(isinstance(system["withheld"], reason) for system in kept["systems"])
    figures = [figure for system in kept["systems"] for figure in system["headline"].values()]
    assert all(get_type_hints(FigureRow).keys() <= figure.keys() for figure in figures)
    assert get_type_hints(TrainSummary).keys() <= names["summary"].keys()
