"""Time and memory are bounded: too much is refused, and what is given up frees its place."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from typing import Any

import numpy as np
import pytest

from desta.errors import ConfigError
from desta.inference.engine import Engine, Limits
from desta.model.checkpoint import Loaded
from desta.serving import guard
from desta.serving.limits import ServingLimits
from desta.serving.metrics import Metrics
from support.chat_parts import clip_part, text_part
from support.serving import Served, serve_tiny, wait_until
from support.sounds import packed, tone

pytestmark = pytest.mark.serve

LONG = 1_900
"""Tokens of an answer that takes seconds; the context has 2048."""
TIGHT = ServingLimits(
    max_requests=2,
    max_rows=1,
    max_body_mb=1,
    max_clips=2,
    max_seconds=2.0,
    max_positions=2_048,
    body_seconds=0.5,
)


def endless(tiny: Loaded, **limits: float) -> Engine:
    """Return an engine whose answers end only at `max_tokens`."""
    engine = Engine(tiny, limits=Limits(**limits))
    engine.end_ids = frozenset()
    return engine


@pytest.fixture(scope="module")
def tight(tiny: Loaded) -> Iterator[Served]:
    engine = endless(tiny, max_seconds=TIGHT.max_seconds)
    with serve_tiny(engine, limits=TIGHT) as server:
        yield server


def body_of(text: str = "Hello?", **options: Any) -> bytes:
    message = {"role": "user", "content": text}
    return json.dumps({"model": "desta", "messages": [message]} | options).encode()


def begin(server: Served, body: bytes, *, stated: int | None = None) -> socket.socket:
    """Send a request whose answer nobody reads yet."""
    host, port = server.url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)))
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {stated or len(body)}\r\n\r\n"
    )
    connection.sendall(head.encode() + body)
    return connection


def test_too_much_is_refused(tight: Served) -> None:
    short, long = (packed(tone(seconds), format="WAV") for seconds in (0.2, 3))
    large = tight.chat("x" * 2**20)
    assert large.status_code == 413
    assert "larger than 1 MiB" in large.text
    compressed = packed(tone(3), format="OGG")
    for recording in (long, compressed):
        response = tight.chat([clip_part(recording), text_part("What?")])
        assert response.status_code == 413
        assert "longer than the 2 s" in response.text
    many = tight.chat([*[clip_part(short)] * 3, text_part("What?")])
    assert many.status_code == 413
    assert "takes 2" in many.text
    together = tight.chat([*[clip_part(packed(tone(1.5), format="OGG"))] * 2, text_part("What?")])
    assert together.status_code == 413
    assert "more than 2 s together" in together.text


def test_a_body_without_a_length_is_cut_off_at_the_limit(tight: Served) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(64):
            yield b"x" * 2**16

    response = tight.client.post(
        "/v1/chat/completions", content=endless(), headers={"Content-Type": "application/json"}
    )
    assert response.status_code == 413


def test_a_body_that_trickles_is_refused_in_time(tight: Served) -> None:
    with begin(tight, b'{"model"', stated=100) as connection:
        connection.settimeout(10)
        assert connection.recv(100).startswith(b"HTTP/1.1 408")


def test_a_conversation_beyond_the_limit_is_refused(tiny: Loaded) -> None:
    limits = ServingLimits(max_positions=100)
    with serve_tiny(endless(tiny), limits=limits) as server:
        response = server.chat("word " * 100)
        assert response.status_code == 400
        assert response.json()["error"]["code"] == "context_length_exceeded"
        huge = server.chat("x" * 1_601)
        assert (huge.status_code, huge.json()["error"]["param"]) == (400, "messages")
        assert server.chat("Hello?", n=2, max_tokens=40).status_code == 400
        assert server.chat("Hello?", n=2, max_tokens=5).status_code == 200


def test_clips_that_are_too_long_together_are_not_encoded(tight: Served) -> None:
    clips = [clip_part(packed(tone(1.5 + n / 100), format="OGG")) for n in range(2)]
    encoded = 'desta_stage_seconds_count{stage="encode"}'
    before = tight.metric(encoded)
    assert tight.chat([*clips, text_part("What?")]).status_code == 413
    assert tight.metric(encoded) == before


@pytest.mark.parametrize("content", [[1] * 60_000, [{"type": "text", "text": ""}] * 300])
def test_a_body_of_many_faults_is_answered_with_the_first(
    served: Served, content: list[Any]
) -> None:
    started = time.monotonic()
    response = served.chat(content)
    assert response.status_code == 400
    assert len(response.text) < 1000
    assert time.monotonic() - started < 5


def test_a_stop_string_has_a_length(served: Served) -> None:
    assert served.chat("Hello?", stop=["x" * 1025]).status_code == 400
    assert served.chat("Hello?", stop="x" * 1025).status_code == 400
    assert served.chat("Hello?", stop=["x" * 1024]).status_code == 200


def test_a_client_that_leaves_frees_its_place(tight: Served) -> None:
    for stream in (False, True):
        connection = begin(tight, body_of(max_tokens=LONG, stream=stream))
        wait_until(lambda: tight.engine.num_rows == 1)
        [row] = tight.engine._decoder._rows
        connection.close()
        wait_until(lambda: tight.engine.num_rows == 0)
        wait_until(lambda: tight.metric("desta_requests_in_flight") == 0)
        assert row.writer.finish is None  # it was not generated to its end
    assert tight.chat("Hello?").status_code == 200


def test_recordings_of_clients_that_leave_are_not_kept(engine: Engine) -> None:
    with serve_tiny(engine) as server:
        stage = server.engine._stage
        hold, begun = threading.Event(), threading.Event()
        encode = stage._encoder.encode

        def slow(*arguments: Any, **options: Any) -> Any:
            begun.set()
            hold.wait(20)
            return encode(*arguments, **options)

        stage._encoder.encode = slow
        parts = [clip_part(packed(tone(0.5), format="WAV")), text_part("What?")]
        message = {"role": "user", "content": parts}
        body = json.dumps({"model": "desta", "messages": [message]}).encode()
        first = begin(server, body)
        assert begun.wait(20)
        second = begin(server, body)
        wait_until(lambda: len(stage._waiting) == 1)
        second.close()
        wait_until(lambda: not stage._waiting)
        hold.set()
        assert first.recv(12) == b"HTTP/1.1 200"
        first.close()
        stage._encoder.encode = encode


def test_a_client_that_leaves_while_it_waits_is_never_begun(tight: Served) -> None:
    first = begin(tight, body_of(max_tokens=LONG))
    wait_until(lambda: tight.engine.num_rows == 1)
    second = begin(tight, body_of(max_tokens=LONG))
    wait_until(lambda: tight.metric("desta_requests_in_flight") == 2)
    second.close()
    wait_until(lambda: tight.metric("desta_requests_in_flight") == 1)
    first.close()
    wait_until(lambda: tight.metric("desta_requests_in_flight") == 0)
    wait_until(lambda: tight.engine.num_rows == 0)


def test_a_full_server_says_when_to_come_again(tight: Served) -> None:
    waiting = [begin(tight, body_of(max_tokens=LONG)) for _ in range(2)]
    wait_until(lambda: tight.metric("desta_requests_in_flight") == 2)
    response = tight.chat("Hello?")
    assert response.status_code == 429
    assert int(response.headers["retry-after"]) >= 1
    assert response.json()["error"]["type"] == "rate_limit_error"
    assert tight.client.get("/health").status_code == 200
    for connection in waiting:
        connection.close()
    wait_until(lambda: tight.metric("desta_requests_in_flight") == 0)
    assert tight.chat("Hello?").status_code == 200


def test_bodies_are_bounded_together(tiny: Loaded) -> None:
    limits = ServingLimits(max_body_mb=1, max_bodies_mb=1)
    with serve_tiny(endless(tiny), limits=limits) as server:
        half = b" " * (700 * 1024)
        with begin(server, half, stated=2**20):
            wait_until(lambda: server.metric("desta_requests_in_flight") == 1)
            time.sleep(0.2)
            response = server.chat("x" * (700 * 1024))
            assert response.status_code == 429
        wait_until(lambda: server.metric("desta_requests_in_flight") == 0)
        assert server.chat("Hello?").status_code == 200


def test_a_client_that_does_not_read_its_answer_loses_its_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(guard, "_GRACE_SECONDS", 0.0)
    stuck, metrics = asyncio.Event(), Metrics()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await stuck.wait()  # as when nothing can be sent any more

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"{}"}

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def run() -> None:
        headers = [(b"host", b"localhost"), (b"content-type", b"application/json")]
        scope = {"type": "http", "method": "POST", "path": "/v1/chat/completions"}
        limits = ServingLimits(request_seconds=0.1)
        guarded = guard.Guard(app, access=guard.Access(), limits=limits, metrics=metrics)
        await guarded({**scope, "headers": headers}, receive, send)
        assert guarded._num_requests == guarded._num_bytes == 0

    asyncio.run(run())
    assert [message["type"] for message in sent] == ["http.response.start"]


def test_a_small_file_that_unpacks_to_gigabytes_is_refused(tiny: Loaded) -> None:
    limits = ServingLimits(max_seconds=2.0)
    bomb = packed(np.zeros(2_000_000, np.float32), 600_000, format="FLAC")  # 3.3 s: ten to a byte
    short = packed(np.zeros(1_000_000, np.float32), 600_000, format="FLAC")  # 1.7 s
    assert len(bomb) < 20_000
    with serve_tiny(Engine(tiny, limits=limits.of_engine()), limits=limits) as server:
        for recording, words in ((bomb, "longer than the 2 s"), (short, "192000 samples")):
            response = server.chat([clip_part(recording), text_part("What?")])
            assert response.status_code == 413
            assert words in response.json()["error"]["message"]


def test_an_answer_ends_at_the_deadline(tiny: Loaded) -> None:
    limits = ServingLimits(request_seconds=0.6, max_rows=1, max_positions=4_096)
    with serve_tiny(endless(tiny), limits=limits) as server, ThreadPoolExecutor() as pool:
        first = pool.submit(server.chat, "Hello?", max_tokens=LONG)
        wait_until(lambda: server.engine.num_rows == 1)
        second = pool.submit(server.chat, "Hello?", max_tokens=LONG)
        response = first.result()
        assert response.status_code == 200
        assert response.json()["choices"][0]["finish_reason"] == "length"
        assert 1 < response.json()["usage"]["completion_tokens"] < LONG
        assert second.result().status_code in (200, 429)


def test_rows_are_added_while_others_are_generated(tiny: Loaded) -> None:
    with serve_tiny(endless(tiny), limits=ServingLimits(max_positions=10_000)) as server:
        connection = begin(server, body_of(max_tokens=LONG))
        wait_until(lambda: server.engine.num_rows == 1)
        assert server.chat("Hello?").status_code == 200
        wait_until(lambda: server.engine.num_rows == 1)  # the long one still runs
        connection.close()


def test_room_is_kept_for_the_longest_answers(tiny: Loaded) -> None:
    limits = ServingLimits(max_positions=2_100, max_rows=8)
    with serve_tiny(endless(tiny), limits=limits) as server:
        connection = begin(server, body_of(max_tokens=LONG))
        wait_until(lambda: server.engine.num_rows == 1)
        done = threading.Event()

        def ask() -> None:
            assert server.chat("Hello?").status_code == 200
            done.set()

        asking = threading.Thread(target=ask)
        asking.start()
        wait_until(lambda: server.metric("desta_requests_in_flight") == 2)
        assert not done.wait(0.3)
        connection.close()
        asking.join()
        assert done.is_set()


@pytest.mark.parametrize("name", [field.name for field in fields(ServingLimits)])
def test_a_limit_of_nothing_is_refused(name: str) -> None:
    for value in (-1, float("nan"), float("inf")):
        with pytest.raises(ConfigError, match=f"{name} = "):
            ServingLimits(**{name: value})
