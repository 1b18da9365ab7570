"""Failures that pass, and failures that do not."""

import time
from typing import Any

import pytest

from desta.errors import ConfigError, DataError, DestaError
from desta.generators.base import Completion, Refusal
from desta.generators.config import OpenAIEngine
from desta.generators.openai.client import connect
from desta.records import Message
from support.endpoint import SAMPLING, Endpoint, ask, connected, engine
from support.server import Reply, nobody


@pytest.mark.parametrize(
    "failure",
    [
        (500, {}, {"error": {"message": "crashed"}}),
        (503, {}, b"<html>busy</html>"),
        (429, {}, {"error": {"message": "slow down"}}),
        (408, {}, {}),
        (200, {}, b'{"choices": [{"mess'),
        (200, {}, b"<html>a proxy says hello</html>"),
        (200, {}, {"choices": []}),
        (200, {}, {"choices": [{"message": {"content": 5}, "finish_reason": "stop"}]}),
        (200, {}, ["no object"]),
    ],
)
def test_what_may_pass_is_tried_again(endpoint: Endpoint, failure: Reply) -> None:
    generator = connected(endpoint)
    endpoint.fail = lambda body, tries: failure if tries <= 2 else None
    assert ask(generator, ["a", "b"]) == ["A", "B"]
    assert generator.usage.retries == 4


def test_slow_answers_are_given_up_and_asked_for_again(endpoint: Endpoint) -> None:
    generator = connected(endpoint, timeout=0.3, max_retries=20)  # a slow machine needs more

    def sleep_once(body: dict[str, Any], tries: int) -> None:
        time.sleep(0.6 if tries == 1 else 0)

    endpoint.fail = sleep_once
    assert ask(generator, ["a", "b"]) == ["A", "B"]
    assert generator.usage.retries >= 2


def test_tries_end_with_one_error(endpoint: Endpoint) -> None:
    generator = connected(endpoint)
    endpoint.fail = lambda body, tries: (500, {}, {"error": {"message": "out of memory"}})
    with pytest.raises(DataError, match=r"answered 500 out of memory \(tried 3 times\)") as caught:
        ask(generator, ["a"])
    assert "what was answered is kept" in caught.value.fix
    assert len(endpoint.questions) == 7  # four tries, and three of the first question


FAILURES: list[tuple[Reply, str, str]] = [
    ((500, {}, {"error": "boom"}), "no answer from the endpoint: 500", "500 boom"),
    ((200, {}, {"error": {"code": 500}}), "no answer from the endpoint: 500", "answered 500"),
    ((402, {}, {"error": "No balance"}), "refused by the endpoint: 402", "402 No balance"),
    ((403, {}, {"error": "blocked"}), "refused by the endpoint: 403", "requires a key"),
    ((404, {}, b"nope"), "refused by the endpoint: 404", "has no model"),
    ((405, {}, b"nope"), "refused by the endpoint: 405", "refuses to answer"),
    ((451, {}, b"law"), "refused by the endpoint: 451", "refuses to answer"),
    (
        (307, {"Location": "/v2"}, b""),
        "refused by the endpoint: 307",
        "redirects requests: 307 to /v2",
    ),
    (
        (200, {"Content-Encoding": "gzip"}, b"no gzip"),
        "no answer that can be read: a body that cannot be unpacked",
        "cannot be unpacked",
    ),
]


@pytest.mark.parametrize(("failure", "reason", "message"), FAILURES)
def test_one_request_that_fails_is_counted_and_the_others_go_on(
    endpoint: Endpoint, failure: Reply, reason: str, message: str
) -> None:
    generator = connected(endpoint, max_retries=1)
    endpoint.fail = lambda body, tries: failure if body["messages"][-1]["content"] == "1" else None
    conversations = [[Message(role="user", content=f"{n}")] for n in range(4)]
    found = generator.complete(conversations, SAMPLING, seeds=range(4))
    assert isinstance(found[1], Refusal)
    assert found[1].reason == reason
    assert [o.text for o in found if isinstance(o, Completion)] == ["0", "2", "3"]


@pytest.mark.parametrize(("failure", "reason", "message"), FAILURES)
def test_a_failure_of_every_request_ends_the_run_soon(
    endpoint: Endpoint, failure: Reply, reason: str, message: str
) -> None:
    generator = connected(endpoint, concurrency=1, max_retries=1)
    endpoint.fail = lambda body, tries: failure
    with pytest.raises(DestaError, match=message):
        ask(generator, [f"{n}" for n in range(200)])
    assert len(endpoint.questions) <= 4


def test_a_key_that_is_revoked_ends_a_batch_at_once(endpoint: Endpoint) -> None:
    generator = connected(endpoint, concurrency=1)
    endpoint.fail = lambda body, tries: (401, {}, {"error": {"message": "revoked"}})
    with pytest.raises(ConfigError, match="requires a key"):
        ask(generator, [f"{n}" for n in range(200)])
    assert len(endpoint.questions) == 1


def test_one_request_that_is_never_answered_in_time_is_counted(endpoint: Endpoint) -> None:
    generator = connected(endpoint, timeout=2.0, max_retries=0)

    def sleep(body: dict[str, Any], tries: int) -> None:
        time.sleep(3 if body["messages"][-1]["content"] == "b" else 0)

    endpoint.fail = sleep
    conversations = [[Message(role="user", content=text)] for text in "ab"]
    answer, refusal = generator.complete(conversations, SAMPLING, seeds=[0, 1])
    assert isinstance(answer, Completion)
    assert isinstance(refusal, Refusal)
    assert refusal.reason == "no answer from the endpoint: time-out"


def test_a_request_is_sent_once_more_when_the_endpoint_is_well_again(endpoint: Endpoint) -> None:
    generator = connected(endpoint, max_retries=1)
    endpoint.fail = lambda body, tries: (
        (500, {}, {}) if body["messages"][-1]["content"] == "a" and tries <= 2 else None
    )
    assert ask(generator, ["a", "b"]) == ["A", "B"]


def test_an_endpoint_that_is_down_is_said_at_once() -> None:
    with nobody() as url, pytest.raises(ConfigError, match=f"{url} cannot be reached") as caught:
        connect(OpenAIEngine(base_url=url), model="tiny")
    assert "tried" not in caught.value.message
    assert "start the endpoint" in caught.value.fix


def test_an_endpoint_that_goes_down_is_waited_for(endpoint: Endpoint) -> None:
    generator = connected(endpoint)
    with nobody() as url:
        generator._engine = generator._sender._engine = OpenAIEngine(base_url=url, max_retries=2)
        with pytest.raises(DataError, match=r"cannot be reached: .* \(tried 3 times\)"):
            ask(generator, ["a"])


@pytest.mark.parametrize(
    ("key", "message", "fix"),
    [
        (None, "requires a key, and OPENAI_API_KEY is not set", "export OPENAI_API_KEY"),
        ("secret-1", "refuses the key in OPENAI_API_KEY", "valid"),
    ],
)
def test_a_key_that_is_missing_or_refused(
    endpoint: Endpoint,
    monkeypatch: pytest.MonkeyPatch,
    key: str | None,
    message: str,
    fix: str,
) -> None:
    endpoint.key = "secret-2"
    if key:
        monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(ConfigError, match=message) as caught:
        connected(endpoint)
    assert fix in caught.value.fix
    assert "secret" not in str(caught.value)
    assert len(endpoint.bodies) == 1


def test_a_key_is_taken_from_the_variable_named(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint.key = "secret-2"
    monkeypatch.setenv("MY_KEY", "secret-2")
    assert ask(connected(endpoint, key_variable="MY_KEY"), ["a"]) == ["A"]


def test_an_unknown_model_is_said_with_those_that_are_known(endpoint: Endpoint) -> None:
    with pytest.raises(ConfigError, match='has no model "tinny"') as caught:
        connect(engine(endpoint), model="tinny")
    assert caught.value.fix == 'did you mean "tiny"?; set engine.model'
    assert len(endpoint.bodies) == 1


def test_a_wrong_address_is_said(endpoint: Endpoint) -> None:
    wrong = OpenAIEngine(base_url=endpoint.url.removesuffix("/v1"))
    with pytest.raises(ConfigError, match="404") as caught:
        connect(wrong, model="tiny")
    assert "/v1" in caught.value.fix


def test_an_account_without_credit_is_not_tried_again(endpoint: Endpoint) -> None:
    error = {"message": "You exceeded your quota", "code": "insufficient_quota"}
    endpoint.fail = lambda body, tries: (429, {}, {"error": error})
    with pytest.raises(ConfigError, match="quota of the account"):
        connected(endpoint)
    assert len(endpoint.bodies) == 1


def test_a_pause_of_hours_is_an_error(endpoint: Endpoint) -> None:
    generator = connected(endpoint)
    endpoint.fail = lambda body, tries: (429, {"Retry-After": "86400"}, {})
    with pytest.raises(DataError, match="a pause of 86400 s"):
        ask(generator, ["a"])
