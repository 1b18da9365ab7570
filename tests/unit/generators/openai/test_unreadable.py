"""Responses without an answer: one is counted, an endpoint that gives no others ends the run."""

from typing import Any

import pytest

from desta.errors import ConfigError, UnavailableError
from desta.generators.base import Completion, Refusal
from desta.generators.config import OpenAIEngine
from desta.generators.openai.client import connect
from support.endpoint import Endpoint, ask_all, connected, one, say

ENDED = {"finish_reason": "stop"}


@pytest.mark.parametrize(
    ("reply", "what"),
    [
        ({"choices": []}, "JSON without choices"),
        ({"choices": None}, "JSON without choices"),
        ({"choices": [None]}, "JSON without choices"),
        ({"choices": {"message": {"content": "A"}}}, "JSON without choices"),
        ({"choices": [{"message": None}]}, "a choice without an answer"),
        ({"choices": [{"message": {"content": 5}, **ENDED}]}, "a choice without an answer"),
        ({"choices": [{"message": {"content": "A"}, "finish_reason": "error"}]},
         "finish_reason error"),
        ({"choices": [{"message": {"content": "A"}, "finish_reason": "abort"}]},
         "finish_reason abort"),
        ({"error": "the model has crashed"}, "an error"),
        ({"error": {"message": "no", "code": None}}, "an error"),
        ({"message": {"content": "A"}}, "JSON without choices"),
        (["no object"], "JSON without choices"),
        (b"null", "what is no JSON"),
        (b"", "an empty body"),
        (b"\n \n", "an empty body"),
        (b"<!DOCTYPE html><title>busy</title>", "a page of HTML"),
        (b'data: {"choices": [{"delta": {"content": "A"}}]}\n\n', "a stream without an answer"),
        (b'data: {"choices": [{"delta": {"cont\n\ndata: [DONE]\n\n', "a stream without an answer"),
        (b"data: 5\n\ndata: [DONE]\n\n", "a stream without an answer"),
        (b"data: [DONE]\n\n", "a stream without an answer"),
        (b": keep alive\n\n", "a stream without an answer"),
        (b'data: {"error": {"message": "crashed"}}\n\n', "an error"),
        (b'{"choices": [{"mess', "what is no JSON"),
        (b"\xff\xfe\x00", "what is no JSON"),
        (b"[" * 100_000, "what is no JSON"),
        ((200, {"Content-Encoding": "gzip"}, b"no gzip"), "a body that cannot be unpacked"),
    ],
)  # fmt: skip
def test_an_answer_that_cannot_be_read_is_counted_and_leaves_the_others_alone(
    endpoint: Endpoint, reply: Any, what: str
) -> None:
    generator = connected(endpoint, max_retries=1)
    say(endpoint, reply)
    first, found, last = ask_all(generator, "a", "b?", "c")
    assert isinstance(found, Refusal)
    assert found.reason == f"no answer that can be read: {what}"
    assert [first, last] == [
        Completion(text=text, num_tokens=500, finished=True) for text in ("A", "C")
    ]


@pytest.mark.parametrize(
    ("reply", "in_protocol"),
    [
        ({"choices": []}, True),
        ({"error": "the model has crashed"}, True),
        ({"hello": "world"}, False),
        (b"<html>welcome</html>", False),
        (b"data: [DONE]\n\n", True),
    ],
)
def test_the_address_is_in_doubt_only_where_no_protocol_is_spoken(
    endpoint: Endpoint, reply: Any, in_protocol: bool
) -> None:
    endpoint.fail = lambda body, tries: (200, {}, reply)
    with pytest.raises(ConfigError, match="is no chat completion, but") as caught:
        connected(endpoint, max_retries=1)
    assert ("engine.base_url" in caught.value.fix) is not in_protocol


def test_an_endpoint_in_trouble_from_the_beginning_is_not_mistaken_for_a_wrong_address(
    endpoint: Endpoint,
) -> None:
    endpoint.fail = lambda body, tries: (503, {}, {"error": {"message": "loading"}})
    with pytest.raises(ConfigError, match="503 loading") as caught:
        connected(endpoint, max_retries=1)
    assert "base_url" not in caught.value.fix


def test_an_endpoint_that_gives_nothing_to_read_any_more_ends_the_run(endpoint: Endpoint) -> None:
    generator = connected(endpoint, max_retries=1, concurrency=1)
    endpoint.fail = lambda body, tries: (200, {}, b"<html>closed</html>")
    with pytest.raises(UnavailableError, match="a page of HTML") as caught:
        ask_all(generator, *[f"{n}" for n in range(50)])
    assert "what was answered is kept" in caught.value.fix
    assert len(endpoint.questions) == 4  # two tries of the first, and two of the first question


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        ({"code": 401, "message": "No auth"}, ConfigError, "requires a key"),
        ({"code": "402", "message": "Add credits"}, ConfigError, "402 Add credits"),
        ({"code": 503, "message": "No provider"}, UnavailableError, "503 No provider"),
        ({"code": 429, "message": "Slow down"}, UnavailableError, "429 Slow down"),
    ],
)
def test_an_error_that_comes_as_a_success_is_read_by_its_code(
    endpoint: Endpoint, error: dict[str, Any], kind: type[Exception], message: str
) -> None:
    generator = connected(endpoint, max_retries=1)
    for body in ({"error": error}, {"choices": [{"error": error, "finish_reason": "error"}]}):
        say(endpoint, body, to="")
        with pytest.raises(kind, match=message):
            ask_all(generator, "a", "b?")


def test_a_request_refused_by_a_code_in_a_success_is_one(endpoint: Endpoint) -> None:
    found = one(endpoint, {"error": {"code": 400, "message": "too long"}})
    assert found == Refusal(reason="refused by the endpoint: 200", message="400 too long")


def test_a_key_with_a_line_break_is_sent_without_and_never_shown(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint.key = "secret-2"
    monkeypatch.setenv("OPENAI_API_KEY", "secret-2\n")
    assert ask_all(connected(endpoint), "a") == [
        Completion(text="A", num_tokens=500, finished=True)
    ]


@pytest.mark.parametrize("key", ["ключ-secret", "secret\n2"])
def test_a_key_that_cannot_be_sent_is_one_sentence_that_does_not_show_it(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(ConfigError, match="the key in OPENAI_API_KEY holds") as caught:
        connected(endpoint)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://[::1/v1", "http://host:port/v1"])
def test_an_address_that_is_none_is_one_sentence(url: str) -> None:
    with pytest.raises(ConfigError, match="is no URL") as caught:
        connect(OpenAIEngine(base_url=url), model="tiny")
    assert "/v1" in caught.value.fix
