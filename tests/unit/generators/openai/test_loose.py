"""Endpoints as they are: looser than the protocol, and none of it ends a run."""

import json
from pathlib import Path
from typing import Any

import pytest

from desta.construction.journal import ResponseJournal
from desta.construction.staging import DROPPED
from desta.generators.base import Completion, Refusal
from desta.shards import RESPONSES
from support.commands import desta
from support.endpoint import SAMPLING, Endpoint, ask_all, connected, message, one, say
from support.server import Reply, chat_completion

ENDED = {"finish_reason": "stop"}
LIMIT = SAMPLING.max_new_tokens


# -- endings ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ending",
    [
        *("stop", "eos", "eos_token", "EOS", "stop_sequence", "end_turn", "", None, "null"),
        *("STOP", "FINISH_REASON_STOP", "completed", {"type": "stop"}),
        *("eos_token_id", "eot", "<|im_end|>", "end-turn", "FinishReason.STOP", ["stop"]),
        *(True, 1, "other", "unknown", "normal", "never heard of"),
    ],
)
def test_an_answer_that_has_ended_is_finished(endpoint: Endpoint, ending: Any) -> None:
    found = one(endpoint, {"choices": [{"message": {"content": "A"}, "finish_reason": ending}]})
    assert found == Completion(text="A", num_tokens=1, finished=True)


def test_an_answer_that_does_not_say_why_it_ended_is_finished(endpoint: Endpoint) -> None:
    found = one(endpoint, {"choices": [{"message": {"content": "A"}}]})
    assert found == Completion(text="A", num_tokens=1, finished=True)


@pytest.mark.parametrize("ending", ["length", "max-tokens", "MAX_TOKENS", "incomplete"])
def test_an_answer_at_the_limit_is_cut_off(endpoint: Endpoint, ending: str) -> None:
    assert one(endpoint, chat_completion("A", ending)) == Completion(
        text="A", num_tokens=1, finished=False
    )


@pytest.mark.parametrize(("ending", "finished"), [(None, False), ("odd", False), ("stop", True)])
def test_the_count_tells_where_the_ending_does_not(
    endpoint: Endpoint, ending: Any, finished: bool
) -> None:
    usage = {"completion_tokens": LIMIT}
    found = one(endpoint, chat_completion("A", ending, usage=usage))
    assert found == Completion(text="A", num_tokens=LIMIT, finished=finished)


def test_an_answer_longer_than_allowed_is_cut_off(endpoint: Endpoint) -> None:
    found = one(endpoint, chat_completion("A", None, usage={"completion_tokens": LIMIT + 1}))
    assert found == Completion(text="A", num_tokens=LIMIT + 1, finished=False)


def test_an_unknown_ending_says_as_much_as_none_and_is_said_once(
    endpoint: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    generator = connected(endpoint)
    say(endpoint, chat_completion("A", "tired"))
    first, second = ask_all(generator, "a?", "b?")
    assert first == second == Completion(text="A", num_tokens=1, finished=True)
    (warning,) = [r.getMessage() for r in caplog.records if "tired" in r.getMessage()]
    assert "counts as finished" in warning


@pytest.mark.parametrize("ending", ["content_filter", "SAFETY", "refusal"])
def test_an_answer_that_was_filtered_is_a_refusal(endpoint: Endpoint, ending: str) -> None:
    found = one(endpoint, chat_completion("A dog is", ending))
    assert isinstance(found, Refusal)
    assert found.reason == f"refused by the endpoint: 200 {ending.lower()}"


def test_a_refusal_in_words_of_its_own_field_is_one(endpoint: Endpoint) -> None:
    found = one(endpoint, message(content=None, refusal="I cannot."))
    assert found == Refusal(reason="refused by the endpoint: 200 refusal", message="200 I cannot.")


# -- contents --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ([{"type": "text", "text": "A "}, {"type": "text", "text": "dog."}], "A dog."),
        ([{"type": "output_text", "text": "A dog."}], "A dog."),
        ([{"type": "text", "text": {"value": "?", "content": "A dog."}}], "A dog."),
        ([{"type": "text", "text": {"value": "A dog.", "annotations": []}}], "A dog."),
        ({"parts": [{"text": "A "}, {"text": "dog."}]}, "A dog."),
        (["A ", "dog."], "A dog."),
        ({"type": "text", "text": "A dog."}, "A dog."),
        ([{"text": "A dog."}, {"type": "image_url", "image_url": {"url": "x"}}], "A dog."),
        ([], ""),
        (None, ""),
        ("", ""),
    ],
)
def test_a_content_may_be_text_or_parts_or_nothing(
    endpoint: Endpoint, content: Any, text: str
) -> None:
    found = one(endpoint, message(content=content))
    assert isinstance(found, Completion)
    assert (found.text, found.finished, found.reasoning) == (text, True, "")


def test_a_content_that_is_missing_is_empty_and_a_plain_text_is_read(endpoint: Endpoint) -> None:
    assert one(endpoint, message()) == Completion(text="", num_tokens=0, finished=True)
    for field in ("text", "content", "message"):
        plain = {"choices": [{field: " A dog.", **ENDED}]}
        assert one(endpoint, plain) == Completion(text="A dog.", num_tokens=2, finished=True)


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        (None, 2),
        ({}, 2),
        ({"completion_tokens": None, "prompt_tokens": None}, 2),
        ({"completion_tokens": "7", "prompt_tokens": "9"}, 7),
        ({"completion_tokens": 7.0}, 7),
        ({"output_tokens": 7, "input_tokens": 9}, 7),
        ({"completion_tokens": "many", "prompt_tokens": float("inf")}, 2),
        ({"completion_tokens": -1}, 0),
        ([], 2),
        ("none", 2),
    ],
)
def test_a_usage_is_read_as_far_as_it_counts(endpoint: Endpoint, usage: Any, tokens: int) -> None:
    found = one(endpoint, {**message(content="A dog."), "usage": usage, "x_extra": [1]})
    assert found == Completion(text="A dog.", num_tokens=tokens, finished=True)


def test_names_of_other_types_are_no_reason_to_stop(endpoint: Endpoint) -> None:
    endpoint.fail = lambda body, tries: (
        200,
        {},
        {**message(content="A"), "model": 5, "system_fingerprint": 7, "id": None, "created": "x"},
    )
    generator = connected(endpoint)
    assert generator.revision == "model tiny, fingerprint 7"
    assert ask_all(generator, "a") == [Completion(text="A", num_tokens=1, finished=True)]


def test_a_stream_that_nobody_asked_for_is_read_as_one_answer(endpoint: Endpoint) -> None:
    pieces = [
        {"choices": [{"delta": {"role": "assistant", "reasoning_content": "A "}}]},
        {"choices": [{"delta": {"reasoning_content": "bark.", "content": None}}]},
        {"choices": [{"delta": {"content": "A "}, "finish_reason": None}]},
        {"choices": [{"delta": {"content": "dog."}, "finish_reason": "stop"}]},
        {"choices": [], "usage": {"completion_tokens": 7}},
    ]
    lines = [": processing", *(f"data: {json.dumps(piece)}" for piece in pieces), "data: [DONE]"]
    found = one(endpoint, "\n\n".join(lines).encode())
    assert found == Completion(text="A dog.", num_tokens=7, finished=True, reasoning="A bark.")


@pytest.mark.parametrize("character", ["\u2028", "\u0085"])
def test_a_line_of_a_stream_ends_only_at_a_line_feed(endpoint: Endpoint, character: str) -> None:
    piece = json.dumps({"choices": [{"delta": {"content": f"A{character}B"}}]}, ensure_ascii=False)
    found = one(endpoint, f"data: {piece}\n\ndata: [DONE]\n\n".encode())
    assert isinstance(found, Completion)
    assert found.text == f"A{character}B"


# -- reasoning -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        {"content": "<think>A bark.</think>\n\nA dog."},
        {"content": "A bark.\n</think>\n\nA dog."},
        {"content": "\nA dog.", "reasoning_content": "A bark."},
        {"content": "A dog.", "reasoning": "A bark."},
        {"content": "A dog.", "reasoning": "A bark.", "reasoning_content": "A bark."},
        {"content": "A dog.", "reasoning_content": None, "thinking": "A bark.\n"},
        {"content": "A dog.", "reasoning_details": [{"type": "reasoning.text", "text": "A bark."}]},
        {"content": "A dog.", "reasoning": {"summary": [{"text": "A bark."}]}},
        {
            "content": [
                {"type": "thinking", "thinking": [{"type": "text", "text": "A bark."}]},
                {"type": "text", "text": "A dog."},
            ]
        },
        {"content": [{"type": "reasoning", "text": "A bark."}, "A dog."]},
        {"content": [{"type": "reasoning_text", "text": "A bark."}, "A dog."]},
        {"content": [{"text": "A bark.", "thought": True}, {"text": "A dog."}]},
        {"content": [{"reasoningContent": {"reasoningText": {"text": "A bark."}}}, "A dog."]},
        {"content": "A dog.", "thinking_blocks": [{"type": "thinking", "thinking": "A bark."}]},
        {"content": "A dog.", "thought": "A bark."},
        {"content": [{"type": "text", "text": "<think>A bark."}, "</think>A dog."]},
    ],
)
def test_reasoning_is_kept_apart_wherever_it_stands(
    endpoint: Endpoint, fields: dict[str, Any]
) -> None:
    found = one(endpoint, message(**fields))
    assert isinstance(found, Completion)
    assert (found.text, found.reasoning, found.finished) == ("A dog.", "A bark.", True)


@pytest.mark.parametrize(
    "fields",
    [
        {"content": "<think>A bark"},
        {"content": None, "reasoning_content": "A bark"},
        {"content": "", "reasoning": "A bark"},
        {"reasoning": "A bark"},
    ],
)
def test_an_answer_cut_off_in_its_reasoning_is_nothing_but_that(
    endpoint: Endpoint, fields: dict[str, Any]
) -> None:
    reply = message(**fields)
    reply["choices"][0]["finish_reason"] = "length"
    found = one(endpoint, reply)
    assert isinstance(found, Completion)
    assert (found.text, found.reasoning, found.finished) == ("", "A bark", False)
    assert found.only_reasoning


def test_reasoning_that_is_cut_off_in_a_character_can_be_written(endpoint: Endpoint) -> None:
    found = one(endpoint, message(content="A", reasoning_content="so \ud83d"))
    assert isinstance(found, Completion)
    assert found.reasoning == "so \ufffd"


# -- construction ----------------------------------------------------------------------------------


def test_a_data_set_of_a_reasoning_endpoint_holds_none_of_it(
    endpoint: Endpoint, tmp_path: Path
) -> None:
    replies = [
        message(content="<think>A bark.</think>A dog barks."),
        message(content="It hums, with a <think> on a sign.", reasoning_content="A hum."),
        {"choices": [{"message": {"content": "<think>Hm"}, "finish_reason": "length"}]},
        {"choices": [{"message": {"content": "It rains."}}], "usage": None},
        {"choices": []},
        chat_completion("A man", "content_filter"),
    ]

    def fail(body: dict[str, Any], tries: int) -> Reply | None:
        question = str(body["messages"][-1]["content"])
        number = next((n for n in range(12) if f"Thing {n:02}" in question), None)
        reply = None if number is None else replies[number % len(replies)]
        return None if reply is None else (200, {}, reply)

    endpoint.fail = fail
    clips = [
        {
            "id": f"c/{n}",
            "source": "c",
            "audio": f"{n}.wav",
            "duration": 1.0,
            "domain": "sound",
            "attributes": {"Sound class": f"Thing {n:02}"},
        }
        for n in range(12)
    ]
    (tmp_path / "clips.jsonl").write_text("\n".join(map(json.dumps, clips)))
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"clips: [{{path: {tmp_path}/clips.jsonl, root: .}}]\nbackbone: tiny\n"
        "filters: []\nsampling: {max_new_tokens: 40}\nmax_dropped_share: 0.6\n"
        f"engine: {{kind: openai, base_url: {endpoint.url}, max_retries: 1}}\n"
    )
    out = tmp_path / "out"
    result = desta("construct", recipe, "--out", out, "--json")

    found = {row["reason"]: row["count"] for row in json.loads(result.stdout)["dropped"]}
    assert found == {
        "nothing but reasoning": 2,
        "no answer that can be read: JSON without choices": 2,
        "refused by the endpoint: 200 content_filter": 2,
    }
    rows = [json.loads(line) for path in out.glob("audio-*.jsonl") for line in path.open()]
    assert [row["response"] for row in rows] == [
        "A dog barks.",
        "It hums, with a <think> on a sign.",
        "It rains.",
    ] * 2
    dropped = (out / DROPPED).read_text()
    assert "A bark" not in dropped
    with ResponseJournal(out / RESPONSES) as journal:
        kept = [o for o in journal.find(journal.keys()).values() if isinstance(o, Completion)]
    assert {o.reasoning for o in kept} == {"A bark.", "A hum.", "Hm", ""}
