"""What is asked and what comes back."""

import json
import logging
import threading
from pathlib import Path
from typing import Any

import pytest

from desta.errors import ConfigError, DataError
from desta.generators.config import OpenAIEngine
from desta.records import AudioRef, Message
from support.commands import desta
from support.endpoint import SAMPLING, Endpoint, ask, connected


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
    generator = connected(endpoint, concurrency=4)
    together = threading.Barrier(4, timeout=60)  # none is answered before four are there
    endpoint.seconds = 0.02  # in which a fifth would come

    def meet(body: dict[str, Any], tries: int) -> None:
        together.wait()

    endpoint.fail = meet
    ask(generator, [f"{n}" for n in range(24)])
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


def test_what_was_answered_before_a_failure_is_not_asked_again(
    endpoint: Endpoint, tmp_path: Path, caplog: pytest.LogCaptureFixture
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
    failed = desta(*command)
    assert isinstance(failed.exception, DataError)
    assert "requests 9" in caplog.text  # what was paid for is told all the same
    endpoint.fail = lambda body, tries: None
    endpoint.bodies.clear()
    result = desta(*command)

    assert json.loads(result.stdout)["kept"] == 12, result.output
    assert len(endpoint.questions) == 4
    assert "cost 0.0075" in caplog.text  # five answers of 500 tokens
    assert "HTTP Request" not in caplog.text  # a line for each of five million


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


def test_an_answer_that_is_cut_off_in_a_character_can_be_written(endpoint: Endpoint) -> None:
    message = {"message": {"content": "so \ud83d"}, "finish_reason": "length"}
    endpoint.fail = lambda body, tries: (200, {}, {"choices": [message]})
    assert ask(connected(endpoint), ["?"]) == ["so \ufffd"]
