"""Reading a window again in pieces, where words seem to be missing."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from desta.audio import SAMPLE_RATE
from desta.inference import audio_encoding, pieces
from desta.inference.engine import Engine
from desta.inference.pieces import (
    MARGIN_SECONDS,
    MAX_DECIBELS,
    MAX_PIECE_SECONDS,
    Voice,
    cut_at_pauses,
    find_voices,
    read_again,
)
from desta.model.checkpoint import Loaded, load
from desta.records import AudioRef
from desta.vad import SpeechSpan

SPEECH = [(1.0, 6.0), (9.0, 14.0), (18.0, 24.0)]  # 16 s of 25


class Scribe:
    """Writes a word for every second of a piece, and nothing of what a whole window holds."""

    window = "tight"
    encoder = None

    def __init__(self, whole: str = "") -> None:
        self.whole = whole
        self.heard: list[float] = []

    def transcribe(
        self, windows: Sequence[NDArray[np.float32]], *, language: str | None = None
    ) -> list[str]:
        seconds = [len(window) / SAMPLE_RATE for window in windows]
        self.heard += seconds
        return [self.whole if s > 20 else " ".join(["word"] * int(s)) for s in seconds]

    @staticmethod
    def count_tokens(text: str) -> int:
        return len(text.split())


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let the detector find `SPEECH`; return what it was asked about."""
    lengths: list[int] = []

    def find(audio: NDArray[np.float32]) -> list[SpeechSpan]:
        lengths.append(len(audio))
        return SPEECH if len(audio) > 20 * SAMPLE_RATE else []  # nothing more in the pauses

    monkeypatch.setattr(pieces, "speech_seconds", find)
    return lengths


def samples(seconds: float) -> NDArray[np.float32]:
    return np.zeros(round(seconds * SAMPLE_RATE), np.float32)


def words(count: int) -> str:
    return " ".join(["said"] * count)


def again(scribe: Scribe, seconds: float, text: str) -> str:
    return read_again(scribe, samples(seconds), text, language=None)  # type: ignore[arg-type]


def test_a_text_that_stops_at_a_pause_is_that_of_the_pieces(asked: list[int]) -> None:
    scribe = Scribe()

    assert again(scribe, 25.0, words(12)).split() == ["word"] * (6 + 6 + 7)
    assert scribe.heard == [6.0, 6.0, 7.0]  # with half a second of pause on both sides
    assert asked[0] == 25 * SAMPLE_RATE


def test_a_text_with_words_enough_stays_as_it_is(asked: list[int]) -> None:
    scribe = Scribe()

    assert again(scribe, 25.0, words(40)) == words(40)
    assert asked
    assert not scribe.heard


def test_a_voice_far_below_the_others_gets_a_piece_of_its_own(asked: list[int]) -> None:
    scribe, window = Scribe(), samples(25.0)
    window[:] = 0.1
    window[round(7.5 * SAMPLE_RATE) : 16 * SAMPLE_RATE] *= 10 ** (-(MAX_DECIBELS + 1) / 20)

    text = read_again(scribe, window, words(15), language=None)  # type: ignore[arg-type]

    assert text.split() == ["word"] * 19  # though 40 of the 16 s are no question here
    assert len(scribe.heard) == 3


def test_a_voice_is_found_far_below_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def find(audio: NDArray[np.float32]) -> list[SpeechSpan]:
        """Hear what is above -20 dB."""
        steps = np.flatnonzero(np.diff(np.abs(audio) > 0.1, prepend=False, append=False))
        ends = [float(step) / SAMPLE_RATE for step in steps]
        return list(zip(ends[::2], ends[1::2], strict=True))

    monkeypatch.setattr(pieces, "speech_seconds", find)
    window = samples(20.0)
    for start, end, level in ((2, 5, 0.5), (8, 11, 0.005), (12, 15, 0.5), (15.5, 16, 0.005)):
        window[round(start * SAMPLE_RATE) : round(end * SAMPLE_RATE)] = level

    assert find_voices(window) == [
        Voice(2.0, 5.0, pytest.approx(-6.0, abs=0.1)),
        Voice(8.0, 11.0, pytest.approx(-46.0, abs=0.1)),
        Voice(12.0, 15.0, pytest.approx(-6.0, abs=0.1)),
        Voice(15.5, 16.0, pytest.approx(-46.0, abs=0.1)),
    ]
    assert find_voices(samples(20.0)) == []


def test_pieces_that_bring_little_are_not_believed(asked: list[int]) -> None:
    assert again(Scribe(), 25.0, words(16)) == words(16)  # 19 are no fifth more
    assert again(Scribe(), 25.0, words(15)).split() == ["word"] * 19


def test_a_short_window_and_one_without_a_pause_are_never_read_again(
    asked: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    scribe = Scribe()

    assert again(scribe, MAX_PIECE_SECONDS, "") == ""
    assert not asked
    monkeypatch.setattr(pieces, "speech_seconds", lambda audio: [(0.5, 24.5)])
    assert again(scribe, 25.0, "hello") == "hello"
    monkeypatch.setattr(pieces, "speech_seconds", lambda audio: [])
    assert again(scribe, 25.0, "") == ""
    assert not scribe.heard


gaps = st.floats(0.1, 8.0)


@given(st.lists(st.tuples(gaps, gaps), min_size=1, max_size=8))
def test_pieces_hold_all_voices_in_order_and_no_sample_twice(
    turns: list[tuple[float, float]],
) -> None:
    voices: list[Voice] = []
    time = 0.0
    for pause, length in turns:
        decibels = -50.0 if len(voices) % 3 == 2 else -20.0
        voices.append(Voice(time + pause, time + pause + length, decibels))
        time = voices[-1].end

    found = cut_at_pauses(voices, seconds=time)

    for spoken in voices:
        assert any(start <= spoken.start and spoken.end <= end for start, end in found)
    assert all(a[1] <= b[0] for a, b in zip(found, found[1:], strict=False))
    assert all(0 <= start < end <= time for start, end in found)
    assert all(end - start <= MAX_PIECE_SECONDS + 2 * MARGIN_SECONDS for start, end in found)


@pytest.fixture(scope="module")
def tight(published_tiny: Path) -> Loaded:
    loaded = load(published_tiny, dtype="float32")
    loaded.model.config = replace(loaded.model.config, window="tight")
    return loaded


def test_windows_of_true_length_are_read_again_and_published_ones_only_if_asked(
    tiny: Loaded, tight: Loaded, asked: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audio_encoding, "spoken_windows", lambda audio, bounds: [0])
    clip = AudioRef(audio=(samples(25.0), SAMPLE_RATE))

    def text(loaded: Loaded, **options: Any) -> str:
        engine = Engine(loaded, **options)
        engine._transcriber = Scribe(words(12))  # type: ignore[assignment]
        return engine.transcribe([clip])[0]

    assert text(tight).split() == ["word"] * 19
    assert text(tight, read_again=False) == words(12)
    assert text(tiny) == words(12)
    assert text(tiny, read_again=True).split() == ["word"] * 19
