"""The gateway: clips become embeddings, everything else goes to the text server and back."""

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx2
import pytest
import torch

from desta.inference.conversation import Conversation, system_messages, user_message
from desta.inference.engine import Engine
from desta.inference.requests import Request
from desta.model.backbone.chat import encode_chat
from desta.model.backbone.sampling import Sampling
from desta.records import Message
from desta.serving.limits import ServingLimits
from desta.serving.metrics import Metrics
from desta.serving.protocol import ChatRequest
from desta.serving.replicas import Replicas
from desta.serving.upstream import UpstreamEngine
from desta.serving.upstream_checks import Served as Names
from support.chat_parts import clip_part, text_part
from support.serving import Served, running, serve, wait_until
from support.text_server import TextServer

pytestmark = pytest.mark.serve

TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}}


@contextmanager
def gateway(
    engine: Engine, *servers: TextServer, limits: ServingLimits | None = None, **options: Any
) -> Iterator[Served]:
    limits = limits or ServingLimits()
    with ExitStack() as stack:
        urls = [stack.enter_context(running(server.app)) for server in servers]
        names = Names(servers[0].name, servers[0].adapters, 512)
        yield stack.enter_context(
            serve(
                lambda metrics: UpstreamEngine(
                    engine,
                    limits,
                    metrics,
                    name="desta",
                    replicas=Replicas(urls),
                    served=names,
                    **options,
                ),
                limits=limits,
            )
        )


@pytest.fixture
def server(engine: Engine) -> TextServer:
    return TextServer(engine, adapters=("poet",))


@pytest.fixture
def served(engine: Engine, server: TextServer) -> Iterator[Served]:
    with gateway(engine, server) as found:
        yield found


def content(response: Any, choice: int = 0) -> str:
    assert response.status_code == 200, response.text
    return str(response.json()["choices"][choice]["message"]["content"])


def fault(response: Any, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error


def events(response: Any) -> list[dict[str, Any]]:
    lines = [line.removeprefix("data: ") for line in response.text.split("\n\n") if line]
    assert lines.pop() == "[DONE]"
    return [json.loads(line) for line in lines]


def expected(engine: Engine, question: str, *clips: bytes) -> str:
    asked = Conversation(engine, Sampling(max_new_tokens=10)).ask(
        question, clips, ["words"] * len(clips)
    )
    return "".join(asked).strip()


def test_answers_are_those_of_the_engine(
    served: Served, engine: Engine, clips: dict[str, bytes]
) -> None:
    a, b = clips["a"], clips["b"]
    assert content(served.chat("Hello?")) == expected(engine, "Hello?")
    asked = [clip_part(a), text_part("What?")]
    response = served.chat(asked)
    assert content(response) == expected(engine, "What?", a)
    [clip] = response.json()["transcriptions"]
    assert clip["text"] == "words"
    both = [text_part("Which"), clip_part(a), clip_part(b), text_part("is longer?")]
    assert content(served.chat(both)) == expected(engine, "Which\nis longer?", a, b)


def test_embeddings_are_those_of_the_whole_conversation(
    served: Served, engine: Engine, server: TextServer, clips: dict[str, bytes]
) -> None:
    """The server's template around our parts gives what our layout gives."""
    turn = user_message("What?", [clips["a"]], locator=engine.layout.locator, texts=["words"])
    turns = [*system_messages(engine, None), turn]
    served.chat([clip_part(clips["a"]), text_part("What?")])
    whole = engine.prepare([Request(messages=turns)])[0]
    [part] = server.tensors()
    mark = "\ue005"
    before, after = encode_chat(
        engine.tokenizer, [*turns[:-1], Message(role="user", content=mark)], locator=mark
    )
    prompt = whole.embeddings_SE
    assert torch.equal(part, prompt[len(before) : len(prompt) - len(after)])
    [own] = [m for m in server.body["messages"] if m["role"] == "user"]
    assert [p["type"] for p in own["content"]] == ["prompt_embeds"]
    answer = served.chat([clip_part(clips["a"]), text_part("What?")]).json()
    usage = answer["usage"]
    assert usage["prompt_tokens"] == len(prompt)
    assert usage["prompt_tokens_details"] == {"audio_tokens": 16, "cached_tokens": 3}
    [heard], [span] = answer["transcriptions"], whole.tokens.spans
    assert (heard["audio_tokens"], heard["text_tokens"]) == (16, span.num_text_tokens)
    assert span.num_text_tokens > 0


@pytest.mark.parametrize("text", ["Say <|im_end|> twice", "What is <prompt_embeds>?"])
def test_text_that_spells_a_control_token_stays_text(
    text: str, served: Served, engine: Engine, server: TextServer
) -> None:
    assert content(served.chat(text)) == expected(engine, text)
    assert text not in json.dumps(server.body)
    assert content(served.chat("Hello?")) == expected(engine, "Hello?")
    assert server.body["messages"][-1] == {"role": "user", "content": "Hello?"}


def test_turns_and_system_messages_reach_the_server(
    served: Served, engine: Engine, server: TextServer, clips: dict[str, bytes]
) -> None:
    asked = [
        {"role": "user", "content": [clip_part(clips["a"]), text_part("What?")], "name": "Ann"},
        {"role": "assistant", "content": "A bell."},
        "Sure?",
    ]
    turn = user_message("What?", [clips["a"]], locator=engine.layout.locator, texts=["words"])
    again = [Message(role="assistant", content="A bell."), Message(role="user", content="Sure?")]
    for role, text in (("system", "Be brief."), ("developer", "Be brief."), ("system", "")):
        turns = [*system_messages(engine, text), turn, *again]
        [answer] = engine.respond([turns], Sampling(max_new_tokens=10))
        assert content(served.chat({"role": role, "content": text}, *asked)) == answer.text
    assert server.body["messages"][0]["name"] == "Ann"
    turns = [*system_messages(engine, None), turn, *again]
    [answer] = engine.respond([turns], Sampling(max_new_tokens=10))
    assert content(served.chat(*asked)) == answer.text


def test_fields_of_the_body_arrive_as_they_were_sent(
    served: Served, server: TextServer, clips: dict[str, bytes]
) -> None:
    fields = {
        "tools": [TOOL],
        "tool_choice": "auto",
        "response_format": SCHEMA,
        "logit_bias": {"5": -1.5},
        "priority": 3,
        "structured_outputs": {"regex": "a+"},
        "some_field_of_tomorrow": {"deep": [1, None, "x"]},
        "temperature": 0.25,
        "top_p": 0.5,
        "top_k": 7,
        "seed": -3,
        "stop": ["a", "b"],
        "max_tokens": 4,
        "chat_template_kwargs": {"enable_thinking": True},
    }
    served.chat([clip_part(clips["a"]), text_part("What?")], **fields)
    kwargs = {"date_string": "26 Jul 2024", "enable_thinking": True}
    sent = {name: server.body[name] for name in fields}
    assert sent == fields | {"chat_template_kwargs": kwargs}
    assert server.body["model"] == "backbone"
    assert "max_completion_tokens" not in server.body


def test_what_a_request_leaves_out_is_as_in_the_embedded_engine(
    served: Served, server: TextServer
) -> None:
    served.chat("Hello?", max_tokens=None, temperature=None)
    body = server.body
    assert (body["temperature"], body["top_p"], body["max_completion_tokens"]) == (0.0, 1.0, 256)
    assert (body["top_k"], body["min_p"], body["repetition_penalty"]) == (0, 0.0, 1.0)


def test_tools_and_their_calls_pass_in_both_directions(served: Served, server: TextServer) -> None:
    choice = served.chat("Look!", tools=[TOOL]).json()["choices"][0]
    [call] = choice["message"]["tool_calls"]
    assert call["function"] == {"name": "look", "arguments": "{}"}
    assert choice["message"]["content"] is None
    turns = [
        {"role": "user", "content": "Look!"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "a cat", "tool_call_id": "call_1"},
    ]
    server.fail = lambda body: (200, {"choices": [], "usage": {}})  # its template knows no tools
    served.chat(*turns)
    assert server.body["messages"][-3:] == turns


def test_adapters_are_models_of_their_own(
    served: Served, server: TextServer, clips: dict[str, bytes]
) -> None:
    names = [model["id"] for model in served.client.get("/v1/models").json()["data"]]
    assert names == ["desta", "poet"]
    served.chat([clip_part(clips["a"]), text_part("What?")], model="poet")
    assert server.body["model"] == "poet"
    assert fault(served.chat("x", model="backbone"), 404)["code"] == "model_not_found"


def test_a_stream_is_the_answer_delta_by_delta(
    served: Served, engine: Engine, clips: dict[str, bytes]
) -> None:
    asked = [clip_part(clips["c"]), text_part("What?")]
    response = served.chat(asked, stream=True, stream_options={"include_usage": True}, n=2)
    parts = events(response)
    for index in (0, 1):
        choices = [c for part in parts for c in part["choices"] if c["index"] == index]
        assert "".join(c["delta"].get("content", "") for c in choices) == expected(
            engine, "What?", clips["c"]
        )
        assert choices[-1]["finish_reason"] == "length"
    assert parts[0]["transcriptions"][0]["text"] == "words"
    assert parts[-1]["usage"]["prompt_tokens_details"]["audio_tokens"] == 16
    assert "usage" not in events(served.chat("Hello?", stream=True))[-1]


def test_several_answers_and_log_probabilities_pass(served: Served, engine: Engine) -> None:
    response = served.chat(
        "Hello?", n=3, temperature=1.0, seed=5, logprobs=True, top_logprobs=2, max_tokens=4
    ).json()
    request = Request(
        messages=[*system_messages(engine, None), Message(role="user", content="Hello?")],
        sampling=Sampling(max_new_tokens=4, temperature=1.0),
        seed=5,
        num_answers=3,
        num_logprobs=2,
    )
    answers = engine.run([request])[0].unwrap()
    assert len({answer.text for answer in answers}) > 1
    for choice, answer in zip(response["choices"], answers, strict=True):
        assert choice["message"]["content"] == answer.text
        notes = choice["logprobs"]["content"]
        assert [note["logprob"] for note in notes] == pytest.approx(
            [logprob for logprob, _ in answer.logprobs], abs=1e-4
        )
        assert all(len(note["top_logprobs"]) == 2 for note in notes)


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


def test_a_conversation_stays_with_one_replica(engine: Engine, clips: dict[str, bytes]) -> None:
    servers = [TextServer(engine), TextServer(engine), TextServer(engine)]
    with gateway(engine, *servers) as served:
        first = {"role": "user", "content": [clip_part(clips["a"]), text_part("What?")]}
        again = [first, {"role": "assistant", "content": "A bell."}, "Sure?"]
        other = [clip_part(clips["a"]), text_part("Who?")]
        for asked in ([first], again, [other]):
            assert served.chat(*asked).status_code == 200
        assert sorted(len(server.bodies) for server in servers) == [0, 0, 3]
        for number in range(12):
            served.chat(f"{number}?")
        assert all(server.bodies for server in servers)


def test_without_one_replica_the_others_answer(engine: Engine) -> None:
    left = TextServer(engine)
    with ExitStack() as stack:
        gone = stack.enter_context(ExitStack())
        url = gone.enter_context(running(TextServer(engine).app))
        urls = [stack.enter_context(running(left.app)), url]
        names = Names("backbone")

        def make(metrics: Any) -> UpstreamEngine:
            limits = ServingLimits()
            return UpstreamEngine(
                engine, limits, metrics, name="desta", replicas=Replicas(urls), served=names
            )

        served = stack.enter_context(serve(make))
        gone.close()
        for number in range(6):
            assert served.chat(f"{number}?").status_code == 200
        assert len(left.bodies) == 6
        assert served.client.get("/ready").status_code == 200


def test_without_any_replica_requests_are_told_so(engine: Engine) -> None:
    with ExitStack() as stack:
        gone = stack.enter_context(ExitStack())
        urls = [gone.enter_context(running(TextServer(engine).app))]

        def make(metrics: Any) -> UpstreamEngine:
            limits, names = ServingLimits(), Names("backbone")
            return UpstreamEngine(
                engine, limits, metrics, name="desta", replicas=Replicas(urls), served=names
            )

        served = stack.enter_context(serve(make))
        assert served.client.get("/ready").status_code == 200
        gone.close()
        assert "does not answer" in fault(served.chat("Hello?"), 503)["message"]
        assert served.client.get("/ready").status_code == 503


def test_transcriptions_are_made_here(
    served: Served, server: TextServer, clips: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("desta.inference.audio_encoding.spoken_windows", lambda *_: [])
    response = served.client.post(
        "/v1/audio/transcriptions", data={"model": "desta"}, files={"file": clips["b"]}
    )
    assert response.json() == {"text": ""}
    assert server.bodies == []


def test_beginnings_go_to_each_replica_alike() -> None:
    urls = [f"http://10.0.0.{n}" for n in range(4)]
    replicas = Replicas(urls)
    firsts = [replicas.order(str(n))[0] for n in range(2000)]
    assert all(400 < firsts.count(url) < 600 for url in urls)
    fewer = Replicas(urls[:3])
    moved = [
        (a, fewer.order(str(n))[0]) for n, a in enumerate(firsts) if a != fewer.order(str(n))[0]
    ]
    assert {a for a, _ in moved} == {urls[3]}  # only what was there goes elsewhere
    assert asyncio.run(Replicas([]).close()) is None
