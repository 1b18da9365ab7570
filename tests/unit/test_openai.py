"""The endpoint of these tests is a real one: an HTTP server that speaks the protocol, and fails."""

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from desta.cli.app import app
from desta.errors import ConfigError, DataError
from desta.llm import openai
from desta.llm.answers import retry_after
from desta.llm.base import Sampling
from desta.llm.config import OpenAIEngine
from desta.llm.openai import OpenAIGenerator, connect
from desta.llm.pacing import Pace
from desta.records import AudioRef, Message

SAMPLING = Sampling(temperature=0.05, max_new_tokens=40, stop=("###",))
HELD = 0.3  # seconds in a `Retry-After`

Reply = tuple[int, dict[str, str], Any]
"""Status, headers, body: what JSON can say, or bytes as they are."""


class Endpoint:
    """Answers with the last message in capitals, unless a test says otherwise."""

    def __init__(self) -> None:
        self.fail: Callable[[dict[str, Any], int], Reply | None] = lambda body, tries: None
        """Body of a request and how often it has come -> what to answer instead."""
        self.fingerprint: str | None = "build-7"
        self.usage = True
        self.seconds = 0.0
        self.key: str | None = None
        self.bodies: list[dict[str, Any]] = []
        self.times: list[float] = []
        self.most_at_once = 0
        self._at_once = 0
        self._lock = threading.Lock()

    def answer(self, body: dict[str, Any], key: str | None) -> Reply:
        with self._lock:
            self.times.append(time.monotonic())
            self.bodies.append(body)
            tries = sum(body == other for other in self.bodies)
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            time.sleep(self.seconds)
            return self._answer(body, key, tries)
        finally:
            with self._lock:
                self._at_once -= 1

    def _answer(self, body: dict[str, Any], key: str | None, tries: int) -> Reply:
        if self.key and key != f"Bearer {self.key}":
            return 401, {}, {"error": {"message": "Incorrect API key"}}
        if body["model"] != "tiny":
            return 404, {}, {"error": {"message": f"no {body['model']}", "code": "not_found"}}
        if failure := self.fail(body, tries):
            return failure
        return 200, {}, completion(body, self.fingerprint, self.usage)

    @property
    def questions(self) -> list[dict[str, Any]]:
        """Bodies without the one by which a generator introduces itself."""
        return self.bodies[1:]


def completion(
    body: dict[str, Any], fingerprint: str | None = None, usage: bool = True
) -> dict[str, Any]:
    text = body["messages"][-1]["content"].upper()
    long = len(text) > 200
    record: dict[str, Any] = {
        "model": "tiny-2026",
        "system_fingerprint": fingerprint,
        "choices": [
            {"message": {"content": f" {text} "}, "finish_reason": "length" if long else "stop"}
        ],
    }
    if usage:
        record["usage"] = {"prompt_tokens": 1000, "completion_tokens": 500}
    return record


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    """An endpoint that listens; `url` says where."""
    behaviour = Endpoint()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.path != "/v1/chat/completions":
                self._send(404, {}, b"<html>nothing here</html>")
                return
            self._send(*behaviour.answer(body, self.headers["Authorization"]))

        def do_GET(self) -> None:
            status = 200 if self.path == "/v1/models" else 404
            self._send(status, {}, {"data": [{"id": "tiny"}, {"id": "huge"}]})

        def _send(self, status: int, headers: dict[str, str], content: Any) -> None:
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            try:
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(data))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)
            except ConnectionError:  # a client that did not want to wait
                pass

        def log_message(self, format: str, *args: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        request_queue_size = 256

    server = Server(("127.0.0.1", 0), Handler)
    behaviour.url = f"http://127.0.0.1:{server.server_port}/v1"  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield behaviour
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai, "_FIRST_WAIT", 0.01)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def engine(endpoint: Any, **changes: Any) -> OpenAIEngine:
    return OpenAIEngine(base_url=endpoint.url, **{"max_retries": 3, **changes})


def connected(endpoint: Any, **changes: Any) -> OpenAIGenerator:
    return connect(engine(endpoint, **changes), model="tiny")


def ask(generator: OpenAIGenerator, texts: Sequence[str]) -> list[str]:
    conversations = [[Message(role="user", content=text)] for text in texts]
    answers = generator.complete(conversations, SAMPLING, seeds=range(len(texts)))
    return [answer.text for answer in answers]


# -- what is asked and what comes back -----------------------------------------------------------


def test_a_clip_is_sent_as_its_text_with_all_settings(endpoint: Endpoint) -> None:
    generator = connected(endpoint, extra_body={"top_k": 5})
    clips = (AudioRef(audio="a.wav", text="[hi <|AUDIO|>]"), AudioRef(audio="b.wav"))
    conversation = [
        Message(role="system", content="Listen."),
        Message(role="user", content="<a><|AUDIO|></a>, <|AUDIO|>?", audios=clips),
    ]

    (answer,) = generator.complete([conversation], SAMPLING, seeds=[2**62 + 5])

    assert answer.text == "<A>[HI <|AUDIO|>]</A>,  ?"
    assert (answer.num_tokens, answer.finished) == (500, True)
    assert endpoint.questions == [
        {
            "model": "tiny",
            "messages": [
                {"role": "system", "content": "Listen."},
                {"role": "user", "content": "<a>[hi <|AUDIO|>]</a>,  ?"},
            ],
            "temperature": 0.05,
            "top_p": 1.0,
            "max_tokens": 40,
            "seed": 5,
            "stop": ["###"],
            "top_k": 5,
        }
    ]
    assert generator.count_tokens(conversation) == 4


def test_answers_come_in_order_and_cut_off_ones_are_told(endpoint: Endpoint) -> None:
    generator = connected(endpoint)
    texts = [f"text {n}" for n in range(40)] + ["long " * 50]
    conversations = [[Message(role="user", content=text)] for text in texts]

    answers = generator.complete(conversations, SAMPLING, seeds=range(41))

    assert [a.text for a in answers] == [text.upper().strip() for text in texts]
    assert [a.finished for a in answers] == [True] * 40 + [False]
    assert generator.complete([], SAMPLING, seeds=[]) == []


def test_no_more_requests_are_under_way_than_allowed(endpoint: Endpoint) -> None:
    endpoint.seconds = 0.02
    ask(connected(endpoint, concurrency=4), [f"{n}" for n in range(24)])
    assert endpoint.most_at_once == 4


def test_usage_counts_tokens_and_cost(endpoint: Endpoint) -> None:
    generator = connected(endpoint, input_price=2.0, output_price=8.0)
    endpoint.fail = lambda body, tries: (500, {}, {}) if tries == 1 else None
    ask(generator, ["a", "b", "c"])

    usage = generator.usage
    assert (usage.requests, usage.retries) == (4, 3)
    assert (usage.input_tokens, usage.output_tokens) == (4000, 2000)
    assert usage.cost == pytest.approx(4000 * 2e-6 + 2000 * 8e-6)


def test_words_count_where_the_endpoint_does_not(endpoint: Endpoint) -> None:
    endpoint.usage = False
    message = Message(role="user", content="three short words")
    (answer,) = connected(endpoint).complete([[message]], SAMPLING, seeds=[0])
    assert answer.num_tokens == 3


# -- failures that pass --------------------------------------------------------------------------


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
    generator = connected(endpoint, timeout=0.3)

    def sleep_once(body: dict[str, Any], tries: int) -> None:
        time.sleep(0.6 if tries == 1 else 0)

    endpoint.fail = sleep_once
    assert ask(generator, ["a", "b"]) == ["A", "B"]
    assert generator.usage.retries >= 2


def test_retry_after_holds_every_request(endpoint: Endpoint) -> None:
    generator = connected(endpoint, concurrency=2)
    told: list[float] = []

    def limit(body: dict[str, Any], tries: int) -> Reply | None:
        if body["messages"][-1]["content"] == "0" and tries == 1:
            told.append(time.monotonic())
            return 429, {"Retry-After": str(HELD)}, {"error": {"message": "slow down"}}
        return None

    endpoint.fail = limit
    assert ask(generator, [f"{n}" for n in range(12)]) == [f"{n}" for n in range(12)]

    (moment,) = told
    early = [t for t in endpoint.times if moment < t < moment + HELD]
    assert len(early) <= 4  # of twelve: what the other slot sends before the answer is read
    assert max(endpoint.times) >= moment + HELD


def test_a_date_may_say_when_to_come_back() -> None:
    assert 55 < retry_after(formatdate(time.time() + 60, usegmt=True)) <= 60
    assert retry_after(formatdate(0)) == 0


def test_waits_double_and_differ(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai, "_FIRST_WAIT", 0.05)
    endpoint.fail = lambda body, tries: (500, {}, {}) if tries <= 3 else None
    generator = connected(endpoint, max_retries=4)
    endpoint.times.clear()
    ask(generator, ["a"])
    waits = [b - a for a, b in zip(endpoint.times, endpoint.times[1:], strict=False)]
    assert len(waits) == 3
    assert all(wait >= 0.025 * 2**number for number, wait in enumerate(waits))


# -- failures that do not ------------------------------------------------------------------------


def test_tries_end_with_one_error(endpoint: Endpoint) -> None:
    generator = connected(endpoint)
    endpoint.fail = lambda body, tries: (500, {}, {"error": {"message": "out of memory"}})
    with pytest.raises(DataError, match=r"answered 500 out of memory \(tried 4 times\)") as caught:
        ask(generator, ["a"])
    assert "what was answered is kept" in caught.value.fix
    assert len(endpoint.questions) == 4


def test_one_failure_ends_a_batch(endpoint: Endpoint) -> None:
    generator = connected(endpoint, concurrency=2)

    def refuse(body: dict[str, Any], tries: int) -> Reply | None:
        bad = body["messages"][-1]["content"] == "1"
        return (400, {}, {"error": {"message": "too long for 8192"}}) if bad else None

    endpoint.fail = refuse
    with pytest.raises(DataError, match="refuses a request: 400 too long for 8192"):
        ask(generator, [f"{n}" for n in range(200)])
    assert len(endpoint.questions) < 100


def test_an_endpoint_that_is_down_is_said_at_once() -> None:
    down = OpenAIEngine(base_url="http://127.0.0.1:9/v1")
    with pytest.raises(ConfigError, match="127.0.0.1:9/v1 cannot be reached") as caught:
        connect(down, model="tiny")
    assert "tried" not in caught.value.message
    assert "start the endpoint" in caught.value.fix


def test_an_endpoint_that_goes_down_is_waited_for(endpoint: Endpoint) -> None:
    generator = connected(endpoint)
    generator._engine = OpenAIEngine(base_url="http://127.0.0.1:9/v1", max_retries=2)
    with pytest.raises(DataError, match=r"cannot be reached: .* \(tried 3 times\)"):
        ask(generator, ["a"])


@pytest.mark.parametrize(
    ("key", "message", "fix"),
    [
        (None, "wants a key, and OPENAI_API_KEY is not set", "export OPENAI_API_KEY"),
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
    with pytest.raises(ConfigError, match='does not know the model "tinny"') as caught:
        connect(engine(endpoint), model="tinny")
    assert caught.value.fix == 'did you mean "tiny"?; set engine.model'
    assert len(endpoint.bodies) == 1


def test_a_wrong_address_is_said(endpoint: Any) -> None:
    wrong = OpenAIEngine(base_url=endpoint.url.removesuffix("/v1"))
    with pytest.raises(ConfigError, match="404") as caught:
        connect(wrong, model="tiny")
    assert "/v1" in caught.value.fix


def test_an_account_without_credit_is_not_tried_again(endpoint: Endpoint) -> None:
    error = {"message": "You exceeded your quota", "code": "insufficient_quota"}
    endpoint.fail = lambda body, tries: (429, {}, {"error": error})
    with pytest.raises(ConfigError, match="used up what it may"):
        connected(endpoint)
    assert len(endpoint.bodies) == 1


def test_a_pause_of_hours_is_an_error(endpoint: Endpoint) -> None:
    generator = connected(endpoint)
    endpoint.fail = lambda body, tries: (429, {"Retry-After": "86400"}, {})
    with pytest.raises(DataError, match="left alone for 86400 s"):
        ask(generator, ["a"])


# -- what the revision pins ----------------------------------------------------------------------


def test_the_revision_tells_apart_what_answers_differently(endpoint: Endpoint) -> None:
    plain = connected(endpoint).revision
    assert plain == "model tiny-2026, fingerprint build-7"
    assert connected(endpoint, extra_body={"top_k": 5}).revision == plain + ', with {"top_k": 5}'
    endpoint.fingerprint = None
    assert connected(endpoint).revision == "model tiny-2026"


def test_another_build_in_the_middle_is_an_error(endpoint: Endpoint) -> None:
    strict, lenient = connected(endpoint), connected(endpoint, pin_fingerprint=False)
    assert lenient.revision == "model tiny-2026"
    endpoint.fingerprint = "build-8"
    with pytest.raises(DataError, match="fingerprint build-8 instead of build-7"):
        ask(strict, ["a"])
    assert ask(lenient, ["a"]) == ["A"]


# -- construction --------------------------------------------------------------------------------


def test_what_was_answered_before_a_failure_is_not_asked_again(
    endpoint: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    clip = {"source": "c", "audio": "1.wav", "duration": 1.0, "domain": "sound"}
    lines = [json.dumps({"id": f"c/{n}", **clip}) for n in range(12)]
    (tmp_path / "clips.jsonl").write_text("\n".join(lines))
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"clips: [{{path: {tmp_path}/clips.jsonl, root: .}}]\n"
        "backbone: tiny\nsampling: {max_new_tokens: 40}\nfilters: [empty]\nbatch_size: 4\n"
        f"engine: {{kind: openai, base_url: {endpoint.url}, max_retries: 1, output_price: 3}}\n"
    )
    command = ["construct", str(recipe), "--out", str(tmp_path / "out"), "--json"]

    endpoint.fail = lambda body, tries: (500, {}, {}) if len(endpoint.questions) > 8 else None
    failed = CliRunner().invoke(app, command)
    assert isinstance(failed.exception, DataError)
    assert "requests 9" in failed.stderr  # what was paid for is told all the same
    endpoint.fail = lambda body, tries: None
    endpoint.bodies.clear()
    result = CliRunner().invoke(app, command)

    assert json.loads(result.stdout)["kept"] == 12, result.output
    assert len(endpoint.questions) == 4
    assert "cost 0.0075" in result.stderr  # five answers of 500 tokens
    assert "HTTP Request" not in caplog.text  # a line for each of five million


# -- rate limits ---------------------------------------------------------------------------------


def test_requests_keep_to_the_rate(endpoint: Endpoint) -> None:
    generator = connected(endpoint, requests_per_minute=60 / 0.05)
    start = time.monotonic()
    ask(generator, [f"{n}" for n in range(8)])
    ask(generator, ["the next batch"])
    assert time.monotonic() - start >= 9 * 0.05 - 0.01  # the first of all went before
    gaps = [b - a for a, b in zip(endpoint.times, endpoint.times[1:], strict=False)]
    assert sum(gaps) / len(gaps) >= 0.04


def test_tokens_keep_to_the_rate(endpoint: Endpoint) -> None:
    generator = connected(endpoint, tokens_per_minute=60 * 50 / 0.05)  # 50 tokens in 0.05 s
    start = time.monotonic()
    ask(generator, ["ten words " * 5] * 8)  # and 40 that the response may have
    assert time.monotonic() - start >= 7 * 0.05 - 0.01


def test_a_request_larger_than_a_minute_waits_for_the_next() -> None:
    import asyncio

    async def two() -> float:
        pace = Pace(tokens_per_minute=60)
        start = time.monotonic()
        await pace.turn(0)
        pace._next_by_tokens = time.monotonic() + 0.05
        await pace.turn(10_000)
        return time.monotonic() - start

    assert asyncio.run(two()) >= 0.05


# -- the engine section --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"base_url": "localhost:8000"},
        {"concurrency": 0},
        {"requests_per_minute": 0.0},
        {"tokens_per_minute": -1.0},
        {"timeout": 0.0},
        {"max_retries": -1},
        {"output_price": -1.0},
        {"extra_body": {"max_tokens": 5}},
        {"extra_body": {"x": object()}},
    ],
)
def test_an_engine_that_cannot_work_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(changes))):
        OpenAIEngine(**{"base_url": "http://localhost/v1", **changes})
