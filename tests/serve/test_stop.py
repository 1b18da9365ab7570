"""The command itself: it says where it serves, and on SIGTERM finishes what runs."""

import signal
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

pytestmark = pytest.mark.serve


def test_sigterm_ends_the_server_after_the_answer_that_runs(published_tiny: Path) -> None:
    command = [sys.executable, "-m", "desta.cli", "serve", "--model", str(published_tiny)]
    server = subprocess.Popen(
        [*command, "--port", "0", "--name", "tiny"], stderr=subprocess.PIPE, text=True
    )
    assert server.stderr is not None
    try:
        line = next(line for line in server.stderr if "serving at" in line)
        url = line.split("serving at ")[1].split()[0]
        body = {"model": "tiny", "messages": [{"role": "user", "content": "Hello?"}]}
        with httpx2.Client(timeout=60) as client:
            whole = client.post(f"{url}/chat/completions", json=body | {"max_tokens": 300}).json()
            with client.stream(
                "POST", f"{url}/chat/completions", json=body | {"max_tokens": 300, "stream": True}
            ) as stream:
                lines = stream.iter_lines()
                next(lines)
                server.send_signal(signal.SIGTERM)
                rest = [line for line in lines if line]
        assert rest[-1] == "data: [DONE]"
        assert whole["choices"][0]["finish_reason"] in rest[-2]
        assert server.wait(30) in (0, -signal.SIGTERM)
    finally:
        server.kill()
        server.wait()
