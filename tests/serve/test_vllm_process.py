"""A vLLM that the gateway starts ends with it, and its own end is told in a sentence."""

import copy
import json
import logging
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest

from desta.errors import ConfigError, UnavailableError
from desta.inference.engine import Engine
from desta.model.config import LoraConfig
from desta.serving.vllm_process import VllmProcess, VllmSettings
from support.serving import wait_until

pytestmark = pytest.mark.serve

_SERVER = """
import http.server, json, os, subprocess, sys, time

options = dict(zip(sys.argv[1::1], sys.argv[2::1]))
print("worker", subprocess.Popen(["sleep", "600"]).pid, flush=True)
if "--fail" in sys.argv:
    print("(EngineCore pid=7) ERROR [core.py:1] ValueError: no room for the cache", flush=True)
    sys.exit(3)
if "--sleep" in sys.argv:
    time.sleep(600)


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        template = open(options["--chat-template"]).read() if "--chat-template" in options else ""
        told = {"argv": sys.argv[1:], "key": os.environ["VLLM_API_KEY"], "template": template}
        self.wfile.write(json.dumps(told).encode())


http.server.HTTPServer(("127.0.0.1", int(options["--port"])), Handler).serve_forever()
"""


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> VllmSettings:
    """A Python that finds a module of vLLM's name."""
    folder = tmp_path / "site" / "vllm" / "entrypoints" / "openai"
    folder.mkdir(parents=True)
    (folder / "api_server.py").write_text(_SERVER, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    return VllmSettings(python=Path(sys.executable), log=tmp_path / "vllm.log")


def told(process: VllmProcess) -> Any:
    return json.loads(httpx2.get(f"{process.url}/health").text)


def workers(settings: VllmSettings) -> list[int]:
    lines = settings.log.read_text(encoding="utf-8").splitlines()
    return [int(line.split()[1]) for line in lines if line.startswith("worker")]


def assert_ended(settings: VllmSettings) -> None:
    found = workers(settings)
    assert found
    wait_until(lambda: not any(map(runs, found)))


def runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_it_serves_the_backbone_on_loopback_and_ends_with_the_context(
    engine: Engine, settings: VllmSettings
) -> None:
    options = replace(settings, options=["--max-model-len", "2048"])
    with VllmProcess(options, engine) as process:
        found = told(process)
        command = " ".join(found["argv"])
        assert f"--model {engine.parts.backbone.place} " in command
        assert "--host 127.0.0.1" in command
        assert "--enable-prompt-embeds" in command
        assert "--dtype float32" in command
        assert command.endswith("--max-model-len 2048")
        assert found["template"] == ""
        assert found["key"] == process.key
        assert process.key not in command
        [worker] = workers(settings)
        assert runs(worker)
    assert_ended(settings)
    with pytest.raises(httpx2.ConnectError):
        told(process)


def test_a_template_with_todays_date_gets_that_of_training(
    engine: Engine, settings: VllmSettings
) -> None:
    dated = copy.copy(engine)
    dated.tokenizer = copy.deepcopy(engine.tokenizer)
    dated.tokenizer.chat_template += "{{ strftime_now('%d %B %Y') }}"
    with VllmProcess(settings, dated) as process:
        assert told(process)["template"].endswith('{{ "26 July 2024" }}')


def test_one_that_does_not_start_is_explained(engine: Engine, settings: VllmSettings) -> None:
    failing = replace(settings, options=["--fail"])
    with (
        pytest.raises(UnavailableError, match="exit code 3: ValueError: no room") as caught,
        VllmProcess(failing, engine),
    ):
        raise AssertionError
    assert str(settings.log) in caught.value.fix
    assert_ended(settings)


def test_one_that_is_not_ready_in_time_is_ended(engine: Engine, settings: VllmSettings) -> None:
    slow = replace(settings, options=["--sleep"], start_seconds=2.0)
    with pytest.raises(UnavailableError, match="not ready after 2 s"), VllmProcess(slow, engine):
        raise AssertionError
    assert_ended(settings)


def test_its_end_is_reported(
    engine: Engine, settings: VllmSettings, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR), VllmProcess(settings, engine) as process:
        assert process._process is not None
        os.kill(process._process.pid, signal.SIGKILL)
        wait_until(lambda: "vLLM has ended with signal SIGKILL" in caplog.text)
    assert_ended(settings)


def test_a_process_that_is_told_to_end_leaves_no_vllm_behind(
    engine: Engine, settings: VllmSettings
) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit), VllmProcess(settings, engine):
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) == before
    assert_ended(settings)


def test_a_backbone_that_vllm_would_serve_otherwise_is_refused(
    engine: Engine, settings: VllmSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="nowhere is not there"):
        VllmSettings(python=Path("nowhere"))
    adapted = replace(engine.model.config, lora=LoraConfig())
    monkeypatch.setattr(engine.model, "config", adapted)
    with pytest.raises(ConfigError, match="by LoRA"):
        VllmProcess(settings, engine)
