"""Reasoning is never a part of a response, whichever way a model writes it."""

import json
from collections.abc import Iterator, Sequence
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from transformers import AutoTokenizer

from desta.construction.journal import ResponseJournal
from desta.construction.staging import DROPPED
from desta.generators import local
from desta.generators.base import Completion
from desta.generators.local import LocalGenerator
from desta.generators.reasoning import completion, holds_mark, separate
from desta.generators.scripted import ScriptedGenerator
from desta.generators.vllm import VllmGenerator
from desta.model.backbone.load import load_backbone
from desta.model.backbone.sampling import Sampling
from desta.model.backbone.writer import Writer
from desta.model.config import ModelConfig
from desta.model.hub.load import Part
from desta.records import Message
from desta.shards import RESPONSES
from support.commands import desta

QUESTION = [Message(role="user", content="What is it?")]
HARMONY = "<|channel|>analysis<|message|>A bark.<|end|><|start|>assistant"


@pytest.mark.parametrize(
    "text",
    [
        "<think>A bark.</think>A dog.",
        "<think>\nA bark.\n</think>\n\nA dog.",
        "\n <Think>A bark.</THINK> A dog.",
        "<think><think>A bark.</think>A dog.",
        "A bark.\n</think>\n\nA dog.",
        "A bark.</think>A dog.",
        "A bark. </think> A dog.",
        "A bark.\n</think>A dog.",
        "<thinking>A bark.</thinking>\nA dog.",
        "<thought>A bark.</thought>A dog.",
        "<reasoning>A bark.</reasoning><answer>A dog.</answer>",
        "<think>A bark.</think>\n<answer>\nA dog.\n</answer>\n",
        "<seed:think>A bark.</seed:think>A dog.",
        "[THINK]A bark.[/THINK]A dog.",
        "<|begin_of_thought|>A bark.<|end_of_thought|>\n\n"
        "<|begin_of_solution|>A dog.<|end_of_solution|>",
        "<|START_THINKING|>A bark.<|END_THINKING|><|START_RESPONSE|>A dog.<|END_RESPONSE|>",
        "◁think▷A bark.◁/think▷A dog.",
        "<|channel>thought\nA bark.\n<channel|>A dog.",
        "\ufeff<think>A bark.</think>A dog.",
        HARMONY + "<|channel|>final<|message|>A dog.<|return|>",
        "<|start|>assistant" + HARMONY + "<|channel|>final<|message|>A dog.",
        "analysisA bark.assistantfinalA dog.",
        "assistant\n<think>A bark.</think>\n\nA dog.",
        "<|assistant|><think>A bark.</think>A dog.",
        '<think duration="3">A bark.</think>A dog.',
        "< think >A bark.</ think>A dog.",
        "<analysis>A bark.</analysis>A dog.",
        "<scratchpad>A bark.</scratchpad>A dog.",
        "<|think|>A bark.<|/think|>A dog.",
        "<think>A bark.</thinking>\n\nA dog.",
        "<think>A bark.</think>A dog.</think>",
    ],
)
def test_reasoning_at_the_beginning_is_kept_apart(text: str) -> None:
    assert separate(text) == ("A bark.", "A dog.")


@pytest.mark.parametrize(
    "text",
    [
        "A dog.",
        "",
        " spaces stay ",
        "She says <think> twice.",
        'A sign: "<think> before you speak </think>", in red.',
        "A dog. <think>A bark.</think>",
        "He wrote </think> in the chat.",
        "The tag `</think>` is read aloud.",
        'The voice spells "</think>" twice.',
        "<thinker> is a statue.",
        "<answer>A dog.</answer>",
        "analysis of the sound: a dog.",
        "[thinks] A dog.",
        "A man says: the final <|channel|> is closed.",
        "The html tag </think>\nis closed.",
        "A dog.</think>",
        "<think before you speak> is on the wall.",
    ],
)
def test_an_answer_that_holds_the_marks_stays_whole(text: str) -> None:
    assert separate(text) == ("", text)


@pytest.mark.parametrize(
    ("text", "reasoning"),
    [
        ("<think>A bark", "A bark"),
        ("<think>A bark.</think>", "A bark."),
        ("<think>A bark.\n</think>\n\n", "A bark."),
        ("A bark.\n</think>", "A bark."),
        ("<think>", "<think>"),
        ("[THINK]A bark", "A bark"),
        ("<|channel|>analysis<|message|>A bark", "A bark"),
        ("<|channel|>analysis", "<|channel|>analysis"),
        ("analysisA bark", "A bark"),
    ],
)
def test_reasoning_without_an_answer_is_nothing_but_reasoning(text: str, reasoning: str) -> None:
    assert separate(text) == (reasoning, "")


def test_several_blocks_are_all_reasoning() -> None:
    text = "<think>One </think> mark.\n</think>\n<think>Two.</think>\n\nA dog."
    assert separate(text) == ("One\n\nmark.\n\nTwo.", "A dog.")


def test_words_behind_a_wrapped_answer_leave_it_whole() -> None:
    text = "<answer>A dog.</answer>\n\nI hope this helps."
    assert separate(f"<think>A bark.</think>\n{text}") == ("A bark.", text)


@pytest.mark.parametrize(
    "text",
    [
        "A dog.\n\n<think>Was that right?</think>\nA dog barks.",
        "Sure!\n<think>A bark.</think>A dog.",
        "The user wants a dog </think> A dog barks.",
        "A dog.</think>",
        "A dog. < Think >A bark",
        "<think>A bark.</think><answer>A dog.</answer> I hope this helps.",
        "A dog. <|channel|>final",
    ],
)
def test_what_may_hold_reasoning_is_no_response(text: str) -> None:
    assert holds_mark(completion(text, num_tokens=9, finished=True))


@pytest.mark.parametrize(
    "text",
    ["A dog.", "1 < 2 [dog] <thinker>", "<think>A bark.</think>A dog.", "<answer>A dog.</answer>"],
)
def test_an_answer_without_a_mark_of_reasoning_is_in_no_doubt(text: str) -> None:
    assert not holds_mark(completion(text, num_tokens=9, finished=True))


def test_an_empty_block_is_no_reasoning() -> None:
    assert separate("<think>\n\n</think>\n\nA dog.") == ("", "A dog.")


# -- engines ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def backbone(published_tiny: Path) -> tuple[Any, Any]:
    place = str(published_tiny / "backbone")
    return load_backbone(Part(place), ModelConfig(backbone=place, encoder="none", dtype="float32"))


@pytest.fixture
def reasoner(backbone: tuple[Any, Any]) -> Any:
    """A tokenizer for which the marks of Magistral are tokens that are no text."""
    tokenizer = deepcopy(backbone[1])
    tokenizer.add_special_tokens({"additional_special_tokens": ["[THINK]", "[/THINK]"]})
    return tokenizer


def local_answer(
    monkeypatch: pytest.MonkeyPatch, model: Any, tokenizer: Any, ids: Sequence[int], **changes: Any
) -> Completion:
    """Return what the local engine makes of ids."""

    def push(model: Any, state: Any, writers: Sequence[Writer]) -> Iterator[None]:
        for token in ids:
            if writers[0].finish is None:
                writers[0].push(token)
        yield

    monkeypatch.setattr(local, "generate", push)
    generator = LocalGenerator(model, tokenizer, id="tiny", revision="1")
    (found,) = generator.complete([QUESTION], Sampling(**changes), seeds=[0])
    assert isinstance(found, Completion)
    return found


def vllm_answer(tokenizer: Any, ids: Sequence[int], **output: Any) -> Completion:
    """Return what the engine vllm makes of ids."""
    generator = VllmGenerator(SimpleNamespace(), tokenizer, end_ids=frozenset(), id="", revision="")  # type: ignore[arg-type]
    said = {"token_ids": ids, "text": "", "finish_reason": "stop", "stop_reason": None, **output}
    return generator._completion(SimpleNamespace(**said))


def test_a_template_that_opens_the_reasoning_leaves_it_apart(
    monkeypatch: pytest.MonkeyPatch, backbone: tuple[Any, Any]
) -> None:
    model, tokenizer = backbone[0], deepcopy(backbone[1])
    template = tokenizer.chat_template
    tokenizer.chat_template = template + "{% if add_generation_prompt %}<think>\n{% endif %}"
    whole, cut = (
        tokenizer.encode(text, add_special_tokens=False)
        for text in ("So it is </think> Hello there", "Because it")
    )
    for answer in (
        local_answer(monkeypatch, model, tokenizer, whole, max_new_tokens=len(whole)),
        vllm_answer(tokenizer, whole),
    ):
        assert (answer.reasoning, answer.text) == ("So it is", "Hello there")
    for answer in (
        local_answer(monkeypatch, model, tokenizer, cut, max_new_tokens=len(cut)),
        vllm_answer(tokenizer, cut, finish_reason="length"),
    ):
        assert (answer.reasoning, answer.text, answer.finished) == ("Because it", "", False)
        assert answer.only_reasoning


def test_marks_that_are_special_tokens_are_seen(
    monkeypatch: pytest.MonkeyPatch, backbone: tuple[Any, Any], reasoner: Any
) -> None:
    ids = reasoner.encode("[THINK]So it is[/THINK]Hello there", add_special_tokens=False)
    assert "[THINK]" not in reasoner.decode(ids, skip_special_tokens=True)
    end = max(local.end_ids(backbone[0], reasoner))
    for answer in (
        local_answer(monkeypatch, backbone[0], reasoner, [*ids, end], max_new_tokens=99),
        vllm_answer(reasoner, [*ids, end]),
    ):
        assert (answer.reasoning, answer.text) == ("So it is", "Hello there")


def test_a_stop_string_ends_the_answer_behind_the_reasoning(
    monkeypatch: pytest.MonkeyPatch, backbone: tuple[Any, Any], reasoner: Any
) -> None:
    ids = reasoner.encode("[THINK]So it is[/THINK]Hello there", add_special_tokens=False)
    for answer in (
        local_answer(monkeypatch, backbone[0], reasoner, ids, stop=("llo",), max_new_tokens=99),
        vllm_answer(reasoner, ids, stop_reason="llo", text="So it isHe"),
    ):
        assert (answer.reasoning, answer.text) == ("So it is", "He")


def test_a_tokenizer_without_such_marks_decodes_as_it_does(published_tiny: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(published_tiny / "backbone")
    marking = local.MarkingTokenizer(tokenizer)
    ids = tokenizer.encode("Hello there, what is it?")
    assert marking.opened == ""
    assert marking.decode(ids) == tokenizer.decode(ids, skip_special_tokens=True)


def test_a_scripted_answer_is_read_the_same_way() -> None:
    generator = ScriptedGenerator(lambda question: "<think>a b</think> c d")
    (answer,) = generator.complete([QUESTION], Sampling(), seeds=[0])
    assert answer == Completion(text="c d", num_tokens=4, finished=True, reasoning="a b")
    (answer,) = generator.complete([QUESTION], Sampling(max_new_tokens=1), seeds=[0])
    assert isinstance(answer, Completion)
    assert answer.only_reasoning


# -- construction ----------------------------------------------------------------------------------


def construct(tmp_path: Path, answer: str, filters: str = "[]") -> Any:
    """Construct twelve pairs about twelve clips, every response of them the same."""
    clip = {"source": "c", "audio": "1.wav", "duration": 1.0, "domain": "sound"}
    lines = [
        json.dumps({"id": f"c/{n}", **clip, "attributes": {"Song": f"{n}"}}) for n in range(12)
    ]
    (tmp_path / "clips.jsonl").write_text("\n".join(lines))
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"clips: [{{path: {tmp_path}/clips.jsonl, root: .}}]\nbackbone: tiny\n"
        f"filters: {filters}\nsampling: {{max_new_tokens: 40}}\n"
        f"engine: {{kind: scripted, answer: {json.dumps(answer)}}}\n"
    )
    return desta("construct", recipe, "--out", tmp_path / "out", "--json")


def responses(out: Path) -> list[str]:
    lines = [line for path in out.glob("audio-*.jsonl") for line in path.open()]
    return [json.loads(line)["response"] for line in lines]


def test_reasoning_is_in_the_journal_and_in_no_response(tmp_path: Path) -> None:
    result = construct(tmp_path, "<think>\nA bark.\n</think>\n\nA dog.")
    assert json.loads(result.stdout)["kept"] == 12, result.output
    assert responses(tmp_path / "out") == ["A dog."] * 12
    with ResponseJournal(tmp_path / "out" / RESPONSES) as journal:
        (found,) = {*journal.find(journal.keys()).values()}
    assert found == Completion(text="A dog.", num_tokens=3, finished=True, reasoning="A bark.")


@pytest.mark.parametrize("answer", ["<think>A bark", "A bark.\n</think>"])
def test_nothing_but_reasoning_is_dropped_whatever_the_filters(tmp_path: Path, answer: str) -> None:
    result = construct(tmp_path, answer)
    assert "nothing but reasoning: 12 (first: c/0#0)" in str(result.exception)
    assert "raise sampling.max_new_tokens" in str(result.exception)
    dropped = [json.loads(line) for line in (tmp_path / "out/building" / DROPPED).open()]
    assert {(row["reason"], row["response"]) for row in dropped} == {("nothing but reasoning", "")}


def test_a_response_in_doubt_is_counted_and_whole_in_the_dropped(tmp_path: Path) -> None:
    answer = "Sure! <think>A bark.</think> A dog."
    result = construct(tmp_path, answer, filters="[empty, has_reasoning_mark]")
    assert "holds a mark of reasoning: 12" in str(result.exception)
    dropped = [json.loads(line) for line in (tmp_path / "out/building" / DROPPED).open()]
    assert {row["response"] for row in dropped} == {answer}
