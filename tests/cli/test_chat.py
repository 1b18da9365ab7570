"""A conversation in the terminal: its commands, its ends, and what does not end it."""

import contextlib
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
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
