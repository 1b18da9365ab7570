"""`desta measure` as a user gives it."""

import errno
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from desta.cli import main

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def desta(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Give a command in this process; return exit code, output and errors."""

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["desta", *arguments])
        with pytest.raises(SystemExit) as left:
            main()
        return left.value.code or 0, *capsys.readouterr()

    monkeypatch.setenv("COLUMNS", "200")
    return run


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Twenty-one recordings, one of them silent, and one that is missing."""
    lines = []
    for number in range(22):
        t = np.arange(16_000) / 16_000
        tone = sum(np.sin(2 * np.pi * (100 + 5 * number) * n * t) / n for n in range(1, 5))
        if number < 21:
            soundfile.write(tmp_path / f"{number}.wav", (0.1 * tone if number else 0 * t), 16_000)
        clip = {"id": f"s/{number}", "source": "s", "audio": f"{number}.wav", "duration": 1.0}
        lines.append(json.dumps(clip | {"domain": "speech"}))
    (tmp_path / "clips.jsonl").write_text("\n".join(lines))
    return tmp_path


def test_measure_tells_what_it_added_and_what_not(corpus: Path, desta: Run) -> None:
    command = ["measure", str(corpus / "clips.jsonl"), "--root", str(corpus)]
    command += ["--out", str(corpus / "out"), "--attributes", "pitch", "--workers", "1"]

    code, output, errors = desta(*command)

    assert code == 0, errors
    assert "22 clips; added Pitch to 20" in output
    assert "does not exist" in output
    assert "s/21" in output
    assert "Pitch: hardly any voiced sound" in output
    summary = json.loads(desta(*command, "--json")[1])
    assert sum(summary["attributes"]["Pitch"].values()) == 20
    assert summary == json.loads((corpus / "out" / "measure.json").read_text())
    assert {path.name for path in (corpus / "out").iterdir()} == {
        *("clips.jsonl", "thresholds.json", "measure.json"),
        *("measured.ndjson", ".measured.ndjson.lock"),
    }

    shutil.rmtree(corpus / "out")
    code, _, errors = desta(*command, "--thresholds", str(corpus / "clips.jsonl"))
    assert code == 2
    assert "holds no thresholds" in errors


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--attributes", "pich"], 'did you mean "pitch"?'),
        (["--label", "mood"], "is not a pseudo-label"),
        (["--label", "emotion=nowhere/at/all"], "neither a directory nor the id of a model"),
    ],
)
def test_a_wrong_option_is_one_sentence_and_a_fix(
    corpus: Path, desta: Run, options: list[str], message: str
) -> None:
    clips = str(corpus / "clips.jsonl")

    code, _, errors = desta(
        "measure", clips, "--root", str(corpus), "--out", str(corpus / "o"), *options
    )

    assert code == 2
    assert message in errors
    assert "  fix: " in errors


@pytest.mark.parametrize("share", ["nan", "-0.1", "5"])
def test_a_share_that_is_none_is_refused(corpus: Path, desta: Run, share: str) -> None:
    command = ["measure", str(corpus / "clips.jsonl"), "--root", str(corpus), "--attributes", "snr"]
    command += ["--out", str(corpus / "out"), "--workers", "1"]
    code, _, errors = desta(*command, f"--max-broken-share={share}")
    assert code == 2
    assert "is not a share of recordings" in errors
    assert not (corpus / "out").exists()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_or_quota_is_told_in_one_sentence(
    corpus: Path, desta: Run, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", full)
    command = ["measure", str(corpus / "clips.jsonl"), "--root", str(corpus), "--attributes", "snr"]
    left, _, errors = desta(*command, "--out", str(corpus / "out"), "--workers", "1")
    assert left == 2
    assert errors.splitlines()[-2:] == [
        f"error: {os.strerror(code)}: disk",
        "  fix: make room and give the command again",
    ]
