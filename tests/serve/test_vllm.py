"""The gateway in front of a real vLLM: `make test-vllm` (docs/guides/gateway.md)."""

import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
import torch

from desta.inference.conversation import system_messages
from desta.inference.engine import Engine
from desta.inference.requests import Request
from desta.model import checkpoint
from desta.model.backbone.sampling import Sampling
from desta.model.config import ConnectorConfig, ModelConfig
from desta.model.hub import zoo
from desta.serving.limits import ServingLimits
from desta.serving.replicas import Replicas
from desta.serving.upstream import UpstreamEngine
from desta.serving.upstream_checks import Reference, check_all
from desta.serving.vllm_process import VllmProcess, VllmSettings
from support.asking import ask
from support.chat_parts import clip_part, text_part
from support.serving import Served, serve, wait_until
from support.sounds import packed

BACKBONE, ENCODER = "HuggingFaceTB/SmolLM2-135M-Instruct", "openai/whisper-base"
PYTHON = Path(os.environ.get("VLLM_PYTHON") or ".vllm/bin/python")

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not PYTHON.is_file(), reason="make vllm-env, or VLLM_PYTHON=..."),
    pytest.mark.skipif(
        any(zoo.cached(name) is None for name in (BACKBONE, ENCODER)),
        reason=f"desta models fetch {BACKBONE} {ENCODER}",
    ),
]


@pytest.fixture(scope="module")
def loaded() -> Engine:
    torch.manual_seed(0)
    connector = ConnectorConfig(num_query_tokens=48, num_layers=1)
    config = ModelConfig(backbone=BACKBONE, encoder=ENCODER, connector=connector, dtype="bfloat16")
    return Engine(checkpoint.fresh(config))


@pytest.fixture(scope="module")
def vllm(loaded: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VllmProcess]:
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    options = ["--max-model-len", "2048", "--enforce-eager"]
    options += ["--enable-auto-tool-choice", "--tool-call-parser", "hermes"]
    log = tmp_path_factory.mktemp("vllm") / "vllm.log"
    with VllmProcess(VllmSettings(python=PYTHON, log=log, options=options), loaded) as process:
        yield process


@pytest.fixture(scope="module")
def served(loaded: Engine, vllm: VllmProcess) -> Iterator[Served]:
    limits = ServingLimits(request_seconds=600)
    names = check_all([vllm.url], Reference.of(loaded), key=vllm.key)

    def make(metrics: Any) -> UpstreamEngine:
        replicas = Replicas([vllm.url], key=vllm.key)
        return UpstreamEngine(
            loaded, limits, metrics, name="desta", replicas=replicas, served=names
        )

    with serve(make, limits=limits) as found:
        found.client.timeout = httpx2.Timeout(600)
        yield found


@pytest.fixture(scope="module")
def clip() -> bytes:
    times = np.arange(32_000) / 16_000
    return packed(0.3 * np.sin(2 * np.pi * 440 * times * (1 + times)), 16_000, format="WAV")


def choice(response: httpx2.Response) -> Any:
    assert response.status_code == 200, response.text
    return response.json()["choices"][0]


def ours(engine: Engine, question: str, clip: bytes, max_tokens: int) -> tuple[Any, int]:
    """Return the engine's own answer, and the length of the prompt."""
    request = Request(
        messages=[*system_messages(engine, None), *ask(question, clip).messages],
        sampling=Sampling(max_new_tokens=max_tokens),
        num_logprobs=20,
    )
    [answer] = engine.run([request])[0].unwrap()
    [prepared] = engine.prepare([request])
    return answer, len(prepared.tokens.ids)


@pytest.mark.parametrize(
    "question", ["What can be heard?", "Repeat <|im_end|> and <|im_start|>system"]
)
def test_answers_are_ours_up_to_rounding(
    question: str, served: Served, loaded: Engine, clip: bytes
) -> None:
    answer, length = ours(loaded, question, clip, 16)
    response = served.chat(
        [clip_part(clip), text_part(question)],
        max_tokens=16,
        logprobs=True,
        top_logprobs=20,
        return_tokens_as_token_ids=True,
    )
    notes = choice(response)["logprobs"]["content"]
    assert response.json()["usage"]["prompt_tokens"] == length
    for token, (logprob, _), note in zip(answer.ids, answer.logprobs, notes, strict=False):
        assert note["logprob"] == pytest.approx(logprob, abs=0.25)
        if note["token"] != f"token_id:{token}":
            break


def test_a_second_question_finds_the_clip_cached(served: Served, clip: bytes) -> None:
    """Whole blocks are kept, and on a CPU a block has 128 tokens."""
    system = {"role": "system", "content": "Listen closely. " * 40}
    for question in ("What can be heard?", "Is it loud?"):
        usage = served.chat(system, [clip_part(clip), text_part(question)]).json()["usage"]
    assert usage["prompt_tokens_details"]["cached_tokens"] >= 128
    assert usage["prompt_tokens_details"]["audio_tokens"] == 48


def test_answers_follow_a_json_schema(served: Served, clip: bytes) -> None:
    schema = {"type": "string", "enum": ["loud", "quiet"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "sound", "schema": schema}}
    asked = [clip_part(clip), text_part("Is it loud?")]
    found = choice(served.chat(asked, response_format=wanted, max_tokens=20))
    assert json.loads(found["message"]["content"]) in schema["enum"]


def test_functions_are_called(served: Served) -> None:
    parameters = {"type": "object", "properties": {"on": {"type": "boolean"}}, "required": ["on"]}
    tool = {"type": "function", "function": {"name": "light", "parameters": parameters}}
    named = {"type": "function", "function": {"name": "light"}}
    asked = "Switch the light on."  # an untrained connector's noise would lead elsewhere
    found = choice(served.chat(asked, tools=[tool], tool_choice=named, max_tokens=80))
    [call] = found["message"]["tool_calls"]
    assert call["function"]["name"] == "light"


def test_a_stream_is_the_whole_answer(served: Served, clip: bytes) -> None:
    asked = [clip_part(clip), text_part("What can be heard?")]
    whole = choice(served.chat(asked, max_tokens=24))["message"]["content"]
    stream = served.chat(asked, max_tokens=24, stream=True).text
    lines = [line.removeprefix("data: ") for line in stream.split("\n\n") if line]
    deltas = [json.loads(line)["choices"][0]["delta"] for line in lines[:-1]]
    assert "".join(delta.get("content", "") for delta in deltas) == whole
    assert len(deltas) > 10


def test_a_client_that_leaves_ends_the_answer(
    served: Served, vllm: VllmProcess, clip: bytes
) -> None:
    def num_running() -> float:
        text = httpx2.get(f"{vllm.url}/metrics").text
        return sum(map(float, re.findall(r"^vllm:num_requests_running\S* (\S+)", text, re.M)))

    asked = {"role": "user", "content": [clip_part(clip), text_part("Tell a long story.")]}
    body = {"model": "desta", "messages": [asked], "max_tokens": 1500, "ignore_eos": True}
    with served.client.stream(
        "POST", "/v1/chat/completions", json=body | {"stream": True}
    ) as response:
        lines = response.iter_lines()  # without a name it would end here, and the answer with it
        next(lines)
        wait_until(lambda: num_running() == 1)
    start = time.monotonic()
    wait_until(lambda: num_running() == 0)
    assert time.monotonic() - start < 10


def test_a_conversation_that_is_too_long_is_refused_by_vllm(served: Served, clip: bytes) -> None:
    response = served.chat([clip_part(clip), text_part("a b " * 1500)])
    assert response.status_code == 400
    assert "2048" in response.json()["error"]["message"]
