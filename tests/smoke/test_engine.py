"""Asking the model: the published call, batches, streams, turns, windows, and text alone."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, cast, get_type_hints

import numpy as np
import pytest
import soundfile
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from desta import DeSTA25AudioModel, evaluate
from desta.api import TextRow, TextScores
from desta.errors import ConfigError, DataError
from desta.evaluation.benchmarks.text import TextData
from desta.evaluation.benchmarks.text.compare import evaluate_text
from desta.evaluation.recipe import EvalRecipe
from desta.inference.clip_cache import EncodedClip
from desta.inference.conversation import Conversation, user_message
from desta.inference.engine import Engine
from desta.inference.requests import Request
from desta.model.backbone.load import load_backbone
from desta.model.backbone.sampling import Sampling
from desta.model.checkpoint import Loaded
from desta.records import LOCATOR, AudioRef, Message
from support.commands import desta

GREEDY = Sampling(max_new_tokens=12)


@pytest.fixture(scope="module")
def engine(tiny: Loaded) -> Engine:
    return Engine(tiny)


@pytest.fixture(scope="module")
def tight(tight: Loaded) -> Engine:
    return Engine(tight)


def question(
    engine: Engine, text: str, *clips: Path, said: tuple[str, ...] | None = None
) -> list[Message]:
    texts = said or ("words",) * len(clips)
    return [user_message(text, clips, locator=engine.layout.locator, texts=texts)]


@pytest.mark.parametrize("name", ["engine", "tight"])
def test_a_batch_answers_as_each_alone(
    name: str, published_tiny: Path, request: pytest.FixtureRequest
) -> None:
    engine = request.getfixturevalue(name)
    a, b, c = (published_tiny / f"{n}.wav" for n in "abc")
    conversations = [
        question(engine, "What is it?", a),
        question(engine, "A much longer question about two clips at once, then?", b, c),
        question(engine, "And no clip at all."),
        question(engine, "Short.", c),
    ]
    together = engine.respond(conversations, GREEDY)
    for conversation, answer in zip(conversations, together, strict=True):
        assert engine.respond([conversation], GREEDY)[0].ids == answer.ids


def test_a_stream_says_what_an_answer_says(engine: Engine, published_tiny: Path) -> None:
    conversation = question(engine, "What is it?", published_tiny / "a.wav")
    pieces = list(engine.stream(Request(messages=conversation, sampling=GREEDY)).pieces)
    assert len(pieces) > 1
    assert "".join(pieces).strip() == engine.answer([conversation], GREEDY)[0]


def test_text_alone_is_answered_as_by_the_bare_backbone(
    engine: Engine, published_tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def shy(*args: Any) -> Any:
        backbone, tokenizer = load_backbone(*args)
        backbone.generation_config.repetition_penalty = 3.0  # Qwen2.5 asks for 1.1
        return backbone, tokenizer

    monkeypatch.setattr("desta.evaluation.benchmarks.text.compare.load_backbone", shy)
    recipe = EvalRecipe(data=TextData(), max_new_tokens=16)
    scores = evaluate_text(recipe, engine, tmp_path)
    assert (scores["equal"], scores["total"]) == (10, 10)
    assert any(row["model"] for row in scores["rows"])


def test_text_is_a_benchmark_as_all_are(published_tiny: Path, tmp_path: Path) -> None:
    data = TextData(prompts=("What do bees make?",))
    recipe = EvalRecipe(data=data, model=str(published_tiny), max_new_tokens=4)
    scores = evaluate("text", recipe, tmp_path / "a")
    assert scores.keys() == get_type_hints(TextScores).keys()
    assert scores["rows"][0].keys() == get_type_hints(TextRow).keys()
    assert (scores["equal"], scores["total"]) == (1, 1)
    options = ["--model", str(published_tiny), "--out", str(tmp_path / "b")]
    options += ["--set", 'data.prompts=["What do bees make?"]', "--set", "max_new_tokens=4"]
    run = desta("eval", "text", *options)
    assert run.stdout == f"{tmp_path / 'b'}: 1 of 1 answers equal the bare backbone's\n"
    written = [(tmp_path / name / "scores.json").read_bytes() for name in "ab"]
    assert written[0] == written[1]
    assert json.loads(written[0]) == scores


@pytest.mark.parametrize("option", ["retry", "allow_missing"])
def test_text_refuses_what_it_has_no_use_for(tmp_path: Path, option: str) -> None:
    recipe = EvalRecipe(data=TextData(), model="m")
    with pytest.raises(ConfigError, match="cannot be used with the benchmark text"):
        evaluate("text", recipe, tmp_path, **cast(Any, {option: True}))
    with pytest.raises(ConfigError, match="systems cannot be used with the benchmark text"):
        evaluate("text", replace(recipe, systems=("oracle",)), tmp_path)


def test_text_alone_never_touches_the_audio_path(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object) -> None:
        raise AssertionError("the encoder was called")

    monkeypatch.setattr(engine.model, "encode", refuse)
    assert engine.answer([question(engine, "Hello?")], GREEDY)


def test_a_long_clip_is_heard_in_several_windows(
    engine: Engine, tight: Engine, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    path = tmp_path / "long.wav"
    soundfile.write(path, 0.1 * rng.standard_normal(70 * 16_000), 16_000)
    for model in (engine, tight):
        (heard,) = model.audio_encoder.encode([AudioRef(audio=str(path), text="words")])
        assert isinstance(heard, EncodedClip)
        assert len(heard.audio_WQE) == 3
        assert model.respond([question(model, "What?", path)], GREEDY)[0].ids


def test_what_does_not_fit_says_how_many_tokens_are_where(
    engine: Engine, published_tiny: Path
) -> None:
    long = question(engine, "word " * 3000, published_tiny / "a.wav")
    with pytest.raises(DataError, match="16 audio tokens, .* but the backbone reads 2048"):
        engine.respond([long], GREEDY)


def test_a_given_text_is_kept_even_where_nobody_speaks(engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "silence.wav"
    soundfile.write(path, np.zeros(16_000), 16_000)
    kept = engine.respond([question(engine, "What?", path, said=("hello",))], GREEDY)[0]
    assert kept.audios[0].text == "hello"


def test_silence_without_text_is_transcribed_as_one_space(engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "silence.wav"
    soundfile.write(path, np.zeros(16_000), 16_000)
    turn = user_message("What?", [path], locator=LOCATOR)
    assert engine.respond([[turn]], GREEDY)[0].audios[0].text == " "


def test_turns_are_kept_and_a_failed_turn_is_not(engine: Engine, published_tiny: Path) -> None:
    conversation = Conversation(engine, GREEDY)
    first = "".join(conversation.ask("What is it?", [published_tiny / "a.wav"], ["hello"]))
    with pytest.raises(DataError):
        list(conversation.ask("And this?", [published_tiny / "missing.wav"]))
    list(conversation.ask("Sure?"))

    assert [m.role for m in conversation.messages] == [
        "system",
        "user",
        "assistant",
        "user",
        "assistant",
    ]
    assert conversation.messages[2].content == first.strip()
    assert conversation.messages[1].audios[0].text == "hello"


def test_the_published_call_answers_as_published(published_tiny: Path, tmp_path: Path) -> None:
    import json

    model = DeSTA25AudioModel.from_pretrained(published_tiny, dtype="float32")
    expected = json.loads((published_tiny / "expected.json").read_text())["batch"]
    conversations = [
        [
            m
            | (
                {"audios": [a | {"audio": str(published_tiny / a["audio"])} for a in m["audios"]]}
                if "audios" in m
                else {}
            )
            for m in conversation
        ]
        for conversation in expected["messages"]
    ]
    output = model.generate(messages=conversations, do_sample=False, max_new_tokens=24)

    assert output.generated_ids == expected["generated_ids"]
    assert output.text == [text.strip() for text in expected["text"]]
    assert [said for _, said in output.audios] == [
        "Hello world, this is a test.",
        "Please enter your password followed by the pound key.",
    ]
    single = model.generate(messages=conversations[0], do_sample=False, max_new_tokens=24)
    assert single.generated_ids == expected["generated_ids"][:1]

    model.save_pretrained(tmp_path)
    assert (tmp_path / "model.safetensors").exists()
    for wrong in ([], [{"content": "no role"}]):
        with pytest.raises(DataError):
            model.generate(messages=wrong)


def test_sampling_follows_the_seed(engine: Engine, published_tiny: Path) -> None:
    conversation = question(engine, "What is it?", published_tiny / "a.wav")
    sampling = Sampling(temperature=1.0, max_new_tokens=12)

    def draw(seed: int) -> str:
        torch.manual_seed(seed)
        return engine.answer([conversation], sampling)[0]

    assert draw(0) == draw(0)
    assert len({draw(seed) for seed in range(4)}) > 1


def test_the_backbone_inside_equals_the_one_on_disk(tiny: Loaded, published_tiny: Path) -> None:
    bare = AutoModelForCausalLM.from_pretrained(published_tiny / "backbone", dtype=torch.bfloat16)
    for name, tensor in bare.float().state_dict().items():
        assert torch.equal(tensor, tiny.model.llm_model.state_dict()[name]), name
    tokenizer = AutoTokenizer.from_pretrained(published_tiny / "backbone")
    assert len(tokenizer) == len(tiny.tokenizer)
