"""The scripts that load a server and send it broken recordings, on the tiny model."""

import itertools
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

import corrupted
import load
from desta.inference.engine import Engine
from desta.model.backbone.writer import Writer
from desta.serving.guard import Access
from support.serving import Served, serve_tiny

pytestmark = pytest.mark.serve


@pytest.fixture
def server(engine: Engine) -> Iterator[Served]:
    with serve_tiny(engine) as served:
        yield served


def run(main: Any, monkeypatch: pytest.MonkeyPatch, *words: Any) -> int:
    monkeypatch.setattr(sys, "argv", ["script", *map(str, words)])
    with pytest.raises(SystemExit) as caught:
        main()
    assert isinstance(caught.value.code, int)
    return caught.value.code


def load_server(
    served: Served, folder: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[int, dict[str, Any]]:
    words = [served.url, folder, "--pid", os.getpid(), "--clients", 4, "--seconds", 4]
    words += ["--distinct", 5, "--max-tokens", 4, "--json", out]
    code = run(load.main, monkeypatch, *words)
    return code, json.loads(out.read_text())


def test_a_server_under_load_answers_as_alone(
    server: Served, published_tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, found = load_server(server, published_tiny, tmp_path / "load.json", monkeypatch)
    assert code == 0
    assert found["requests"]["answered"] >= 10
    assert "wrong" not in found["requests"]
    assert found["still_in_flight"] == 0
    assert found["answers_per_second"]["ratio"] > 0
    assert found["memory_mib"]["first"] > 0


def test_another_answer_under_load_is_found(
    server: Served,
    published_tiny: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    push, count = Writer.push, itertools.count()

    def disturbed(writer: Writer, *arguments: Any) -> str:
        is_later = next(count) > 2 * 5 * 4  # both rounds of one client are over
        return push(writer, *arguments) + "x" * is_later

    monkeypatch.setattr(Writer, "push", disturbed)
    code, found = load_server(server, published_tiny, tmp_path / "load.json", monkeypatch)
    assert code == 1
    assert found["requests"]["wrong"] >= 1
    assert "became" in capsys.readouterr().out


def test_broken_recordings_are_answered_or_refused(
    server: Served,
    published_tiny: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    recording = published_tiny / "a.wav"
    assert run(corrupted.main, monkeypatch, server.url, recording, "--count", 60) == 0
    told, _ = json.JSONDecoder().raw_decode(capsys.readouterr().out)
    assert sum(told["statuses"].values()) == 60
    assert {"200", "422"} & {*told["statuses"]}


def test_a_server_that_refuses_all_recordings_is_no_success(
    engine: Engine, published_tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve_tiny(engine, access=Access(("a-token-of-24-characters",), None)) as closed:
        monkeypatch.setattr(sys, "argv", ["script", closed.url, str(published_tiny / "a.wav")])
        with pytest.raises(httpx2.HTTPStatusError):
            corrupted.main()
