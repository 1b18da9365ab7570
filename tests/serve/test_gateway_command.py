"""`desta serve --vllm` and `--upstream`, as a user starts them."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from desta.errors import ConfigError
from support.chat_parts import clip_part, text_part
from support.commands import desta, start_desta
from support.forks import Fork
from support.serving import wait_until

pytestmark = pytest.mark.serve

TESTS = Path(__file__).parents[1]
_SERVER = """
import os, sys

import uvicorn
from support.text_server import TextServer

from desta.inference.engine import Engine
from desta.model.checkpoint import load

print("runs as", os.getpid(), flush=True)
options = dict(zip(sys.argv[1:], sys.argv[2:]))
server = TextServer(Engine(load({model!r}, dtype="float32")), name=options["--served-model-name"])
server.key = os.environ["VLLM_API_KEY"]
uvicorn.run(server.app, host=options["--host"], port=int(options["--port"]), log_level="error")
"""


class Command:
    """The command, its text server, and a client of it."""

    def __init__(self, process: Fork, log: Path) -> None:
        self.process = process
        wait_until(lambda: "serving at" in process.stderr or process.poll() is not None, seconds=60)
        assert process.poll() is None, process.stderr
        url = process.stderr.split("serving at ")[1].split("/v1")[0]
        self.client = httpx2.Client(base_url=url, timeout=60)
        said = [line for line in log.read_text().splitlines() if line.startswith("runs as")]
        self.vllm = int(said[0].split()[-1])

    def chat(self, content: object) -> httpx2.Response:
        body = {"model": "desta", "messages": [{"role": "user", "content": content}]}
        return self.client.post("/v1/chat/completions", json=body | {"max_tokens": 10})

    def vllm_runs(self) -> bool:
        return Path(f"/proc/{self.vllm}").exists()


@pytest.fixture
def command(published_tiny: Path, tmp_path: Path) -> Iterator[Command]:
    folder = tmp_path / "site" / "vllm" / "entrypoints" / "openai"
    folder.mkdir(parents=True)
    source = _SERVER.format(model=str(published_tiny))
    (folder / "api_server.py").write_text(source, encoding="utf-8")
    path = os.pathsep.join([str(tmp_path / "site"), str(TESTS), str(TESTS.parent)])
    log = tmp_path / "vllm.log"
    process = start_desta(
        *("serve", "--model", published_tiny, "--port", 0),
        *("--vllm", "--vllm-python", sys.executable, "--vllm-log", log),
        env=os.environ | {"PYTHONPATH": path},
    )
    try:
        yield Command(process, log)
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)


def test_sigterm_ends_both_servers(command: Command, clips: dict[str, bytes]) -> None:
    response = command.chat([clip_part(clips["a"]), text_part("What?")])
    assert response.json()["usage"]["prompt_tokens_details"]["audio_tokens"] == 16
    assert command.vllm_runs()
    command.process.send_signal(signal.SIGTERM)
    assert command.process.wait(60) in (0, 128 + signal.SIGTERM)
    assert not command.vllm_runs()


def test_a_text_server_that_dies_is_told_and_not_waited_for(command: Command) -> None:
    assert command.client.get("/ready").status_code == 200
    os.kill(command.vllm, signal.SIGKILL)
    wait_until(lambda: command.client.get("/ready").status_code == 503)
    assert command.chat("Hello?").status_code == 503
    command.process.send_signal(signal.SIGTERM)
    _, said = command.process.communicate(timeout=60)
    assert "vLLM has ended with signal SIGKILL; read" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (["--vllm", "--upstream", "http://127.0.0.1:8001"], "names another"),
        (["--vllm", "--vllm-python", "nowhere/python"], "nowhere/python is not there"),
        (["--upstream", "127.0.0.1:8001"], "is no URL"),
        (
            ["--upstream", "http://127.0.0.1:8001", "--upstream-token-file", "nowhere"],
            "nowhere cannot be read",
        ),
    ],
)
def test_wrong_options_are_refused_before_a_model_is_loaded(
    options: list[str], match: str, tmp_path: Path
) -> None:
    error = desta("serve", "--model", tmp_path / "no model", *options).exception
    assert isinstance(error, ConfigError)
    assert match in error.message


def test_a_text_server_that_is_not_there_is_told_in_a_sentence(published_tiny: Path) -> None:
    error = desta("serve", "--model", published_tiny, "--upstream", "http://127.0.0.1:9").exception
    assert error is not None
    assert "http://127.0.0.1:9 does not answer" in str(error)
