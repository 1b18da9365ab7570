"""Pitch, loudness, speaking rate and noise of a recording, measured with established tools.

Each is one number in the unit given in `MEASURES`. `desta.attributes.thresholds` turns numbers into
words once all clips are measured.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from desta.audio import SAMPLE_RATE
from desta.errors import need
from desta.records import NO_TRANSCRIPTION, Clip
from desta.vad import SpeechSpan, speech_seconds

EXTRA = "measure"

PITCH_FLOOR, PITCH_CEILING = 60.0, 700.0  # Hz: from a creaky man to a child
MIN_PITCH_SECONDS = 0.1  # Praat needs three periods of the lowest pitch
MIN_VOICED_FRAMES = 10  # fewer are too few for a voice
GATING_SECONDS = 0.4  # gating block of BS.1770: loudness is undefined for shorter recordings
MIN_PHRASE_SECONDS = 0.3
MIN_PAUSE_SECONDS = 0.2

_UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]")
"""Letters of scripts without spaces between words: Thai, Lao, Burmese, Khmer, kana, han."""


class Unmeasured(Exception):
    """A recording has no value of a measure; the message is a fixed text that can be counted."""


@dataclass(frozen=True, kw_only=True)
class Recording:
    """A clip and its sound."""

    clip: Clip
    audio: NDArray[np.float32]
    """Samples, (T,), mono at `SAMPLE_RATE`."""

    @cached_property
    def speech(self) -> list[SpeechSpan]:
        """Spans with speech, in seconds."""
        return speech_seconds(self.audio)

    @property
    def speech_time(self) -> float:
        """Seconds of speech."""
        return sum(end - start for start, end in self.speech)


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A measure of recordings."""

    name: str
    """Name in `--attributes`."""
    attribute: str
    """Name in seed descriptions."""
    unit: str
    words: tuple[str, ...]
    """Words from the lowest values to the highest; empty for fixed borders (noise)."""
    of: Callable[[Recording], float]
    """Returns the value; raises Unmeasured if the recording has none."""


def pitch(recording: Recording) -> float:
    """Return the median fundamental frequency of the voiced frames in Hz (Praat, Boersma 1993)."""
    if len({s.speaker for s in recording.clip.segments if s.speaker}) > 1:
        raise Unmeasured("several speakers have no common pitch")
    if len(recording.audio) < MIN_PITCH_SECONDS * SAMPLE_RATE:
        raise Unmeasured("too short for a pitch")
    parselmouth = need("parselmouth", extra=EXTRA, to="measure pitch")
    sound = parselmouth.Sound(recording.audio.astype(np.float64), SAMPLE_RATE)
    track = sound.to_pitch_ac(pitch_floor=PITCH_FLOOR, pitch_ceiling=PITCH_CEILING)
    frames = track.selected_array["frequency"]  # 0 if unvoiced
    voiced = frames[frames > 0]
    if len(voiced) < MIN_VOICED_FRAMES:
        raise Unmeasured("hardly any voiced sound")
    return float(np.median(voiced))


def loudness(recording: Recording) -> float:
    """Return the integrated loudness in LUFS (ITU-R BS.1770-4, by pyloudnorm)."""
    if len(recording.audio) < GATING_SECONDS * SAMPLE_RATE:
        raise Unmeasured("shorter than the 0.4 s that loudness is defined for")
    found = float(_meter().integrated_loudness(recording.audio.astype(np.float64)))
    if not np.isfinite(found):
        raise Unmeasured("silent, below -70 LUFS")
    return found


@lru_cache(maxsize=1)
def _meter() -> Any:
    pyloudnorm = need("pyloudnorm", extra=EXTRA, to="measure loudness")
    return pyloudnorm.Meter(SAMPLE_RATE)


def speaking_rate(recording: Recording) -> float:
    """Return words per second of detected speech."""
    if recording.clip.transcription == NO_TRANSCRIPTION:
        raise Unmeasured("the words are not known")
    words = num_words(recording.clip.transcription)
    if recording.speech_time < MIN_PHRASE_SECONDS:
        raise Unmeasured("less than 0.3 s of speech is heard")
    return words / recording.speech_time


def num_words(text: str) -> int:
    """Count the runs between spaces that hold a letter or a digit.

    >>> num_words("Don't go - it's 5 o'clock!")
    5

    Raises:
        Unmeasured: there is no word, or the script has no spaces.
    """
    if _UNSPACED.search(text):
        raise Unmeasured("the script puts no spaces between words")
    num_words = sum(any(letter.isalnum() for letter in token) for token in text.split())
    if not num_words:
        raise Unmeasured("the words are not known")
    return num_words


def signal_to_noise(recording: Recording) -> float:
    """Return the ratio of speech to background in dB, the background measured in pauses.

    The power outside of detected speech is that of the noise; the power of the speech is what
    exceeds it (Vondrášek and Pollák 2005, section 2). Samples that are exactly 0 come from a noise
    gate, and are ignored.
    """
    speaking = np.zeros(len(recording.audio), dtype=bool)
    for start, end in recording.speech:
        speaking[round(start * SAMPLE_RATE) : round(end * SAMPLE_RATE)] = True
    if speaking.sum() < MIN_PHRASE_SECONDS * SAMPLE_RATE:
        raise Unmeasured("less than 0.3 s of speech is heard")
    pauses = recording.audio[~speaking & (recording.audio != 0)]
    if len(pauses) < MIN_PAUSE_SECONDS * SAMPLE_RATE:
        raise Unmeasured("no pause of 0.2 s in which to hear the background")
    noise = float(np.mean(np.square(pauses, dtype=np.float64)))
    both = float(np.mean(np.square(recording.audio[speaking], dtype=np.float64)))
    if both <= noise:
        raise Unmeasured("the pauses are as loud as the speech")
    return 10 * float(np.log10((both - noise) / noise))


_LEVELS = ("Very low", "Low", "Normal", "High", "Very high")
_SPEEDS = ("Very slow", "Slow", "Normal", "Fast", "Very fast")
MEASURES = {
    measure.name: measure
    for measure in (
        Measure(name="pitch", attribute="Pitch", unit="Hz", words=_LEVELS, of=pitch),
        Measure(name="loudness", attribute="Volume", unit="LUFS", words=_LEVELS, of=loudness),
        Measure(
            name="rate",
            attribute="Speaking speed",
            unit="words/s",
            words=_SPEEDS,
            of=speaking_rate,
        ),
        Measure(name="snr", attribute="Noise level", unit="dB", words=(), of=signal_to_noise),
    )
}
