"""What is asked of a backbone, and what the local one writes."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from desta.construction.config import ConstructConfig
from desta.construction.description import describe_clip
from desta.construction.messages import generation_messages, training_messages
from desta.construction.prompts import Prompt
from desta.errors import ConfigError
from desta.generators.base import Completion, as_text
from desta.generators.local import LocalGenerator
from desta.model.backbone.chat import encode_chat, encode_text
from desta.model.backbone.load import load_backbone, revision
from desta.model.backbone.sampling import Sampling
from desta.model.config import ModelConfig
from desta.model.hub.load import Part
from desta.model.hub.weights import weights_fingerprint
from desta.records import END_AUDIO, LOCATOR, START_AUDIO, AudioRef, Message, Segment
from desta.shards import Manifest
from support.commands import desta
from support.construction import clip, recipe

PROMPT = Prompt(text="What is it?", kind="ask", needs=frozenset(), needs_transcription=False)


@pytest.fixture
def config(tmp_path: Path) -> ConstructConfig:
    return recipe(tmp_path)


@pytest.fixture(scope="module")
def tokenizer(published_tiny: Path) -> Any:
    return AutoTokenizer.from_pretrained(published_tiny / "backbone")


@pytest.fixture(scope="module")
def generator(published_tiny: Path) -> LocalGenerator:
    part = Part(str(published_tiny / "backbone"))
    config = ModelConfig(backbone=part.place, encoder="none", dtype="float32")
    model, tokenizer = load_backbone(part, config)
    return LocalGenerator(model, tokenizer, id="tiny", revision=revision(part, config))


@pytest.mark.parametrize("text", ["Hello", "<|im_end|>\n<|AUDIO|> <end_audio>", "[x](y)>"])
@pytest.mark.parametrize("system", ["", "Listen between <start_audio> and <end_audio>."])
def test_messages_differ_only_between_the_tags(text: str, system: str) -> None:
    spoken = clip(1, segments=(Segment(start=0.0, end=1.0, text=text),))
    description = describe_clip(spoken)
    training = training_messages(system, PROMPT, AudioRef(audio="1.wav", text=text))
    generation = generation_messages(training, description)

    before, after = training[-1].content.split(LOCATOR)
    assert before.endswith(START_AUDIO)
    assert after.startswith(END_AUDIO)
    assert [m.content for m in generation] == [m.content for m in training]
    assert as_text(generation[-1]) == before + description + after


def test_a_locator_in_a_prompt_is_an_error() -> None:
    with pytest.raises(ConfigError, match="holds <|AUDIO|>"):
        training_messages("", replace(PROMPT, text="<|AUDIO|>?"), AudioRef(audio="1.wav"))


@pytest.mark.parametrize(
    "description", ["[00:00-00:01] Hi (A: b)", "> <|im_end|> <|AUDIO|><", "a<"]
)
def test_tokens_differ_only_between_the_tags(
    tokenizer: Any, generator: LocalGenerator, description: str
) -> None:
    system = "Listen between <start_audio> and <end_audio>."
    training = training_messages(system, PROMPT, AudioRef(audio="1.wav"))
    before, after = encode_chat(tokenizer, training, locator=LOCATOR)

    found = generator.encode(generation_messages(training, description))

    assert found[: len(before)] == before
    assert found[-len(after) :] == after
    middle = found[len(before) : -len(after)]
    assert middle == encode_text(tokenizer, description)
    assert tokenizer.convert_tokens_to_ids("<|im_end|>") not in middle


def test_every_clip_of_a_message_is_read_as_its_own_description(
    tokenizer: Any, generator: LocalGenerator
) -> None:
    training = training_messages("", PROMPT, AudioRef(audio="1.wav"), AudioRef(audio="2.wav"))
    before, between, after = encode_chat(tokenizer, training, locator=LOCATOR)
    first, second = "[00:00-00:01] (A: <|AUDIO|>)", "[00:00-00:02] (A: b)"

    found = generator.encode(generation_messages(training, first, second))

    texts = [encode_text(tokenizer, first), encode_text(tokenizer, second)]
    assert found == [*before, *texts[0], *between, *texts[1], *after]


QUESTIONS = [
    (Message(role="user", content="Hi."),),
    (Message(role="system", content="Be brief."), Message(role="user", content="Who are you?")),
    (Message(role="user", content="Tell a long story of many words, please."),),
]


def answer(
    generator: LocalGenerator, conversations: Sequence[Sequence[Message]], **sampling: Any
) -> list[Completion]:
    seeds = [3 + row for row in range(len(conversations))]
    return generator.complete(conversations, Sampling(**sampling), seeds=seeds)


def test_greedy_completions_equal_those_of_transformers(
    published_tiny: Path, tokenizer: Any, generator: LocalGenerator
) -> None:
    reference = AutoModelForCausalLM.from_pretrained(published_tiny / "backbone").eval()
    for messages, completion in zip(
        QUESTIONS, answer(generator, QUESTIONS, max_new_tokens=16), strict=True
    ):
        ids = torch.tensor([generator.encode(messages)])
        out = reference.generate(ids, do_sample=False, max_new_tokens=16, repetition_penalty=1.0)
        new = out[0, ids.shape[1] :]
        assert completion.text == tokenizer.decode(new, skip_special_tokens=True).strip()


@pytest.mark.parametrize("temperature", [0.0, 1.5])
def test_rows_that_end_early_leave_the_others_as_they_were(
    published_tiny: Path, tokenizer: Any, temperature: float
) -> None:
    model = AutoModelForCausalLM.from_pretrained(published_tiny / "backbone")
    model.generation_config.eos_token_id = list(range(4, 60))  # random weights end soon
    ending = LocalGenerator(model, tokenizer, id="tiny", revision="1")
    many = [QUESTIONS[n % 3] for n in range(12)]

    together = answer(ending, many, temperature=temperature, max_new_tokens=24)

    assert {c.finished for c in together} == {True, False} or temperature == 0
    assert all(c.finished == (c.num_tokens < 24) for c in together)
    assert together == answer(ending, many, temperature=temperature, max_new_tokens=24)
    if temperature == 0:
        alone = [answer(ending, [m], max_new_tokens=24)[0] for m in many]
        assert together == alone


def test_sampling_follows_the_seed_and_leaves_the_random_state_alone(
    generator: LocalGenerator,
) -> None:
    hot = Sampling(temperature=1.5, max_new_tokens=12)
    state = torch.get_rng_state()
    first = generator.complete(QUESTIONS, hot, seeds=[1, 2, 3])
    assert first == generator.complete(QUESTIONS, hot, seeds=[1, 2, 3])
    assert first != generator.complete(QUESTIONS, hot, seeds=[2, 3, 4])
    assert first[::-1] == generator.complete(QUESTIONS[::-1], hot, seeds=[3, 2, 1])
    assert torch.equal(state, torch.get_rng_state())


def test_a_tiny_top_p_is_greedy(generator: LocalGenerator) -> None:
    narrow = answer(generator, QUESTIONS, temperature=1.0, top_p=1e-6, max_new_tokens=12)
    assert narrow == answer(generator, QUESTIONS, max_new_tokens=12)


@pytest.mark.parametrize("stored", [None, "int8"])
def test_the_command_writes_with_the_backbone_as_training_loads_it(
    published_tiny: Path, tmp_path: Path, config: ConstructConfig, stored: str | None
) -> None:
    if stored:
        pytest.importorskip("torchao")
    [clips] = config.clips
    place = published_tiny / "backbone"
    fields = {
        "clips": [{"path": str(clips.path), "root": "recordings"}],
        "backbone": str(place),
        "backbone_quantization": stored,
        "dtype": "float32",
        "sampling": {"max_new_tokens": 4},
        "filters": [],
    }
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(json.dumps(fields))
    run = desta("construct", recipe, "--out", tmp_path / "out")
    assert run.exit_code == 0, run.output

    manifest = Manifest.read(tmp_path / "out")
    assert manifest is not None
    weights = "bfloat16 in int8" if stored else "bfloat16"
    assert manifest.revision == (
        f"fingerprint {weights_fingerprint(place)} as {weights}, computed in float32"
    )
    assert manifest.num_kept == 12
