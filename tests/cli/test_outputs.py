"""Outputs that are no regular files: one sentence, before anything is read or loaded."""

import json
import os
from pathlib import Path

import pytest

from desta.errors import ConfigError, DataError
from support.commands import desta, run_afresh

# Nothing that a command reads is there: whoever reads first would say so.
FILES = {
    "ask": ["ask", "--jsonl", "nowhere.jsonl", "OUT", "--model", "nowhere"],
    "answer": ["answer", "nowhere.jsonl", "OUT", "--model", "nowhere"],
    "inspect": ["inspect", "nowhere", "--html", "OUT"],
    "report": ["report", "nowhere", "--out", "OUT"],
    "score": ["score", "nowhere", "--report", "OUT"],
    "probe's page": ["probe", "nowhere", "--report", "OUT"],
    "decontaminate": [
        *("decontaminate", "nowhere.jsonl", "--root", ".", "--against", "nowhere", "--out", "OUT"),
    ],
}
PLAN = {
    **{"benchmark": "mmau", "version": "1", "weights": None},
    **{"num_items": 1, "batch_size": 1, "systems": ["model"]},
}
FOLDERS = {
    "construct": ["construct", "nowhere.yaml", "--out", "OUT"],
    "describe": ["describe", "tuxpaint", "nowhere", "--out", "OUT"],
    "measure": ["measure", "nowhere.jsonl", "--root", ".", "--out", "OUT"],
    "eval": ["eval", "mmau", "--data", "nowhere", "--model", "nowhere", "--out", "OUT"],
    "probe": ["probe", "nowhere", "--out", "OUT"],
    "train": ["train", "nowhere.yaml", "--out", "OUT"],
    "export": ["export", "nowhere", "--parquet", "OUT"],
    "fetch": ["sources", "fetch", "tuxpaint", "--out", "OUT"],
}


def give(words: list[str], out: Path | str) -> Exception | None:
    done = desta(*[out if word == "OUT" else word for word in words])
    assert done.exit_code
    return done.exception


@pytest.mark.parametrize("verb", [*FILES, *FOLDERS])
@pytest.mark.parametrize("kind", ["fifo", "/dev/full", "/dev/null", "/dev/stdout"])
def test_a_pipe_or_a_device_is_no_output(verb: str, kind: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    if kind == "fifo":
        os.mkfifo(out)
    else:
        out.symlink_to(kind)
    error = give((FILES | FOLDERS)[verb], out)
    assert isinstance(error, ConfigError), error
    assert str(out) in error.message
    assert any(word in error.message for word in ("a pipe", "not a folder", "prints to"))


@pytest.mark.parametrize("verb", FILES)
def test_a_folder_is_no_file(verb: str, tmp_path: Path) -> None:
    error = give(FILES[verb], tmp_path)
    assert isinstance(error, ConfigError)
    assert "is a folder" in error.message


@pytest.mark.parametrize("verb", FOLDERS)
def test_a_file_is_no_folder(verb: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    for out in (path, path / "below"):
        assert isinstance(give(FOLDERS[verb], out), ConfigError)


@pytest.mark.parametrize("verb", [*FILES, *FOLDERS])
def test_a_url_is_no_output(verb: str) -> None:
    error = give((FILES | FOLDERS)[verb], "https://x.org/out")
    assert isinstance(error, DataError)
    assert "https://x.org/out is a URL" in error.message


def test_the_file_that_a_report_or_a_judge_writes_by_itself_is_looked_at_too(
    tmp_path: Path,
) -> None:
    os.mkfifo(tmp_path / "report.html")
    assert isinstance(desta("report", tmp_path).exception, ConfigError)
    os.mkfifo(tmp_path / "replies.jsonl")
    recipe = tmp_path / "judge.yaml"
    recipe.write_text(f"backbone: nowhere\ncache: {tmp_path}\n")
    (tmp_path / "plan.json").write_text(json.dumps(PLAN))
    error = desta("score", tmp_path, "--judge", recipe).exception
    assert isinstance(error, ConfigError)
    assert "replies.jsonl" in error.message


def test_a_shell_is_told_in_one_sentence(tmp_path: Path) -> None:
    for out in ("/dev/stdout", "/dev/full"):
        done = run_afresh("answer", tmp_path / "nowhere.jsonl", out)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(f"error: {out} is a pipe")
        assert "\n  fix: " in done.stderr
