"""Answers of the server are those of the engine, whatever else it answers at the time."""

import base64
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from desta.audio import SAMPLE_RATE
from desta.inference import audio_encoding
from desta.inference.conversation import system_messages, user_message
from desta.inference.engine import Engine
from desta.inference.requests import Request
from desta.model.backbone.sampling import Sampling
from desta.model.checkpoint import Loaded
from desta.records import Message
from support.asking import noise
from support.chat_parts import clip_part, text_part, url_part
from support.replies import content, events, expected
from support.serving import Scribe, Served, serve_tiny, wait_until
from support.sounds import muxed, packed, tone

pytestmark = pytest.mark.serve


def streamed(response: Any, choice: int = 0) -> str:
    assert response.headers["content-type"].startswith("text/event-stream")
    choices = [c for event in events(response) for c in event["choices"]]
    return "".join(c["delta"].get("content", "") for c in choices if c["index"] == choice)


def test_text_and_clips_are_answered_as_by_the_engine(
    served: Served, engine: Engine, clips: dict[str, bytes]
) -> None:
    a, b = clips["a"], clips["b"]
    assert content(served.chat("Hello?")) == expected(engine, "Hello?")
    asked = [clip_part(a), text_part("What?")]
    assert content(served.chat(asked)) == expected(engine, "What?", a)
    both = [text_part("Which"), clip_part(a), clip_part(b), text_part("is longer?")]
    assert content(served.chat(both)) == expected(engine, "Which\nis longer?", a, b)


def test_turns_and_system_messages_reach_the_model(
    served: Served, engine: Engine, clips: dict[str, bytes]
) -> None:
    turn = user_message("What?", [clips["a"]], locator=engine.layout.locator, texts=["words"])
    again = [Message(role="assistant", content="A bell."), Message(role="user", content="Sure?")]
    asked = [
        {"role": "user", "content": [clip_part(clips["a"]), text_part("What?")]},
        {"role": "assistant", "content": "A bell."},
        "Sure?",
    ]
    for role, text in (("system", "Be brief."), ("developer", "Be brief."), ("system", "")):
        own = system_messages(engine, text)
        [answer] = engine.respond([[*own, turn, *again]], Sampling(max_new_tokens=10))
        system = {"role": role, "content": text}
        assert content(served.chat(system, *asked)) == answer.text
    trained = system_messages(engine, None)
    [answer] = engine.respond([[*trained, turn, *again]], Sampling(max_new_tokens=10))
    assert content(served.chat(*asked)) == answer.text


@pytest.mark.parametrize("kind", ["wav", "flac", "ogg", "mp3", "m4a", "webm"])
def test_recordings_of_every_format_are_read(kind: str, served: Served, engine: Engine) -> None:
    samples = tone(0.5, 48_000)
    recording = {
        "wav": lambda: packed(samples, 48_000, format="WAV"),
        "flac": lambda: packed(samples, 48_000, format="FLAC"),
        "ogg": lambda: packed(samples, 48_000, format="OGG"),
        "mp3": lambda: packed(samples, 48_000, format="MP3"),
        "m4a": lambda: muxed("mp4", "aac", (samples, 48_000)),
        "webm": lambda: muxed("webm", "libopus", (samples, 48_000)),
    }[kind]()
    want = expected(engine, "What?", recording)
    data = base64.b64encode(recording).decode()
    url = f"data:audio/{kind};base64,{data}"
    for part in (clip_part(recording, format=kind), url_part(url)):
        response = served.chat([part, text_part("What?")])
        assert content(response) == want
        [clip] = response.json()["transcriptions"]
        assert clip["text"] == "words"
        assert clip["seconds"] == pytest.approx(0.5, abs=0.1)


def test_a_stream_is_the_answer_in_pieces(
    served: Served, engine: Engine, clips: dict[str, bytes]
) -> None:
    asked = [clip_part(clips["c"]), text_part("What?")]
    want = expected(engine, "What?", clips["c"], max_new_tokens=30)
    whole = served.chat(asked, max_tokens=30)
    stream = served.chat(asked, max_tokens=30, stream=True, stream_options={"include_usage": True})
    assert streamed(stream) == content(whole) == want
    parts = events(stream)
    assert len(parts) > 5
    assert parts[0]["choices"][0]["delta"]["role"] == "assistant"
    assert parts[0]["transcriptions"] == whole.json()["transcriptions"]
    assert all(part["usage"] is None for part in parts[:-1])
    assert parts[-1]["choices"] == []
    usage = whole.json()["usage"]
    assert {**parts[-1]["usage"], "prompt_tokens_details": 0} == {
        **usage,
        "prompt_tokens_details": 0,
    }
    assert usage["completion_tokens"] == 30
    assert usage["total_tokens"] == usage["prompt_tokens"] + 30
    assert usage["prompt_tokens_details"]["audio_tokens"] == engine.layout.num_query_tokens
    assert "usage" not in events(served.chat("Hello?", stream=True))[-1]


def test_settings_give_the_answers_that_the_engine_gives(served: Served, engine: Engine) -> None:
    sampling = Sampling(temperature=1.2, top_p=0.9, max_new_tokens=12)
    messages = [*system_messages(engine, None), user_message("Hello?")]
    request = Request(messages=messages, sampling=sampling, seed=7, num_answers=3, num_logprobs=2)
    [result] = engine.run([request])
    options = {"temperature": 1.2, "top_p": 0.9, "seed": 7, "n": 3, "max_completion_tokens": 12}

    response = served.chat("Hello?", **options, logprobs=True, top_logprobs=2)

    choices = response.json()["choices"]
    assert [c["message"]["content"] for c in choices] == [a.text for a in result.answers]
    for choice, answer in zip(choices, result.answers, strict=True):
        notes = choice["logprobs"]["content"]
        assert [n["logprob"] for n in notes] == pytest.approx(
            [p for p, _ in answer.logprobs], abs=1e-4
        )
        assert all(len(n["top_logprobs"]) == 2 for n in notes)
    stream = served.chat("Hello?", **options, stream=True)
    assert [streamed(stream, n) for n in range(3)] == [a.text for a in result.answers]


def test_stop_strings_and_lengths_end_an_answer(served: Served, engine: Engine) -> None:
    whole = expected(engine, "Hello?", max_new_tokens=40)
    stop = whole[len(whole) // 2 :][:3]
    cut = served.chat("Hello?", max_tokens=40, stop=stop)
    assert content(cut) == expected(engine, "Hello?", max_new_tokens=40, stop=(stop,))
    assert cut.json()["choices"][0]["finish_reason"] == "stop"
    stream = served.chat("Hello?", max_tokens=40, stop=["nowhere to be found", stop], stream=True)
    assert streamed(stream) == content(cut)
    short = served.chat("Hello?", max_tokens=3)
    assert short.json()["choices"][0]["finish_reason"] == "length"
    assert short.json()["usage"]["completion_tokens"] == 3


def test_requests_that_come_together_are_answered_as_alone(
    tiny: Loaded, clips: dict[str, bytes]
) -> None:
    engine = Engine(tiny)
    asked: list[tuple[str, list[bytes], int]] = [
        (f"{'Tell me more. ' * (n % 5)}Question {n}?", [clips["abc"[n % 3]]] * (n % 3), 5 + 7 * n)
        for n in range(12)
    ]
    want = [expected(engine, q, *audio, max_new_tokens=n) for q, audio, n in asked]
    with serve_tiny(Engine(tiny)) as server, ThreadPoolExecutor(12) as pool:

        def ask(number: int) -> str:
            question, audio, max_tokens = asked[number]
            parts = [*map(clip_part, audio), text_part(question)]
            stream = number % 2 == 1
            response = server.chat(parts, max_tokens=max_tokens, stream=stream)
            return streamed(response) if stream else content(response)

        assert list(pool.map(ask, range(12))) == want
        wait_until(lambda: server.engine.num_rows == 0)


def test_a_clip_that_several_ask_about_is_encoded_once(
    tiny: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    encode = tiny.model.encode

    def count(mel: Any) -> Any:
        result = encode(mel)
        sizes.append(result.last_BTD.shape[0])
        return result

    monkeypatch.setattr(tiny.model, "encode", count)
    recording = packed(noise(SAMPLE_RATE), SAMPLE_RATE, format="WAV")
    with serve_tiny(Engine(tiny)) as server, ThreadPoolExecutor(6) as pool:
        asked = [[clip_part(recording), text_part(f"Question {n}?")] for n in range(6)]
        answers = list(pool.map(server.chat, asked))
        assert [a.status_code for a in answers] == [200] * 6
        assert server.metric("desta_audio_seconds_total") == pytest.approx(6)
    assert sizes == [1]


def test_a_transcription_is_made_returned_and_replaced(
    tiny: Loaded, clips: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine(tiny)
    engine._transcriber = Scribe()  # type: ignore[assignment]
    monkeypatch.setattr(audio_encoding, "spoken_windows", lambda audio, bounds: [0])
    with serve_tiny(engine) as server:
        for known, used in ((None, "3 s of words"), ("Good day.", "Good day."), ("", "")):
            asked = [clip_part(clips["a"], said=known), text_part("What?")]
            response = server.chat(asked)
            assert [clip["text"] for clip in response.json()["transcriptions"]] == [used]
            assert content(response) == expected(engine, "What?", clips["a"], said=used or " ")


def test_clips_stand_where_the_text_marks_them(
    served: Served, engine: Engine, clips: dict[str, bytes]
) -> None:
    text = "First <|AUDIO|>, then <|AUDIO|>: which?"
    turn = user_message("", [clips["a"], clips["b"]], texts=["words"] * 2)
    message = Message(role="user", content=text, audios=turn.audios)
    [answer] = engine.respond(
        [[*system_messages(engine, None), message]], Sampling(max_new_tokens=10)
    )
    asked = [clip_part(clips["a"]), clip_part(clips["b"]), text_part(text)]
    assert content(served.chat(asked)) == answer.text
    refused = served.chat([clip_part(clips["a"]), text_part(text)])
    assert refused.status_code == 400
    assert "2 <|AUDIO|> but 1 audio clips" in refused.json()["error"]["message"]


def test_a_second_question_takes_up_what_was_computed(
    tiny: Loaded, clips: dict[str, bytes]
) -> None:
    with serve_tiny(Engine(tiny)) as server:
        first = server.chat([clip_part(clips["a"]), text_part("What?")]).json()
        second = server.chat([clip_part(clips["a"]), text_part("Who?")]).json()
        assert first["usage"]["prompt_tokens_details"]["cached_tokens"] == 0
        cached = second["usage"]["prompt_tokens_details"]["cached_tokens"]
        assert cached > second["usage"]["prompt_tokens_details"]["audio_tokens"]
