"""vLLM beside the local engine, on a small model: `make vllm-env` (docs/guides/engines.md)."""

import importlib
import importlib.util
import logging
from dataclasses import dataclass
from typing import Any

import pytest

from desta.generators.base import Completion, TextGenerator
from desta.generators.config import EngineConfig, LocalEngine, VllmEngine
from desta.generators.load import load_generator
from desta.model.backbone.chat import encode_conversation
from desta.model.backbone.sampling import Sampling
from desta.model.config import Dtype, Quantization
from desta.model.hub import zoo
from desta.records import AudioRef, Message

log = logging.getLogger(__name__)

BACKBONE = "HuggingFaceTB/SmolLM2-135M-Instruct"
LANGUAGES = ("French", "Russian", "Greek", "Danish", "Spanish", "Romanian", "Bulgarian", "English")
PROMPTS = (
    "Which language is spoken here?",
    "Describe the audio in one sentence.",
    "Is the speaker happy? Give a reason.",
    "What could this recording be used for?",
)
GREEDY = Sampling(max_new_tokens=32)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("vllm") is None, reason="vLLM is not installed: make vllm-env"
    ),
    pytest.mark.skipif(zoo.cached(BACKBONE) is None, reason=f"desta models fetch {BACKBONE}"),
]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    engine: EngineConfig
    backbone: str = BACKBONE
    dtype: Dtype = "bfloat16"
    backbone_dtype: Dtype = "bfloat16"
    backbone_quantization: Quantization | None = None


def conversations() -> list[list[Message]]:
    """Return 32 questions; what is said in one clip looks like a control token."""
    found = []
    for number, language in enumerate(LANGUAGES):
        said = "<|im_end|> Good morning" if number == 3 else "Good morning"
        clip = AudioRef(
            audio="1.wav", text=f"[00:00-00:05] {said} (Language: {language}, Emotion: Happy)"
        )
        for prompt in PROMPTS:
            content = f"<start_audio><|AUDIO|><end_audio>\n\n{prompt}"
            system = Message(role="system", content="Listen closely and answer in one sentence.")
            found.append([system, Message(role="user", content=content, audios=(clip,))])
    return found


@pytest.fixture(scope="module")
def vllm() -> TextGenerator:
    return load_generator(Recipe(engine=VllmEngine(max_length=1024)))


def answers(
    generator: TextGenerator, sampling: Sampling, seeds: list[int] | None = None
) -> list[Completion]:
    asked = conversations()
    return generator.complete(asked, sampling, seeds=seeds or list(range(len(asked))))


def same(first: list[Completion], second: list[Completion]) -> int:
    return sum(a.text == b.text for a, b in zip(first, second, strict=True))


def test_greedy_answers_are_those_of_the_local_engine(vllm: Any) -> None:
    """Kernels differ in rounding: where two tokens are close in bfloat16, answers part."""
    local = load_generator(Recipe(engine=LocalEngine()))
    ours, theirs = answers(local, GREEDY), answers(vllm, GREEDY)

    assert [vllm.count_tokens(c) for c in conversations()] == [
        local.count_tokens(c) for c in conversations()
    ]
    beginning = sum(
        a.text.split()[:3] == b.text.split()[:3] for a, b in zip(ours, theirs, strict=True)
    )
    log.info("identical: %d of 32; first three words: %d", same(ours, theirs), beginning)
    assert beginning >= 16  # how many it is depends on the kernels of the machine
    assert all(a.finished or a.num_tokens == 32 for a in theirs)
    assert vllm.revision.startswith(local.revision)


def test_an_answer_follows_from_its_seed(vllm: Any) -> None:
    hot = Sampling(temperature=1.0, max_new_tokens=16)
    seeds = [2**63 - 1 - n for n in range(32)]
    first = answers(vllm, hot, seeds)
    again = same(first, answers(vllm, hot, seeds))
    log.info("identical with the same seeds: %d of 32", again)
    assert again >= 24
    assert same(first, answers(vllm, hot, [seed - 1000 for seed in seeds])) <= 8


def test_a_beginning_that_was_read_is_not_read_again(vllm: Any) -> None:
    assert min(cached_tokens(vllm)) >= 128


def cached_tokens(vllm: Any) -> list[int]:
    """Ask twice behind a long beginning; return the tokens of each prompt that were kept.

    Whole blocks are kept, and on a CPU a block has 128 tokens.
    """
    beginning = Message(role="system", content="Listen closely. " * 60)
    asked = [encode_conversation(vllm._tokenizer, [beginning, c[-1]]) for c in conversations()[:4]]
    requests = [{"prompt_token_ids": ids} for ids in asked]
    vllm._llm.generate(requests, use_tqdm=False)
    return [o.num_cached_tokens for o in vllm._llm.generate(requests, use_tqdm=False)]


def test_a_stop_string_ends_a_response(vllm: Any) -> None:
    stopped = answers(vllm, Sampling(max_new_tokens=32, stop=(" ",)))
    assert all(" " not in answer.text for answer in stopped)
    assert all(answer.finished for answer in stopped)


def test_no_process_of_vllm_could_outlive_this_one(vllm: Any) -> None:
    """One that was left by `kill -9` would keep its memory from the next call."""
    psutil = importlib.import_module("psutil")  # comes with vLLM
    children = [process.name() for process in psutil.Process().children(recursive=True)]
    assert [name for name in children if name.startswith("VLLM")] == []


def test_in_float32_nothing_parts_them() -> None:
    """The last of this file: a second model in the process leaves the first unusable."""

    def recipe(engine: EngineConfig) -> Recipe:
        return Recipe(engine=engine, dtype="float32", backbone_dtype="float32")

    ours = answers(load_generator(recipe(LocalEngine())), GREEDY)
    theirs = answers(load_generator(recipe(VllmEngine(max_length=1024))), GREEDY)

    assert [a.text for a in theirs] == [a.text for a in ours]
    assert [a.finished for a in theirs] == [a.finished for a in ours]
    assert [a.num_tokens for a in theirs] == [a.num_tokens for a in ours]
