"""Measured values against sounds whose values are known."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from desta.attributes.signal import (
    MEASURES,
    Recording,
    Unmeasured,
    loudness,
    num_words,
    pitch,
    signal_to_noise,
    speaking_rate,
)
from desta.audio import SAMPLE_RATE, load_audio
from desta.errors import MissingExtraError
from desta.records import Clip, Segment
from desta.vad import SpeechSpan

RNG = np.random.default_rng(0)
needs_espeak = pytest.mark.skipif(not shutil.which("espeak-ng"), reason="espeak-ng is missing")


def recording(
    audio: NDArray[np.float64],
    *,
    text: str | None = None,
    speakers: tuple[str | None, ...] = (None,),
    speech: list[SpeechSpan] | None = None,
) -> Recording:
    """Return a recording; `speech` stands for what the detector hears where it is given."""
    seconds = len(audio) / SAMPLE_RATE
    clip = Clip(
        id="c",
        source="s",
        audio="c.wav",
        duration=seconds,
        domain="speech",
        segments=tuple(Segment(start=0, end=seconds, speaker=s, text=text) for s in speakers),
    )
    made = Recording(clip=clip, audio=audio.astype(np.float32))
    if speech is not None:
        vars(made)["speech"] = speech
    return made


def tone(hertz: float, seconds: float = 2.0, *, harmonics: int = 1) -> NDArray[np.float64]:
    t = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    return sum(np.sin(2 * np.pi * hertz * n * t) / n for n in range(1, harmonics + 1))


@pytest.mark.parametrize("hertz", [70, 110, 220, 440])
def test_the_pitch_of_a_harmonic_tone_is_its_fundamental(hertz: float) -> None:
    assert pitch(recording(0.1 * tone(hertz, harmonics=6))) == pytest.approx(hertz, rel=0.01)


def test_pitch_is_the_median_of_what_is_voiced() -> None:
    parts = [tone(120, 1.0, harmonics=6), np.zeros(SAMPLE_RATE), tone(200, 0.4, harmonics=6)]

    assert pitch(recording(0.1 * np.concatenate(parts))) == pytest.approx(120, rel=0.02)


@pytest.mark.parametrize("level", [1.0, 0.1, 0.01])
def test_the_loudness_of_a_sine_is_that_of_the_standard(level: float) -> None:
    # BS.1770: a full-scale sine of 997 Hz in one channel is -3.01 LUFS
    expected = -3.01 + 20 * np.log10(level)

    assert loudness(recording(level * tone(997, 5.0))) == pytest.approx(expected, abs=0.1)


@pytest.mark.parametrize("decibels", [-5, 0, 5, 10, 15, 20, 30, 40])
def test_the_ratio_of_speech_to_noise_is_found_in_the_pauses(decibels: float) -> None:
    speech = np.concatenate([np.zeros(SAMPLE_RATE), tone(200, 2.0), np.zeros(SAMPLE_RATE)])
    power = np.mean(tone(200, 2.0) ** 2)
    noise = RNG.standard_normal(len(speech)) * np.sqrt(power / 10 ** (decibels / 10))

    found = signal_to_noise(recording(0.01 * (speech + noise), speech=[(1.0, 3.0)]))

    assert found == pytest.approx(decibels, abs=0.5)


def test_a_gate_is_no_clean_background() -> None:
    gated = np.concatenate([np.zeros(SAMPLE_RATE), tone(200), np.zeros(SAMPLE_RATE)])

    with pytest.raises(Unmeasured, match="no pause"):
        signal_to_noise(recording(gated, speech=[(1.0, 3.0)]))


def test_the_rate_counts_words_in_the_time_of_speech_only() -> None:
    made = recording(np.zeros(10 * SAMPLE_RATE), text="one two, three!", speech=[(1, 2), (5, 5.5)])

    assert speaking_rate(made) == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("text", "words"), [("Don't - stop", 2), ("Скажи, «где» он?", 3), ("हिन्दी में", 2), ("3 ½ m", 3)]
)
def test_words_are_what_stands_between_spaces(text: str, words: int) -> None:
    assert num_words(text) == words


@pytest.mark.parametrize("text", ["我每个月打一次电话。", "これはペンです", "สวัสดีครับ"])
def test_scripts_without_spaces_have_no_words_to_count(text: str) -> None:
    with pytest.raises(Unmeasured, match="no spaces"):
        num_words(text)


SILENCE = np.zeros(2 * SAMPLE_RATE)
NOISE = 0.1 * RNG.standard_normal(2 * SAMPLE_RATE)


@pytest.mark.parametrize(
    ("name", "made", "reason"),
    [
        ("pitch", recording(NOISE[:800]), "too short"),
        ("pitch", recording(SILENCE), "hardly any voiced"),
        ("pitch", recording(tone(200), speakers=("Ann", "Ben")), "several speakers"),
        ("loudness", recording(NOISE[:6_000]), "0.4 s"),
        ("loudness", recording(SILENCE), "silent"),
        ("loudness", recording(1e-6 * NOISE), "silent"),
        ("rate", recording(NOISE), "words are not known"),
        ("rate", recording(NOISE, text="..."), "words are not known"),
        ("rate", recording(SILENCE, text="Hello"), "of speech is heard"),
        ("snr", recording(SILENCE), "of speech is heard"),
        ("snr", recording(NOISE, speech=[(0.0, 2.0)]), "no pause"),
        ("snr", recording(np.linspace(1, 0.1, 32_000), speech=[(1.0, 2.0)]), "as loud as"),
    ],
)
def test_what_has_no_value_says_why(name: str, made: Recording, reason: str) -> None:
    with pytest.raises(Unmeasured, match=reason):
        MEASURES[name].of(made)


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "parselmouth", None)

    with pytest.raises(MissingExtraError) as caught:
        pitch(recording(tone(200)))
    assert 'pip install "desta[measure]"' in caught.value.fix


TEXT = "The quick brown fox jumps over the lazy dog, and then it goes home and sleeps until noon."


def say(folder: Path, *options: str) -> NDArray[np.float32]:
    path = folder / "said.wav"
    subprocess.run(["espeak-ng", "-v", "en", *options, "-w", str(path), TEXT], check=True)
    return load_audio(path)


@needs_espeak
def test_synthetic_voices_are_ordered_by_their_pitch_and_rate(tmp_path: Path) -> None:
    pitches = [pitch(recording(say(tmp_path, "-p", p))) for p in ("10", "50", "90")]
    rates = [
        speaking_rate(recording(say(tmp_path, "-s", words_per_minute), text=TEXT))
        for words_per_minute in ("80", "175", "300")
    ]

    assert pitches == sorted(pitches)
    assert pitches[2] > 1.5 * pitches[0]
    assert rates == sorted(rates)
    assert rates[2] > 2 * rates[0]


@needs_espeak
def test_noise_under_a_synthetic_voice_is_measured_within_two_decibels(tmp_path: Path) -> None:
    voice = np.concatenate([np.zeros(SAMPLE_RATE), say(tmp_path, "-s", "150")])
    power = np.mean(voice[SAMPLE_RATE:] ** 2)
    noise = RNG.standard_normal(len(voice)) * np.sqrt(power)

    wanted = (0, 5, 10, 20, 30)
    found = [signal_to_noise(recording(voice + noise * 10 ** (-d / 20))) for d in wanted]

    assert found == pytest.approx(wanted, abs=2)
