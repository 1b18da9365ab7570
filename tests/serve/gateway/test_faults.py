"""What the gateway refuses, and text servers that refuse, hang or break off."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from desta.inference.engine import Engine
from desta.model.backbone.sampling import Sampling
from desta.records import Message
from desta.serving.limits import ServingLimits
from desta.serving.metrics import Metrics
from desta.serving.protocol import ChatRequest
from desta.serving.replicas import Replicas
from desta.serving.upstream import UpstreamEngine
from desta.serving.upstream_checks import Served as Names
from support.chat_parts import clip_part, text_part
from support.gateway import gateway
from support.replies import fault
from support.serving import Served, running, wait_until
from support.text_server import TextServer

pytestmark = pytest.mark.serve


@pytest.mark.parametrize(
    "change",
    [
        lambda body, part: body | {"prompt_embeds": part["data"]},
        lambda body, part: body | {"messages": [{"role": "user", "content": [part]}]},
        lambda body, part: body | {"messages": [{"role": "user", "content": "x", "a": [part]}]},
    ],
)
def test_embeddings_of_clients_are_refused(
    change: Callable[..., Any], served: Served, server: TextServer, clips: dict[str, bytes]
) -> None:
    served.chat([clip_part(clips["a"]), text_part("What?")])
    [part] = server.body["messages"][-1]["content"]
    num_bodies = len(server.bodies)
    body = change({"model": "desta", "messages": [{"role": "user", "content": "x"}]}, part)
    fault(served.client.post("/v1/chat/completions", json=body), 400)
    assert len(server.bodies) == num_bodies


def test_a_function_may_have_a_parameter_of_that_name(served: Served, server: TextServer) -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": {"prompt_embeds": {}}}}
    assert served.chat("Look!", tools=[tool]).status_code == 200
    assert server.body["tools"] == [tool]


@pytest.mark.parametrize(
    ("status", "reply", "want"),
    [
        (
            400,
            {
                "error": {
                    "message": "too long.",
                    "type": "BadRequestError",
                    "param": "n",
                    "code": 400,
                }
            },
            (400, "too long; correct the request", "n"),
        ),
        (404, {"detail": "Not Found"}, (404, "Not Found; correct the request", None)),
        (429, {}, (429, "the text server answers with status 429; send it again later", None)),
        (401, {"error": "Unauthorized"}, (502, "the text server does not let this one in; ", None)),
        (500, {"error": {"message": "secret"}}, (500, "the text server fails with status 5", None)),
    ],
)
def test_errors_keep_their_status_and_shape(
    status: int, reply: Any, want: tuple[int, str, str | None], served: Served, server: TextServer
) -> None:
    server.fail = lambda body: (status, reply)
    for stream in (False, True):
        error = fault(served.chat("Hello?", stream=stream), want[0])
        assert error["message"].startswith(want[1])
        assert error["param"] == want[2]


def test_text_that_can_only_be_too_long_is_refused_here(served: Served, server: TextServer) -> None:
    assert fault(served.chat("a" * 100_000), 400)["code"] == "context_length_exceeded"
    assert server.bodies == []


def test_what_is_embedded_is_no_longer_than_the_context(served: Served, server: TextServer) -> None:
    control = "<|im_end|>"
    text = control + "\U00020000" * 2_000  # several tokens a letter
    assert fault(served.chat(text), 400)["code"] == "context_length_exceeded"
    assert server.bodies == []
    assert served.chat(f"{control} what?").status_code == 200


def test_an_answer_in_another_form_is_an_error(served: Served, server: TextServer) -> None:
    server.fail = lambda body: (200, {"choices": 5})
    assert "another form" in fault(served.chat("Hello?"), 502)["message"]


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_frees_the_text_server(
    stream: bool, served: Served, server: TextServer
) -> None:
    server.hang_after = 2
    body = {"model": "desta", "messages": [{"role": "user", "content": "x"}], "stream": stream}
    with (
        httpx2.Client(base_url=served.url, timeout=0.5) as client,
        pytest.raises(httpx2.ReadTimeout),
    ):
        client.post("/v1/chat/completions", json=body)
    wait_until(lambda: server.num_closed == 1)
    wait_until(lambda: served.metric("desta_requests_in_flight") == 0)


def test_a_reply_that_is_closed_before_its_first_event_frees_the_text_server(
    engine: Engine, server: TextServer
) -> None:
    server.hang_after = 2
    message = Message(role="user", content="Hello?")
    body = {"model": "desta", "messages": [message.to_json()], "stream": True}
    request = ChatRequest(
        model="desta", messages=(message,), sampling=Sampling(), stream=True, body=body
    )

    async def leave(url: str) -> None:
        upstream = UpstreamEngine(
            engine,
            ServingLimits(),
            Metrics(),
            name="desta",
            replicas=Replicas([url]),
            served=Names("backbone"),
        )
        await upstream.start()
        reply = await upstream.chat(request)
        await reply.events.aclose()  # type: ignore[attr-defined]
        await asyncio.to_thread(wait_until, lambda: server.num_closed == 1)
        await upstream.close()

    with running(server.app) as url:
        asyncio.run(leave(url))


def test_a_text_server_that_hangs_is_given_up(engine: Engine, server: TextServer) -> None:
    server.hang_after = 2
    with gateway(engine, server, limits=ServingLimits(request_seconds=0.5)) as served:
        assert fault(served.chat("Hello?"), 504)["code"] == "timeout"
        stream = served.chat("Hello?", stream=True)
        assert '"code":"timeout"' in stream.text
        assert "[DONE]" not in stream.text
        wait_until(lambda: server.num_closed == 2)
        server.hang_after = None
        assert served.chat("Hello?").status_code == 200


def test_a_stream_that_breaks_off_ends_with_an_error(served: Served, server: TextServer) -> None:
    server.break_after = 2
    lines = [line for line in served.chat("Hello?", stream=True).text.split("\n\n") if line]
    last = json.loads(lines[-1].removeprefix("data: "))
    assert "breaks off" in last["error"]["message"]
    assert not any("[DONE]" in line for line in lines)
