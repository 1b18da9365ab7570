"""Transcriptions: their formats and times, and what is refused."""

from collections.abc import Iterator
from typing import Any

import pytest

from desta.inference import audio_encoding
from desta.inference.engine import Engine
from desta.model.checkpoint import Loaded
from support.serving import Scribe, Served, serve_tiny
from support.sounds import packed, tone

pytestmark = pytest.mark.serve

LONG = packed(tone(40.0), format="OGG")


@pytest.fixture(scope="module")
def spoken(tiny: Loaded) -> Iterator[Served]:
    """A server that finds words in every window."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(audio_encoding, "spoken_windows", lambda _, bounds: list(range(len(bounds))))
        engine = Engine(tiny)
        engine._transcriber = Scribe()  # type: ignore[assignment]
        with serve_tiny(engine) as server:
            yield server


def transcribe(server: Served, recording: bytes, **fields: Any) -> Any:
    return server.client.post(
        "/v1/audio/transcriptions",
        data={"model": "desta"} | fields,
        files={"file": ("clip", recording)},
    )


def test_segments_have_the_times_of_their_windows(spoken: Served) -> None:
    found = transcribe(spoken, LONG, response_format="verbose_json").json()
    assert found["duration"] == pytest.approx(40, abs=0.1)
    first, second = found["segments"]
    assert first["start"] == 0
    assert 25 <= first["end"] == second["start"] <= 30
    assert second["end"] == pytest.approx(found["duration"])
    assert found["text"] == f"{first['text']} {second['text']}"
    assert first["text"].endswith(" s of words")


def test_the_same_words_come_in_every_format(spoken: Served) -> None:
    replies = {
        kind: transcribe(spoken, LONG, response_format=kind)
        for kind in ("json", "text", "srt", "vtt")
    }
    text = replies["json"].json()["text"]
    assert text.count("s of words") == 2
    assert replies["text"].text == f"{text}\n"
    assert replies["srt"].text.startswith("1\n00:00:00,000 --> 00:00:")
    assert replies["srt"].text.count(" --> ") == 2
    assert replies["vtt"].text.startswith("WEBVTT\n\n00:00:00.000 --> 00:00:")
    assert replies["vtt"].headers["content-type"].startswith("text/vtt")
    assert all(reply.status_code == 200 for reply in replies.values())


def test_a_language_is_that_of_one_request(spoken: Served) -> None:
    recording = packed(tone(2.0), format="WAV")
    french = transcribe(spoken, recording, language="fr").json()["text"]
    detected = transcribe(spoken, recording).json()["text"]
    assert (french, detected) == ("2 s of words in fr", "2 s of words")
    wrong = transcribe(spoken, recording, language="xx")
    assert wrong.status_code == 400
    assert '"xx"' in wrong.json()["error"]["message"]


@pytest.mark.parametrize(
    ("fields", "status", "words"),
    [
        ({"model": "whisper-1"}, 404, "ask for desta"),
        ({"response_format": "pdf"}, 400, "response_format"),
        ({"prompt": "Spell it so."}, 400, '"prompt" is not supported'),
        ({"temperature": "0.5"}, 400, '"temperature"'),
        ({"stream": "true"}, 400, '"stream"'),
    ],
)
def test_what_is_not_supported_is_refused(
    served: Served, fields: dict[str, str], status: int, words: str
) -> None:
    reply = transcribe(served, packed(tone(0.2), format="WAV"), **fields)
    assert reply.status_code == status, reply.text
    assert words in reply.json()["error"]["message"]


def test_a_file_that_is_no_recording_is_refused(served: Served) -> None:
    assert transcribe(served, b"hello").status_code == 415
    assert transcribe(served, b"").status_code == 422
    form = {"model": (None, "desta")}
    missing = served.client.post("/v1/audio/transcriptions", files=form)
    assert missing.status_code == 400
    assert "file" in missing.json()["error"]["message"]
    broken = served.client.post(
        "/v1/audio/transcriptions",
        content=b"--x\r\nnonsense",
        headers={"Content-Type": "multipart/form-data; boundary=y"},
    )
    assert broken.status_code == 400
