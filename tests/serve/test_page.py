"""The page: what it lets through, what it shows, and the code that it offers."""

import ast
import base64
import hashlib
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from desta.audio import SAMPLE_RATE
from desta.inference.engine import Engine
from support.serving import Served, serve_tiny

pytest.importorskip("gradio")

from desta.serving.guard import Access  # noqa: E402
from desta.serving.limits import ServingLimits  # noqa: E402
from desta.serving.page.got import pane, waveform  # noqa: E402
from desta.serving.page.snippets import as_curl, as_python  # noqa: E402
from desta.serving.page.talk import Clip, Settings, Talk, Turn, body_of  # noqa: E402

pytestmark = pytest.mark.serve

TOKEN = "a-token-of-24-characters"


@pytest.fixture(scope="module")
def served(engine: Engine) -> Iterator[Served]:
    with serve_tiny(engine, with_page=True) as server:
        yield server


@pytest.fixture(scope="module")
def closed(engine: Engine) -> Iterator[Served]:
    with serve_tiny(engine, with_page=True, access=Access((TOKEN,), None)) as server:
        yield server


@pytest.fixture
def talk(published_tiny: Path) -> Talk:
    clip = Clip(published_tiny / "a.wav", heard="hello")
    first = Turn("It's what?", [clip], answer='a "voice"')
    return Talk([first, Turn("And <recording 1 in base64>?")])


def test_the_page_and_all_that_it_loads_come_from_the_server(served: Served) -> None:
    page = served.client.get("/", follow_redirects=True)
    assert page.status_code == 200
    assert str(page.url).endswith("/ui/")
    script = re.search(r'src="\./(assets/[^"]+\.js)"', page.text)
    assert script is not None
    assert served.client.get(f"/ui/{script[1]}").status_code == 200
    assert served.client.get("/ui/theme.css").status_code == 200
    assert "https://" not in served.client.get("/ui/theme.css").text


def test_only_scripts_of_the_page_itself_may_run(served: Served) -> None:
    page = served.client.get("/ui/")
    [policy] = page.headers.get_list("content-security-policy")
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    assert "unsafe" not in rules["script-src"]
    assert not re.search(r"https?:|\*", policy)
    for script in re.findall(r"<script(?![^>]*\ssrc=)[^>]*>(.*?)</script>", page.text, re.DOTALL):
        digest = hashlib.sha256(script.encode()).digest()
        assert f"'sha256-{base64.b64encode(digest).decode()}'" in policy


def test_the_api_keeps_its_stricter_policy(served: Served) -> None:
    [policy] = served.client.get("/v1/models").headers.get_list("content-security-policy")
    assert policy == "default-src 'none'; frame-ancestors 'none'"


@pytest.mark.parametrize(
    "path",
    [
        *("gradio_api/proxy=http://localhost/", "gradio_api/info", "gradio_api/openapi.json"),
        *("gradio_api/vibe-code", "monitoring", "login_check", "gradio_api/dev/reload"),
    ],
)
def test_routes_that_the_page_does_not_need_are_closed(served: Served, path: str) -> None:
    assert served.client.get(f"/ui/{path}").status_code == 404
    assert served.client.post(f"/ui/{path}").status_code == 404


def test_files_of_the_server_cannot_be_read_through_the_page(served: Served) -> None:
    for path in ("/etc/passwd", "..%2f..%2fetc/passwd", str(Path(__file__))):
        assert served.client.get(f"/ui/gradio_api/file={path}").status_code in (403, 404)


def named(value: object) -> dict[str, object]:
    """Return a request to the page that names a file or URL in place of what was uploaded."""
    file = {"path": value, "meta": {"_type": "gradio.FileData"}}
    return {"text": "What is said?", "files": [file]}


@pytest.mark.parametrize("place", ["question", "system prompt"])
@pytest.mark.parametrize("is_local", [True, False])
def test_nothing_but_uploads_is_read_for_a_visitor(
    served: Served, published_tiny: Path, place: str, is_local: bool
) -> None:
    path = str(published_tiny / "a.wav") if is_local else "https://example.com/a.wav"
    config = served.client.get("/ui/config").json()
    [ask] = [d for d in config["dependencies"] if d["api_name"] == "ask"]
    labels = {c["id"]: c["props"].get("label") for c in config["components"]}
    kinds = {c["id"]: c["type"] for c in config["components"]}
    data: list[object] = [None] * len(ask["inputs"])
    for number, id in enumerate(ask["inputs"]):
        if kinds[id] == "multimodaltextbox":
            data[number] = named(path) if place == "question" else {"text": "hello", "files": []}
        elif labels[id] == "System prompt":
            data[number] = named(path)["files"][0] if place == "system prompt" else ""  # type: ignore[index]
        else:
            data[number] = {"Longest answer, in tokens": 4, "Temperature": 0, "Top p": 1}.get(
                str(labels[id])
            )
    body = {"data": data, "fn_index": ask["id"], "session_hash": "abc", "trigger_id": None}
    joined = served.client.post("/ui/gradio_api/queue/join", json=body)
    assert joined.status_code == 200, joined.text
    said = served.client.get("/ui/gradio_api/queue/data?session_hash=abc").text
    assert '"success":false' in said.replace(" ", "")
    assert "gradio_api/file=" not in said


def test_a_url_is_not_fetched_for_a_visitor(served: Served) -> None:
    url = f"{served.url}/v1/models"
    assert served.client.get(f"/ui/gradio_api/file={url}").status_code == 404


def test_uploads_fill_no_more_than_their_room(engine: Engine) -> None:
    with serve_tiny(engine, with_page=True, limits=ServingLimits(max_bodies_mb=1)) as small:
        codes = [
            small.client.post(
                "/ui/gradio_api/upload", files={"files": (f"{n}.wav", bytes([n]) * 400_000)}
            ).status_code
            for n in range(4)
        ]
    assert codes == [200, 200, 507, 507]


def test_the_progress_of_an_upload_is_told(served: Served) -> None:
    told = served.client.get("/ui/gradio_api/upload_progress?upload_id=none")
    assert told.status_code < 500


def test_cookies_of_other_programs_do_not_matter(closed: Served) -> None:
    for cookie in (f"desta_token={TOKEN}; foo/bar=1", f'sess={{"u": 1}}; desta_token={TOKEN}'):
        assert closed.client.get("/ui/config", headers={"cookie": cookie}).status_code == 200


def test_a_body_beyond_the_limit_or_of_no_stated_size_is_refused(engine: Engine) -> None:
    def blocks() -> Iterator[bytes]:
        yield b"x"

    upload = "/ui/gradio_api/upload"
    with serve_tiny(engine, with_page=True, limits=ServingLimits(max_body_mb=1)) as small:
        assert small.client.post(upload, content=bytes(2**20 + 1)).status_code == 413
        assert small.client.post(upload, content=blocks()).status_code == 413
        few = small.client.post(upload, files={"files": ("a.wav", b"some bytes")})
        assert few.status_code == 200


def test_other_sites_and_names_are_refused(served: Served) -> None:
    assert served.client.get("/ui/", headers={"host": "evil.example"}).status_code == 403
    other = {"origin": "http://evil.example"}
    assert served.client.post("/ui/gradio_api/queue/join", headers=other).status_code == 403


def test_with_tokens_the_page_asks_for_one(closed: Served) -> None:
    for path in ("config", "gradio_api/queue/data", "assets/x.js", "gradio_api/file=/x"):
        assert closed.client.get(f"/ui/{path}").status_code == 401
    assert closed.client.post("/ui/gradio_api/upload", content=b"x").status_code == 401
    form = closed.client.get("/ui/", follow_redirects=True)
    assert "Token of this server" in form.text
    wrong = closed.client.post("/ui/login", data={"token": "wrong"})
    assert wrong.status_code == 401
    assert "set-cookie" not in wrong.headers
    right = closed.client.post("/ui/login", data={"token": TOKEN})
    assert right.status_code == 303
    cookie = right.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    name, _, value = right.headers["set-cookie"].partition(";")[0].partition("=")
    page = closed.client.get("/ui/", headers={"cookie": f"{name}={value}"})
    assert "gradio_config" in page.text
    assert closed.client.get("/ui/", headers={"cookie": f"{name}=wrong"}).status_code == 303
    closed.client.cookies.clear()


def test_a_request_holds_the_whole_conversation_and_what_was_edited(talk: Talk) -> None:
    talk.clips[0].edited = "hallo"
    body = body_of(talk, Settings(system=" Be short. ", seed=3), model="m", encode=lambda p: p.name)
    assert body == {
        "model": "m",
        "messages": [
            {"role": "system", "content": "Be short."},
            {
                "role": "user",
                "content": [
                    {
                        "type": "input_audio",
                        "input_audio": {
                            "data": "a.wav",
                            "format": "wav",
                            "transcription": "hallo",
                        },
                    },
                    {"type": "text", "text": "It's what?"},
                ],
            },
            {"role": "assistant", "content": 'a "voice"'},
            {"role": "user", "content": "And <recording 1 in base64>?"},
        ],
        "max_tokens": 256,
        "temperature": 0.0,
        "seed": 3,
    }


def test_the_command_for_the_shell_sends_what_the_page_sent(
    talk: Talk, published_tiny: Path, tmp_path: Path
) -> None:
    sent = as_curl(talk, Settings(), model="m", url="http://here", with_token=True)
    assert 'Authorization: Bearer $TOKEN"' in sent
    (tmp_path / "curl").write_text("#!/bin/sh\nexec cat\n")
    (tmp_path / "curl").chmod(0o755)
    result = subprocess.run(
        ["bash", "-c", sent],
        cwd=published_tiny,
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", "TOKEN": "t"},
        capture_output=True,
        check=True,
    )
    got = json.loads(result.stdout)
    expected = body_of(talk, Settings(), model="m")
    assert got["messages"][0] == expected["messages"][0]


def test_the_program_sends_what_the_page_sent(talk: Talk) -> None:
    program = as_python(talk, Settings(seed=1), model="m", url="http://here", with_token=False)
    assert "encoded('a.wav')" in program
    call = next(
        node
        for node in ast.walk(ast.parse(program))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("completions.create")
    )
    assert [keyword.arg for keyword in call.keywords][-4:] == [
        *("model", "max_tokens", "temperature", "seed")
    ]


def test_the_pane_shows_windows_tokens_and_stages_and_escapes_what_is_said(talk: Talk) -> None:
    [clip] = talk.clips
    clip.heard = "<script>alert(1)</script>"
    html = pane(
        [clip],
        {
            "transcriptions": [{"text": "", "seconds": 1, "audio_tokens": 4, "text_tokens": 2}],
            "usage": {
                "prompt_tokens": 30,
                "completion_tokens": 7,
                "prompt_tokens_details": {"cached_tokens": 0},
            },
            "stage_ms": {"encode": 12.4, "generate": 80.0},
        },
    )
    assert "<script" not in html
    for shown in ("1 window", "4 audio tokens", ">24<", ">7<", ">12<", ">80<"):
        assert shown in html


def test_a_waveform_shades_each_window() -> None:
    samples = np.zeros(70 * SAMPLE_RATE, np.float32)
    windows = [(0, 30 * SAMPLE_RATE), (30 * SAMPLE_RATE, 70 * SAMPLE_RATE)]
    assert waveform(samples, windows).count('class="window"') == 2
