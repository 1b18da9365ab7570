"""A conversation in the terminal: its commands, its ends, and what does not end it."""

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from desta.cli.app import app

SLOW = """
import sys, time
from desta import cli
from desta.inference.conversation import Conversation

ask = Conversation.ask

def slowly(self, text, *rest):
    for piece in ask(self, text, *rest):
        yield piece
        if text == "slow":
            yield "..."
            time.sleep(60)
            sys.exit("nobody has stopped the answer")

Conversation.ask = slowly
cli.main()
"""


@pytest.fixture
def model(published_tiny: Path) -> tuple[str, ...]:
    return ("chat", "--model", str(published_tiny), "--max-tokens", "3")


def say(model: tuple[str, ...], *lines: object) -> tuple[str, str]:
    """Return what a conversation prints to stdout and to stderr; Ctrl-D ends it."""
    result = CliRunner().invoke(app, model, input="".join(f"{line}\n" for line in lines))
    assert result.exit_code == 0, result.output
    return result.stdout, result.stderr


def test_commands_and_empty_lines_do_not_reach_the_model(model: tuple[str, ...]) -> None:
    told, errors = say(model, "", "   ", "/help", "/hepl me", "/home/a.wav", "/add", "/add ")
    for command in ("/add PATH", "/help", "/quit", "Ctrl-C"):
        assert command in told
    assert told.count("> ") == 8
    assert errors.splitlines() == [
        "error: /hepl is no command",
        "  fix: /help lists them",
        "error: /home/a.wav is no command",
        "  fix: /help lists them",
        *2 * ["error: /add names no clip", "  fix: /add PATH"],
    ]


def test_a_clip_that_cannot_be_added_takes_no_other_with_it(
    model: tuple[str, ...], published_tiny: Path, tmp_path: Path
) -> None:
    (tmp_path / "text.wav").write_text("no sound")
    good = published_tiny / "a.wav"
    commands = [f"/add {name}" for name in (good, tmp_path / "no.wav", tmp_path / "text.wav")]
    commands += [f"/add {tmp_path}", "/add ~nobody-of-this-name/a.wav"]
    told, errors = say(model, *commands, "<|AUDIO|> What?", "What?")
    assert "~nobody-of-this-name/a.wav does not exist" in errors
    assert "no.wav does not exist" in errors
    assert errors.count("error: ") == 5
    # the good one waited still: the question holds a mark too many for it, and is left out with it
    assert "2 <|AUDIO|> but 1 audio clips" in errors
    assert errors.rstrip().endswith(f"left out: {good}")
    assert told.splitlines()[-1].strip() == ">"


def test_ctrl_c_stops_an_answer_and_then_the_conversation(
    model: tuple[str, ...], tmp_path: Path
) -> None:
    program = tmp_path / "program.py"
    program.write_text(SLOW)
    screen, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, str(program), *model],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
    )
    os.close(terminal)
    seen = b""

    def until(text: bytes) -> None:
        nonlocal seen
        while text not in seen:
            seen += os.read(screen, 1024)
        seen = seen.partition(text)[2]

    until(b"> ")
    os.write(screen, b"slow\n")
    until(b"...")
    time.sleep(0.2)  # it sleeps within the answer now
    process.send_signal(signal.SIGINT)
    until(b"never asked")
    until(b"> ")
    os.write(screen, b"hello\n")
    until(b"> ")
    while process.poll() is None:  # between the prompt and the reading a signal is not seen: again
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=5)
    assert process.returncode == 0
    os.close(screen)


def test_a_conversation_is_saved_with_its_clips_and_their_transcriptions(
    model: tuple[str, ...], published_tiny: Path, tmp_path: Path
) -> None:
    clip, as_json, as_text = published_tiny / "a.wav", tmp_path / "talk.jsonl", tmp_path / "talk.md"
    _, errors = say(
        model, "/system Be brief.", f"/add {clip}", "What?", f"/save {as_json}", f"/save {as_text}"
    )
    assert errors.splitlines() == [f"{as_json}: 3 turns", f"{as_text}: 3 turns"]
    turns = [json.loads(line) for line in as_json.read_text().splitlines()]
    assert [turn["role"] for turn in turns] == ["system", "user", "assistant"]
    assert turns[0]["content"] == "Be brief."
    assert turns[1]["audios"][0]["audio"] == str(clip)
    assert f"- `{clip}`: " in as_text.read_text()
    assert "<|AUDIO|>" not in as_text.read_text()


def test_a_system_prompt_is_shown_and_replaced(model: tuple[str, ...]) -> None:
    told, _ = say((*model, "--system", "One."), "/system", "/system Two.", "/system")
    assert told.replace("> ", "").split() == ["One.", "Two."]


def test_commands_that_cannot_be_followed_are_one_sentence_each(
    model: tuple[str, ...], tmp_path: Path
) -> None:
    _, errors = say(model, "/save", f"/save {tmp_path}", "/record soon")
    assert errors.count("error: ") == 3
    assert "/save names no file" in errors
    assert "soon is no time in seconds" in errors


def microphone(block: Any) -> ModuleType:
    """Return a stand-in for sounddevice; it records one block, or finds no device."""
    module = ModuleType("sounddevice")

    class PortAudioError(Exception):
        pass

    class InputStream:
        def __init__(self, rate: int, *, channels: int, dtype: str, callback: Any) -> None:
            if block is None:
                raise PortAudioError("no default input device")
            self.callback = callback

        def __enter__(self) -> None:
            self.callback(block, len(block), None, None)

        def __exit__(self, *_: Any) -> None:
            pass

    module.InputStream, module.PortAudioError = InputStream, PortAudioError  # type: ignore[attr-defined]
    return module


def test_what_the_microphone_records_is_a_clip_of_the_next_question(
    model: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    block = rng.normal(scale=0.1, size=(16_000, 1)).astype(np.float32)
    monkeypatch.setitem(sys.modules, "sounddevice", microphone(block))
    saved = tmp_path / "talk.jsonl"
    _, errors = say(model, "/record 0.01", "/record", "", "What?", f"/save {saved}")
    assert errors.count(": 1.0 s") == 2
    question = json.loads(saved.read_text().splitlines()[-2])
    samples, rate = soundfile.read(question["audios"][0]["audio"])
    assert (rate, len(question["audios"])) == (16_000, 2)
    assert np.allclose(samples, block[:, 0], atol=1e-4)


def test_without_a_microphone_one_sentence_says_so(
    model: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", microphone(None))
    _, errors = say(model, "/record 1")
    assert "there is no microphone here" in errors
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    _, errors = say(model, "/record 1")
    assert 'pip install "desta[record]"' in errors
