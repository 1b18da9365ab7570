"""Requests that the endpoint refuses for good, and batches that end before they are whole."""

import json
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from desta.construction.staging import DROPPED
from desta.errors import ConfigError, DataError, UnavailableError
from desta.generators.base import Completion, Outcome, Refusal
from desta.generators.openai.client import OpenAIGenerator
from desta.records import Message
from desta.shards import Manifest
from support.commands import desta
from support.endpoint import SAMPLING, Endpoint, connected
from support.server import Reply

FILTERED: Reply = (400, {}, {"error": {"message": "not about 7", "code": "content_filter"}})
NUM_CLIPS = 12


def question(body: dict[str, Any]) -> str:
    return str(body["messages"][-1]["content"])


def refuse(*texts: str, reply: Reply = FILTERED) -> Callable[[dict[str, Any], int], Reply | None]:
    return lambda body, tries: reply if any(text in question(body) for text in texts) else None


def outcomes(generator: OpenAIGenerator, texts: Sequence[str]) -> tuple[list[Any], dict[int, Any]]:
    """Return what comes back, or the error, and what was told until then."""
    told: dict[int, Outcome] = {}
    try:
        found: list[Any] = [
            *generator.complete(
                [[Message(role="user", content=text)] for text in texts],
                SAMPLING,
                seeds=range(len(texts)),
                on_outcome=told.__setitem__,
            )
        ]
    except (DataError, ConfigError) as error:
        found = [error]
    return found, told


# -- batches ---------------------------------------------------------------------------------------


def test_a_refused_request_leaves_the_others_alone(
    endpoint: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    endpoint.fail = refuse("7", "8")
    generator = connected(endpoint)
    found, told = outcomes(generator, [f"{n}" for n in range(10)])

    refusal = Refusal(
        reason="refused by the endpoint: 400 content_filter", message="400 not about 7"
    )
    assert found[7] == found[8] == refusal
    assert [o.text for o in found if isinstance(o, Completion)] == [*"0123456", "9"]
    assert told == dict(enumerate(found))
    assert sorted(map(question, endpoint.questions)) == [*"0123456789", "Hello"]
    assert caplog.text.count("400 not about 7") == 1  # a kind is warned of once


@pytest.mark.parametrize(
    ("reply", "reason", "message"),
    [
        ((400, {}, {"error": {"message": "a  b", "code": 400, "type": "BadRequest"}}),
         "400 BadRequest", "400 a b"),
        ((400, {}, {"message": "9001 tokens", "code": None}), "400", "400 9001 tokens"),
        ((400, {}, {"error": {"message": "no", "code": "0 <b>"}}), "400", "400 no"),
        ((422, {}, {"detail": [{"msg": "bad"}]}), "422", "422 [{'msg': 'bad'}]"),
        ((413, {}, b"<html>large</html>"), "413", "413 <html>large</html>"),
        ((400, {}, ["odd"]), "400", '400 ["odd"]'),
    ],
)  # fmt: skip
def test_refusals_are_counted_by_status_and_code(
    endpoint: Endpoint, reply: Reply, reason: str, message: str
) -> None:
    endpoint.fail = refuse("bad", reply=reply)
    (refusal,), _ = outcomes(connected(endpoint), ["bad"])
    assert refusal == Refusal(reason=f"refused by the endpoint: {reason}", message=message)
    assert list(map(question, endpoint.questions)) == ["bad", "Hello"]


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (403, {"error": {"code": 403, "message": "flagged",
                         "metadata": {"reasons": ["violence"], "flagged_input": "bad",
                                      "provider_name": "p", "model_slug": "m"}}},
         "403 content_filter"),
        (403, {"error": {"code": 403, "message": "flagged",
                         "metadata": {"error_type": "content_policy_violation"}}},
         "403 content_policy_violation"),
        (200, {"error": {"code": 403, "message": "flagged",
                         "metadata": {"error_type": "content_policy_violation"}}},
         "200 content_policy_violation"),
        (403, {"code": "The caller does not have permission to execute the specified operation",
               "error": "Content violates usage guidelines. Failed check: SAFETY_CHECK_TYPE_BIO"},
         "403 content_filter"),
        (403, {"error": {"message": "filtered", "type": "content_filter", "code": "421"}},
         "403 content_filter"),
    ],
)  # fmt: skip
def test_a_content_filter_refuses_one_request_whatever_the_status(
    endpoint: Endpoint, status: int, body: dict[str, Any], reason: str
) -> None:
    endpoint.fail = refuse("bad", reply=(status, {}, body))
    (kept, refused), _ = outcomes(connected(endpoint), ["a", "bad"])
    assert kept.text == "A"
    assert refused.reason == f"refused by the endpoint: {reason}"


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"code": 403, "message": "no", "metadata": {"error_type": "permission_denied"}}},
        {"error": {"code": 403, "message": "no", "metadata": None}},
        {"code": "permission-denied", "error": "Access to the chat endpoint is denied"},
        b"<html>Forbidden: Content violates usage guidelines</html>",
    ],
)
def test_a_permission_that_is_missing_ends_the_run_soon(
    endpoint: Endpoint, body: dict[str, Any] | bytes
) -> None:
    generator = connected(endpoint, concurrency=1)
    endpoint.fail = refuse("1", "Hello", reply=(403, {}, body))
    (failure,), told = outcomes(generator, [f"{n}" for n in range(200)])
    assert isinstance(failure, ConfigError)
    assert list(map(question, endpoint.questions)) == ["0", "1", "Hello"]
    assert list(told) == [0]


def test_a_filter_of_every_request_ends_the_run_as_well(endpoint: Endpoint) -> None:
    generator = connected(endpoint)
    flagged = {"error": {"code": 403, "message": "no", "metadata": {"flagged_input": "x"}}}
    endpoint.fail = lambda body, tries: (403, {}, flagged)
    (failure,), told = outcomes(generator, ["a", "b"])
    assert isinstance(failure, ConfigError)
    assert "refuses every request: 403 no" in failure.message
    assert told == {}


def test_settings_that_every_request_carries_end_the_run_at_once(endpoint: Endpoint) -> None:
    generator = connected(endpoint, concurrency=4)
    error = {"error": {"message": "stop is not supported", "code": "unsupported_parameter"}}
    endpoint.fail = lambda body, tries: (400, {}, error) if "stop" in body else None
    (failure,), told = outcomes(generator, [f"{n}" for n in range(200)])
    assert isinstance(failure, ConfigError)
    assert "refuses every request: 400 stop is not supported" in failure.message
    assert "what was answered is kept" in failure.fix
    assert told == {}
    assert len(endpoint.questions) < 50


def test_what_breaks_within_a_batch_refuses_no_single_request(endpoint: Endpoint) -> None:
    generator = connected(endpoint, concurrency=1)
    endpoint.fail = lambda body, tries: FILTERED if len(endpoint.questions) > 5 else None
    (failure,), told = outcomes(generator, [f"{n}" for n in range(12)])
    assert isinstance(failure, ConfigError)
    assert [o.text for o in told.values()] == [*"01234"]


def test_what_was_answered_before_a_failure_is_told(endpoint: Endpoint) -> None:
    generator = connected(endpoint, concurrency=1, max_retries=1)
    endpoint.fail = lambda body, tries: (500, {}, {}) if len(endpoint.questions) > 5 else None
    (failure,), told = outcomes(generator, [f"{n}" for n in range(12)])
    assert isinstance(failure, UnavailableError)
    assert [o.text for o in told.values()] == [*"01234"]


# -- construction ----------------------------------------------------------------------------------


@pytest.fixture
def command(endpoint: Endpoint, tmp_path: Path) -> list[str]:
    """Construct pairs about twelve clips, in one batch, request by request."""
    clips = [
        {
            "id": f"c/{number}",
            "source": "c",
            "audio": f"{number}.wav",
            "duration": 1.0,
            "domain": "sound",
            "attributes": {"Sound class": f"Thing {number:02}"},
        }
        for number in range(NUM_CLIPS)
    ]
    (tmp_path / "clips.jsonl").write_text("\n".join(map(json.dumps, clips)))
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"clips: [{{path: {tmp_path}/clips.jsonl, root: .}}]\n"
        "backbone: tiny\nsampling: {max_new_tokens: 40}\nfilters: [empty]\nbatch_size: 50\n"
        f"engine: {{kind: openai, base_url: {endpoint.url}, max_retries: 1, concurrency: 1}}\n"
    )
    return ["construct", str(recipe), "--out", str(tmp_path / "out"), "--json"]


def test_refused_requests_are_counted_and_not_asked_again(
    endpoint: Endpoint, tmp_path: Path, command: list[str]
) -> None:
    out = tmp_path / "out"
    endpoint.fail = refuse("Thing 03", "Thing 07")
    result = desta(*command)
    reason = "refused by the endpoint: 400 content_filter"
    counted = {"reason": reason, "count": 2, "example": "c/3#0"}
    assert json.loads(result.stdout) == {"kept": 10, "asked": 12, "dropped": [counted]}
    rejects = [json.loads(line) for line in (out / DROPPED).read_text().splitlines()]
    assert [(r["id"], r["reason"], r["message"], r["response"]) for r in rejects] == [
        (f"c/{n}#0", reason, "400 not about 7", "") for n in (3, 7)
    ]
    manifest = Manifest.read(out)
    assert manifest is not None
    assert sum(c["dropped"] for c in manifest.counts["c"].values()) == 2
    assert reason in desta("inspect", out).stdout

    endpoint.bodies.clear()
    again = desta(*command, "--set", "filters=[]")  # another data set of the same requests
    assert json.loads(again.stdout)["dropped"] == [counted]
    assert endpoint.questions == []


def test_what_was_refused_is_asked_again_where_that_is_wanted(
    endpoint: Endpoint, tmp_path: Path, command: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    endpoint.fail = refuse("Thing 03", "Thing 07")
    desta(*command)
    endpoint.fail = refuse("Thing 07")
    endpoint.bodies.clear()
    result = desta(*command, "--retry")
    assert json.loads(result.stdout)["kept"] == 11
    assert len(endpoint.questions) == 3  # two, and the first question with their settings
    assert "built again" not in caplog.text

    endpoint.fail = lambda body, tries: None
    assert json.loads(desta(*command).stdout)["kept"] == 11
    assert json.loads(desta(*command, "--retry").stdout)["kept"] == 12
    endpoint.bodies.clear()
    assert json.loads(desta(*command, "--retry").stdout)["kept"] == 12
    assert endpoint.questions == []


def test_too_many_refusals_end_in_one_error(endpoint: Endpoint, command: list[str]) -> None:
    endpoint.fail = refuse("Thing")
    result = desta(*command)
    assert isinstance(result.exception, DataError)
    assert "refused by the endpoint: 400 content_filter: 12 (first: c/0#0)" in str(result.exception)


def _die(endpoint: Endpoint) -> Reply | None:
    return (500, {}, {}) if len(endpoint.questions) > 7 else None


def _interrupt(endpoint: Endpoint) -> Reply | None:
    if len(endpoint.questions) == 8:
        os.kill(os.getpid(), signal.SIGINT)
    return None


@pytest.mark.parametrize("end", [_die, _interrupt])
def test_answers_of_a_batch_that_ends_early_are_kept(
    endpoint: Endpoint, command: list[str], end: Callable[[Endpoint], Reply | None]
) -> None:
    endpoint.seconds = 0.05  # time for a signal to arrive
    endpoint.fail = lambda body, tries: end(endpoint)
    assert desta(*command).exit_code != 0
    endpoint.fail = lambda body, tries: None
    endpoint.bodies.clear()
    assert json.loads(desta(*command).stdout)["kept"] == NUM_CLIPS
    assert len(endpoint.questions) == 5
