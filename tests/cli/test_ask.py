"""Settings of `desta ask` reach the answer."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from desta.cli.app import app
from support.commands import desta


def test_seed_top_p_and_stop_are_heard(published_tiny: Path, tmp_path: Path) -> None:
    clip = published_tiny / "a.wav"
    asked = ("ask", clip, "What?", "--text", "a", "--model", published_tiny, "--json")

    def answer(*options: object) -> str:
        result = desta(*asked, "--max-tokens", 8, "--temperature", 1.5, *options)
        assert result.exit_code == 0, result.output
        return str(json.loads(result.stdout)["answer"])

    first = answer("--seed", 1)
    assert answer("--seed", 1) == first
    assert answer("--seed", 2) != first
    assert answer("--seed", 1, "--top-p", 1e-6) == answer("--seed", 2, "--top-p", 1e-6)
    end = first[len(first) // 2 :]
    before = first.partition(end)[0].strip()
    assert answer("--seed", 1, "--stop", "no such text", "--stop", end) == before

    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text('{"question": "Hello?"}\n')
    files = ("answer", source, target, "--model", published_tiny, "--max-tokens", 4)
    assert desta(*files, "--seed", 1).exit_code == 0
    assert "of other settings" in str(desta(*files, "--seed", 2).exception)
    assert desta(*files, "--seed", 1, "--retry").exit_code == 0
    for option in (["--retry"], ["--batch-size", 2]):
        assert f"{option[0]} needs a file of requests" in str(desta(*asked, *option).exception)
    assert "top_p = 0.0 is outside" in str(desta(*asked, "--top-p", 0).exception)


def test_a_file_is_still_answered_by_the_option_of_before(
    published_tiny: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source, new, old = (tmp_path / f"{name}.jsonl" for name in ("in", "new", "old"))
    source.write_text('{"question": "Hello?"}\n{"question": "What?", "max_new_tokens": 2}\n')
    options = ("--model", published_tiny, "--max-tokens", 4, "--batch-size", 1, "--json")
    told = desta("answer", source, new, *options)
    assert told.exit_code == 0, told.output
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert not warnings
    assert desta("ask", "--jsonl", source, old, *options).stdout == told.stdout
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warnings == ["desta ask --jsonl IN OUT is now called desta answer IN OUT"]
    assert old.read_bytes() == new.read_bytes()
    again = desta("ask", "--jsonl", source, old, *options, "--retry")
    assert json.loads(again.stdout)["already_done"] == 2
    for more, name in ((["What?"], "a question"), (["--text", "a"], "--text")):
        error = desta("ask", "--jsonl", source, old, *options, *more).exception
        assert f"{name} cannot be used with --jsonl" in str(error)


def test_a_chat_keeps_its_clips_when_a_command_is_mistyped(published_tiny: Path) -> None:
    lines = [f"/add {published_tiny / 'a.wav'}", "/add", "/hepl", "/add slip.wav", "What?", "/quit"]
    told = CliRunner().invoke(
        app,
        ["chat", "--model", str(published_tiny), "--max-tokens", "3", "--language", "en"],
        input="\n".join(lines),
    )
    assert told.exit_code == 0, told.output
    errors = [line for line in told.stderr.splitlines() if line.startswith("error: ")]
    assert errors == [
        "error: /add names no clip",
        "error: /hepl is no command",
        "error: slip.wav does not exist",
    ]
    assert "left out" not in told.stderr
