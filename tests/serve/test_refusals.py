"""Whatever a client sends, it gets a sentence and a fix in OpenAI's shape, and no 5xx."""

import base64
import json
import logging
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.chat_parts import clip_part, text_part, url_part
from support.serving import Served

pytestmark = pytest.mark.serve

SECRET = "the-secret-of-the-client"
USER = {"role": "user", "content": "Hello?"}


def error_of(response: Any) -> dict[str, Any]:
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert "; " in error["message"]  # what is wrong; what to do
    assert "Traceback" not in response.text
    return dict(error)


@pytest.mark.parametrize(
    ("fields", "status", "words"),
    [
        ({"model": "gpt-4o"}, 404, "ask for desta"),
        ({"model": None}, 400, "model"),
        ({"messages": []}, 400, "messages"),
        ({"messages": "Hello?"}, 400, "messages"),
        ({"messages": [{"role": "wizard", "content": SECRET}]}, 400, "messages.0.role"),
        ({"messages": [{"role": "user", "content": 5}]}, 400, "messages.0.content"),
        ({"messages": [USER, USER | {"role": "tool"}]}, 400, "messages.1"),
        ({"messages": [USER, {"role": "assistant", "tool_calls": [{}]}]}, 400, "messages.1"),
        ({"n": 0}, 400, "n:"),
        ({"n": 9}, 400, "8 answers at most"),
        ({"n": "1"}, 400, "n:"),
        ({"temperature": -1}, 400, "temperature"),
        ({"top_p": 0}, 400, "top_p"),
        ({"max_tokens": 0}, 400, "max_tokens"),
        ({"max_tokens": 10**6}, 400, "lower max"),
        ({"top_logprobs": 2}, 400, "logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, 400, "top_logprobs"),
        ({"stream_options": {"include_usage": True}}, 400, "stream_options needs stream"),
        ({"stop": ["x"] * 17}, 400, "stop"),
        ({"tools": [{"type": "function"}]}, 400, '"tools" is not supported'),
        ({"response_format": {"type": "json_object"}}, 400, '"response_format"'),
        ({"modalities": ["text", "audio"]}, 400, '"modalities"'),
        ({"frequency_penalty": 0.5}, 400, '"frequency_penalty"'),
        ({"top_k": 5}, 400, '"top_k" is not supported'),
        ({"messages": [{"role": "user", "content": "\ud800"}]}, 400, "half a character"),
    ],
)
def test_a_wrong_field_is_named(
    served: Served, fields: dict[str, Any], status: int, words: str
) -> None:
    body = json.dumps({"model": "desta", "messages": [USER], "max_tokens": 3} | fields)
    response = served.client.post(
        "/v1/chat/completions", content=body, headers={"Content-Type": "application/json"}
    )
    assert response.status_code == status, response.text
    assert words in error_of(response)["message"]
    assert SECRET not in response.text


def test_fields_that_ask_for_nothing_are_taken(served: Served) -> None:
    neutral = {"tools": [], "response_format": {"type": "text"}, "frequency_penalty": 0.0}
    ignored = {"user": "me", "metadata": {"a": "b"}, "store": False, "seed": -3, "stop": None}
    assert served.chat("Hello?", **neutral, **ignored).status_code == 200


@pytest.mark.parametrize(
    ("part", "status", "words"),
    [
        ({"type": "prompt_embeds", "data": "gASV"}, 400, "type"),
        ({"type": "image_url", "image_url": {"url": "http://x/y.png"}}, 400, "type"),
        ({"type": "input_audio"}, 400, "input_audio"),
        ({"type": "input_audio", "input_audio": {"data": "%%%"}}, 400, "not base64"),
        ({"type": "input_audio", "input_audio": {"data": 3}}, 400, "data"),
        (clip_part(b""), 422, "is an empty file"),
        (clip_part(SECRET.encode()), 415, "format that can be read"),
        (clip_part(b"RIFF\x00\x00\x00\x00WAVE"), 422, ""),
        (url_part("/etc/passwd"), 400, "data URLs"),
        (url_part("file:///etc/passwd"), 400, "data URLs"),
        (url_part("data:audio/wav,abc"), 400, "base64"),
        (url_part("http://example.com/a.wav"), 403, "--allow-host"),
        (url_part("http://127.0.0.1/a.wav"), 403, "--allow-host"),
        (url_part("http://[::1"), 400, "no URL"),
    ],
)
def test_a_wrong_clip_is_refused(
    served: Served, part: dict[str, Any], status: int, words: str
) -> None:
    response = served.chat([part, text_part("What?")])
    assert response.status_code == status, response.text
    assert words in error_of(response)["message"]
    assert SECRET not in response.text


def test_a_clip_outside_a_user_message_is_refused(served: Served, clips: dict[str, bytes]) -> None:
    response = served.chat({"role": "system", "content": [clip_part(clips["a"])]}, "What?")
    assert response.status_code == 400
    assert "role system" in error_of(response)["message"]


@pytest.mark.parametrize(
    ("body", "media", "status"),
    [
        (b"", "application/json", 400),
        (b"{", "application/json", 400),
        (b"null", "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b"\xff\xfe", "application/json", 400),
        (b'{"model": NaN}', "application/json", 400),
        (b"{}", "text/plain", 415),
        (b"{}", "", 415),
    ],
)
def test_a_body_that_is_no_json_is_refused(
    served: Served, body: bytes, media: str, status: int
) -> None:
    headers = {"Content-Type": media} if media else {}
    response = served.client.post("/v1/chat/completions", content=body, headers=headers)
    assert response.status_code == status, response.text
    error_of(response)


def test_unknown_paths_and_methods_are_refused_in_the_same_shape(served: Served) -> None:
    assert served.client.get("/v1/embeddings").status_code == 404
    response = served.client.get("/v1/chat/completions")
    assert response.status_code == 405
    assert response.headers["allow"] == "POST"
    error_of(response)


def test_nothing_that_is_asked_or_said_reaches_a_log(
    served: Served, clips: dict[str, bytes], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for logger in ("desta", "uvicorn", "fastapi", "starlette", "multipart"):
        logging.getLogger(logger).setLevel(logging.DEBUG)
    served.chat([clip_part(clips["a"], said=SECRET), text_part(SECRET)])
    served.chat(SECRET, n=SECRET)
    served.chat([clip_part(SECRET.encode(), said=SECRET), text_part(SECRET)])
    served.chat(f"{SECRET} <|AUDIO|>")
    served.client.get(f"/v1/models/{SECRET}")
    encoded = base64.b64encode(SECRET.encode()).decode()
    ours = [r.getMessage() for r in caplog.records if not r.name.startswith("http")]
    assert not [line for line in ours if SECRET in line or encoded in line]


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=8,
)
fields = st.sampled_from(
    ["model", "messages", "n", "stop", "seed", "stream", "temperature", "top_p", "max_tokens"]
    + ["logprobs", "top_logprobs", "stream_options", "tools", "modalities", "user"]
)
parts = st.fixed_dictionaries(
    {"type": st.sampled_from(["text", "input_audio", "audio_url", "prompt_embeds"])},
    optional={
        "text": values,
        "input_audio": st.fixed_dictionaries({"data": st.text(max_size=12) | values}),
        "audio_url": st.fixed_dictionaries({"url": st.text(max_size=12) | values}),
    },
)
messages = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "system", "assistant", "tool"]) | values},
        optional={"content": st.text(max_size=12) | st.lists(parts, max_size=3) | values},
    ),
    max_size=3,
)


@settings(max_examples=60)
@given(st.dictionaries(fields, values, max_size=4), st.none() | messages)
def test_bodies_of_any_kind_get_an_answer_or_a_refusal(
    served: Served, body: dict[str, Any], asked: Any
) -> None:
    body = {"model": "desta", "messages": asked or [USER], "max_tokens": 2} | body
    response = served.client.post(
        "/v1/chat/completions",
        content=json.dumps(body).encode(errors="replace"),
        headers={"Content-Type": "application/json"},
    )
    assert response.status_code < 500, response.text
    if response.status_code != 200:
        error_of(response)


@settings(max_examples=30)
@given(st.data())
def test_damaged_recordings_get_an_answer_or_a_refusal(
    served: Served, clips: dict[str, bytes], data: st.DataObject
) -> None:
    whole = bytearray(clips["a"][:20_000])
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, 60) | st.integers(0, len(whole) - 1))
        whole[place] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(0, len(whole)))
    response = served.chat([clip_part(bytes(whole[:end])), text_part("What?")], max_tokens=1)
    assert response.status_code in (200, 400, 413, 415, 422), response.text
