"""docs/guides/own_corpus.md: its table and recipes are written, its commands run and compared."""

import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from support.commands import run_desta
from support.construction import read_pairs

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/guides/own_corpus.md").read_text(encoding="utf-8")


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """What the owner has: 20 recordings, the table of the page, and its two recipes."""
    (tmp_path / "corpus/записи").mkdir(parents=True)
    (tmp_path / "corpus/опись.csv").write_text(blocks("csv")[0], encoding="utf-8")
    for name, recipe in zip(("corpus.yaml", "data.yaml"), blocks("yaml"), strict=True):
        (tmp_path / name).write_text(recipe, encoding="utf-8")
    for number in range(1, 21):
        noise = np.random.default_rng(number).uniform(-0.1, 0.1, 16_000 + 400 * number)
        path = tmp_path / f"corpus/записи/{number:03}.wav"
        soundfile.write(path, noise * number / 20, 8_000)
    (tmp_path / "benchmark").mkdir()
    shutil.copy(tmp_path / "corpus/записи/005.wav", tmp_path / "benchmark/dog.wav")
    return tmp_path


def desta(command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "COLUMNS": "100", "PYTHONPATH": str(ROOT)}
    return run_desta(*shlex.split(command), cwd=cwd, env=env)


def trimmed(text: str) -> list[str]:
    return [line.rstrip() for line in text.strip().splitlines()]


def test_the_commands_of_the_page_answer_as_it_says(place: Path) -> None:
    consoles = blocks("console")
    assert len(consoles) == 8
    for console in consoles:
        first, *expected = trimmed(console)
        result = desta(first.removeprefix("$ desta "), place)

        failed = expected[0].startswith("error: ")
        assert result.returncode == (2 if failed else 0), result.stderr
        said = trimmed(result.stderr)[-len(expected) :] if failed else trimmed(result.stdout)
        if expected[-1] == "...":
            expected.pop()
            said = said[: len(expected)]
        assert said == expected

    clips = [json.loads(line) for line in (place / "clips/clips.jsonl").open(encoding="utf-8")]
    assert len(clips) == 20
    assert clips[0]["attributes"] == {"Gender": "Female", "Emotion": "Happy", "Language": "Russian"}
    assert clips[-1]["attributes"] == {"Gender": "Male", "Language": "Russian"}
    assert clips[0]["segments"][0]["text"] == "Доброе утро, коллеги"
    assert not (place / "data").exists()

    measured = [json.loads(line) for line in (place / "measured/clips.jsonl").open("rb")]
    volumes = [clip["attributes"]["Volume"] for clip in measured]
    assert (volumes[0], volumes[-1]) == ("Very low", "Very high")
    pairs = list(read_pairs(place / "trial"))
    assert not any("005.wav" in pair.id for pair in pairs)
    assert all((place / c.audio).is_file() for p in pairs for m in p.messages for c in m.audios)
    assert "| announcements | 30 |" in (place / "trial/README.md").read_text(encoding="utf-8")
    assert "data:audio" in (place / "trial.html").read_text(encoding="utf-8")


def test_a_table_of_an_older_spreadsheet_is_refused_with_a_way_out(place: Path) -> None:
    table = place / "corpus/опись.csv"
    text = table.read_text(encoding="utf-8")
    table.write_bytes(text.encode("cp1251"))

    result = desta("describe custom corpus --recipe corpus.yaml --out clips", place)

    assert result.returncode == 2
    assert "is not UTF-8" in result.stderr
