"""`desta chat --server`: the same conversation, with a model that a server has loaded."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from desta.cli.app import app
from desta.cli.remote import KEY_VARIABLE
from desta.inference.engine import Engine
from desta.serving.guard import Access
from support.serving import Served, serve_tiny

pytestmark = pytest.mark.serve

TOKEN = "a-token-of-24-characters"


def say(url: str, *lines: object, options: tuple[str, ...] = ()) -> tuple[int, str, str]:
    result = CliRunner().invoke(
        app,
        ("chat", "--server", url, "--max-tokens", "5", *options),
        input="".join(f"{line}\n" for line in lines),
    )
    return result.exit_code, result.stdout, result.stderr or str(result.exception)


def test_turns_and_clips_reach_the_server(
    served: Served, published_tiny: Path, tmp_path: Path
) -> None:
    clip, saved = published_tiny / "a.wav", tmp_path / "talk.jsonl"
    before = served.metric('desta_clips_total{cached="no"}')
    code, told, errors = say(f"{served.url}/v1", f"/add {clip}", "What?", "And?", f"/save {saved}")
    assert code == 0, errors
    turns = [json.loads(line) for line in saved.read_text().splitlines()]
    assert [turn["role"] for turn in turns] == ["user", "assistant", "user", "assistant"]
    assert turns[0]["audios"][0]["audio"] == str(clip)
    assert turns[1]["content"] in told.replace("> ", "")
    assert served.metric('desta_clips_total{cached="no"}') >= before


def test_an_answer_is_that_of_the_request_itself(served: Served) -> None:
    answer = served.chat("Hello?", max_tokens=5).json()["choices"][0]["message"]["content"]
    assert say(served.url, "Hello?")[1].replace("> ", "").strip() == answer


def test_a_token_is_taken_from_the_environment(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve_tiny(engine, access=Access((TOKEN,), None)) as closed:
        monkeypatch.delenv(KEY_VARIABLE, raising=False)
        assert "the server refuses the key" in say(closed.url, "Hello?")[2]
        monkeypatch.setenv(KEY_VARIABLE, TOKEN)
        assert say(closed.url, "Hello?")[0] == 0


def test_a_server_that_cannot_be_asked_is_one_sentence(served: Served) -> None:
    assert "cannot be asked" in say("http://127.0.0.1:9", "Hello?")[2]
    assert "is no URL" in say("127.0.0.1", "Hello?")[2]
    assert "--language cannot be used" in say(served.url, options=("--language", "en"))[2]


def test_a_refused_turn_does_not_end_the_conversation(served: Served) -> None:
    code, told, errors = say(served.url, "<|AUDIO|> What?", "Hello?")
    assert code == 0
    assert "error: " in errors
    assert told.splitlines()[-1].strip() == ">"
