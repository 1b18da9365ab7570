"""Clips: heard once, by one, in bounded memory, each with its own words."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import soundfile
import torch

from desta import audio
from desta.inference import audio_encoding
from desta.inference.clip_cache import EncodedClip
from desta.inference.engine import Engine, Limits
from desta.model import checkpoint
from desta.model.checkpoint import Loaded
from desta.records import AudioRef
from support.asking import ask, noise


def test_a_clip_is_encoded_once_whatever_its_name_and_form(
    engine: Engine, published_tiny: Path, tmp_path: Path, encoded: list[int]
) -> None:
    path = published_tiny / "a.wav"
    copy = tmp_path / "copy.wav"
    copy.write_bytes(path.read_bytes())
    replies = engine.run([ask("What?", path), ask("Why?", copy), ask("Who?", path.read_bytes())])
    again = engine.run([ask("What?", path)])

    assert encoded == [1]
    assert replies[0].unwrap()[0].ids == again[0].unwrap()[0].ids


def test_a_clip_that_several_threads_want_is_encoded_by_one(
    engine: Engine, published_tiny: Path, encoded: list[int]
) -> None:
    answers: list[Any] = []
    threads = [
        threading.Thread(
            target=lambda: answers.append(engine.run([ask("What?", published_tiny / "c.wav")]))
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len({tuple(a[0].unwrap()[0].ids) for a in answers}) == 1
    assert encoded == [1]


def test_the_memory_for_clips_is_bounded(
    tiny: Loaded, published_tiny: Path, encoded: list[int]
) -> None:
    (heard,) = Engine(tiny).audio_encoder.encode(
        [AudioRef(audio=published_tiny / "a.wav", text="")]
    )
    engine = Engine(tiny, limits=Limits(audio_cache_bytes=heard.num_bytes))
    for name in "aabbaa":
        engine.run([ask("What?", published_tiny / f"{name}.wav")])

    assert encoded == [1, 1, 1, 1]


def test_a_clip_that_is_too_long_is_refused(tiny: Loaded, published_tiny: Path) -> None:
    engine = Engine(tiny, limits=Limits(max_seconds=2.0))
    (reply,) = engine.run([ask("What?", published_tiny / "a.wav")])
    assert "lasts longer than the 2 s" in str(reply.error)
    engine = Engine(tiny, limits=Limits(max_seconds=8.0))
    both = [published_tiny / "a.wav", published_tiny / "b.wav"]  # 3.0 s and 7.5 s
    replies = engine.run([ask("What?", both[0]), ask("What?", both[1]), ask("What?", *both)])
    assert [reply.error is None for reply in replies] == [True, True, False]
    assert "last 10 s together" in str(replies[2].error)


def test_a_length_that_a_header_states_wrongly_refuses_nothing(
    tiny: Loaded, published_tiny: Path, tmp_path: Path
) -> None:
    clip = tmp_path / "a.flac"
    soundfile.write(clip, audio.load_audio(published_tiny / "a.wav"), audio.SAMPLE_RATE)
    flac = bytearray(clip.read_bytes())
    flac[22:26] = (3600 * audio.SAMPLE_RATE).to_bytes(4, "big")
    clip.write_bytes(flac)
    engine = Engine(tiny, limits=Limits(max_seconds=8.0))

    (reply,) = engine.run([ask("What?", clip, clip)])

    assert reply.error is None


def test_every_clip_gets_its_own_words_whatever_is_heard_with_it(
    tight: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Counting:
        """Writes how long a window is."""

        window = "30s"
        encoder = None

        def transcribe(self, windows: Any, *, language: str | None = None) -> list[str]:
            return [f"{len(window)} samples" for window in windows]

    monkeypatch.setattr(
        audio_encoding, "spoken_windows", lambda audio, bounds: [0] * (len(audio) != 999)
    )
    engine = Engine(tight)
    engine._transcriber = Counting()  # type: ignore[assignment]
    lengths = [5_000, 90_000, 999, 16_000, 40_000, 7_000]
    refs = [
        AudioRef(audio=(noise(length), 16_000), text="given" if length == 7_000 else None)
        for length in lengths
    ]
    heard = engine.audio_encoder.encode(refs)

    texts = [clip.text for clip in heard if isinstance(clip, EncodedClip)]
    assert texts == ["5000 samples", "90000 samples", " ", "16000 samples", "40000 samples", None]
    known = AudioRef(audio=refs[0].audio, text="given")
    assert engine.audio_encoder.encode([known, refs[0]])[1].text == "5000 samples"  # type: ignore[union-attr]


def test_a_clip_that_nobody_can_transcribe_fails_alone(
    tiny: Loaded, published_tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audio_encoding, "spoken_windows", lambda audio, bounds: [0])
    engine = Engine(replace(tiny, parts=replace(tiny.parts, transcriber=None)))
    replies = engine.run(
        [
            ask("Hello?"),
            ask("What?", published_tiny / "a.wav"),
            ask("What?", published_tiny / "b.wav", said=None),
        ]
    )
    assert [reply.error is None for reply in replies] == [True, True, False]
    assert "name a Whisper model" in str(replies[2].error)


def test_threads_that_decode_clips_take_no_core_from_the_model(
    tiny: Loaded, published_tiny: Path
) -> None:
    cores = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        engine = Engine(tiny)
        (heard,) = engine.audio_encoder.encode(
            [AudioRef(audio=str(published_tiny / "a.wav"), text="")]
        )
        assert isinstance(heard, EncodedClip)
        with ThreadPoolExecutor() as later:
            assert later.submit(torch.get_num_threads).result() == 2
        assert torch.get_num_threads() == 2
        assert engine.audio_encoder._pool.submit(torch.get_num_threads).result() == 1
    finally:
        torch.set_num_threads(cores)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_connector_computes_as_it_was_trained(
    published_tiny: Path, dtype: Literal["float32", "bfloat16"]
) -> None:
    loaded = checkpoint.load(published_tiny, dtype=dtype)
    model, clip = loaded.model, str(published_tiny / "a.wav")
    (heard,) = Engine(loaded).audio_encoder.encode([AudioRef(audio=clip, text="")])
    assert isinstance(heard, EncodedClip)

    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bfloat16"):
        trained = model.audio_tokens(model.encode(model.mel([audio.load_audio(clip)])))

    assert heard.audio_WQE.dtype == torch.float32
    assert torch.equal(heard.audio_WQE, trained.float())


def test_a_silent_clip_is_told_once_and_a_quiet_one_is_not(
    engine: Engine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    refs = []
    for name, peak in (("nothing", 0.0), ("dither", 9e-5), ("quiet", 1.1e-4)):
        samples = np.zeros(8000, np.float32)
        samples[100] = -peak  # the loudest sample counts, whatever its sign
        soundfile.write(tmp_path / f"{name}.wav", samples, 16_000, subtype="FLOAT")
        refs.append(AudioRef(audio=str(tmp_path / f"{name}.wav"), text="x"))
    refs.append(AudioRef(audio=(np.zeros(8000), 16_000), text="x"))
    for _ in range(2):
        engine.audio_encoder.encode(refs)
    told = [r.getMessage().partition(" is silent")[0] for r in caplog.records]
    assert sorted(told) == sorted(
        [str(tmp_path / "nothing.wav"), str(tmp_path / "dither.wav"), "the array"]
    )
