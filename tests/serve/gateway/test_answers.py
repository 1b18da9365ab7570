"""The gateway: clips become embeddings, everything else goes to the text server and back."""

import json

import pytest
import torch

from desta.inference.conversation import system_messages, user_message
from desta.inference.engine import Engine
from desta.inference.requests import Request
from desta.model.backbone.chat import encode_chat
from desta.model.backbone.sampling import Sampling
from desta.records import Message
from support.chat_parts import clip_part, text_part
from support.replies import content, events, expected, fault
from support.serving import Served
from support.text_server import TextServer

pytestmark = pytest.mark.serve

TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}}


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


def test_transcriptions_are_made_here(
    served: Served, server: TextServer, clips: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("desta.inference.audio_encoding.spoken_windows", lambda *_: [])
    response = served.client.post(
        "/v1/audio/transcriptions", data={"model": "desta"}, files={"file": clips["b"]}
    )
    assert response.json() == {"text": ""}
    assert server.bodies == []
