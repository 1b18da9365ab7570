"""OpenAI's own client, as it is."""

import asyncio
import io

import openai
import pytest

from desta.inference.conversation import Conversation
from desta.inference.engine import Engine
from desta.model.backbone.sampling import Sampling
from support.chat_parts import clip_part, text_part
from support.serving import Served
from support.sounds import packed, tone

pytestmark = pytest.mark.serve


@pytest.fixture(scope="module")
def client(served: Served) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0)


@pytest.fixture(scope="module")
def question(clips: dict[str, bytes]) -> list[dict[str, object]]:
    return [{"role": "user", "content": [clip_part(clips["a"]), text_part("What?")]}]


@pytest.fixture(scope="module")
def answer(engine: Engine, clips: dict[str, bytes]) -> str:
    asked = Conversation(engine, Sampling(max_new_tokens=10)).ask("What?", [clips["a"]], ["words"])
    return "".join(asked).strip()


def test_a_completion_holds_answer_usage_and_transcription(
    client: openai.OpenAI, question: list, answer: str
) -> None:
    made = client.chat.completions.create(
        model="desta", messages=question, max_tokens=10, logprobs=True, top_logprobs=1
    )
    [choice] = made.choices
    assert choice.message.content == answer
    assert choice.finish_reason == "length"
    assert len(choice.logprobs.content) == 10
    assert made.usage.completion_tokens == 10
    assert made.usage.prompt_tokens_details.audio_tokens > 0
    assert made.transcriptions == [
        {"text": "words", "seconds": 3.0, "audio_tokens": 16, "text_tokens": 2}
    ]


def test_a_stream_comes_in_pieces(client: openai.OpenAI, question: list, answer: str) -> None:
    stream = client.chat.completions.create(
        model="desta",
        messages=question,
        max_tokens=10,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == answer
    assert chunks[-1].usage.completion_tokens == 10
    assert chunks[0].transcriptions == [
        {"text": "words", "seconds": 3.0, "audio_tokens": 16, "text_tokens": 2}
    ]


def test_the_asynchronous_client_asks_several_at_once(
    served: Served, question: list, answer: str
) -> None:
    async def ask() -> list[str]:
        async with openai.AsyncOpenAI(base_url=f"{served.url}/v1", api_key="none") as client:
            made = await asyncio.gather(
                *[
                    client.chat.completions.create(
                        model="desta", messages=question, max_completion_tokens=10
                    )
                    for _ in range(5)
                ]
            )
        return [m.choices[0].message.content for m in made]

    assert asyncio.run(ask()) == [answer] * 5


def test_models_and_transcriptions_are_typed(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["desta"]
    assert client.models.retrieve("desta").owned_by == "desta"
    file = ("clip.ogg", io.BytesIO(packed(tone(1.0), format="OGG")))
    create = client.audio.transcriptions.create
    assert create(model="desta", file=file).text == ""
    verbose = create(model="desta", file=file, response_format="verbose_json")
    assert verbose.duration == pytest.approx(1.0, abs=0.05)
    assert verbose.segments == []
    assert create(model="desta", file=file, response_format="srt") == ""


def test_refusals_are_the_clients_own_errors(client: openai.OpenAI, question: list) -> None:
    def create(**fields: object) -> None:
        client.chat.completions.create(**{"model": "desta", "messages": question} | fields)

    with pytest.raises(openai.NotFoundError, match="no such model"):
        create(model="gpt-4o")
    with pytest.raises(openai.BadRequestError, match="top_logprobs needs logprobs"):
        create(top_logprobs=1)
    with pytest.raises(openai.BadRequestError, match="not supported"):
        create(tools=[{"type": "function", "function": {"name": "f"}}])
    with pytest.raises(openai.UnprocessableEntityError, match="empty file"):
        create(messages=[{"role": "user", "content": [clip_part(b"")]}])
