"""Second transcription of a window in pieces, if its text may lack words.

Whisper's decoder skips speech that is much quieter than the rest of its window, and sometimes stops
at a pause (docs/lab/windows.md). Pieces of constant level, cut at pauses, recover it. But a text in
pieces has more errors than a complete text of the whole window, so only windows with few words for
their speech are transcribed again.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from desta.audio import SAMPLE_RATE, SILENT_BELOW
from desta.inference.transcribe import Transcriber
from desta.vad import speech_seconds

MIN_TOKENS_A_SECOND = 2.5
"""Tokens per second of speech: slow speech has 3, a text that lacks a third of its words 2."""
MAX_DECIBELS = 15.0
"""Largest difference of level between voices of one piece."""
MIN_GAIN = 1.2
"""Factor by which the pieces must have more tokens than the window to be used."""
MAX_PIECE_SECONDS = 10.0
MARGIN_SECONDS = 0.5
"""Seconds of the pauses that are kept around a piece."""
_MIN_GAP_SECONDS = 1.0
"""Shortest pause that is searched for a quieter voice."""


@dataclass(frozen=True)
class Voice:
    """A segment of speech, with start and end in seconds."""

    start: float
    end: float
    decibels: float
    """Level relative to full scale."""


def read_again(
    transcriber: Transcriber, window: NDArray[np.float32], text: str, *, language: str | None
) -> str:
    """Return the text of a window, or that of its pieces if it has clearly more words.

    Args:
        transcriber: the transcriber of the text.
        window: float32, mono, 16 kHz, at most 30 s; up to `MAX_PIECE_SECONDS` its text is kept.
        text: its transcription.
        language: as in `Transcriber.transcribe`.
    """
    seconds = len(window) / SAMPLE_RATE
    if seconds <= MAX_PIECE_SECONDS:
        return text
    voices = find_voices(window)
    pieces = cut_at_pauses(voices, seconds=seconds)
    if len(pieces) < 2:
        return text
    num_tokens = transcriber.count_tokens(text)
    decibels = [voice.decibels for voice in voices]
    if num_tokens >= MIN_TOKENS_A_SECOND * sum(voice.end - voice.start for voice in voices) and (
        max(decibels) - min(decibels) <= MAX_DECIBELS
    ):
        return text
    cuts = [_cut(window, start, end) for start, end in pieces]
    again = " ".join(filter(None, transcriber.transcribe(cuts, language=language)))
    return again if transcriber.count_tokens(again) >= MIN_GAIN * num_tokens else text


def find_voices(window: NDArray[np.float32]) -> list[Voice]:
    """Return the segments of speech, also those far below the level of the others.

    Args:
        window: float32, mono, 16 kHz.
    """
    spans = list(speech_seconds(window))
    starts = [0.0, *(end for _, end in spans)]
    ends = [*(start for start, _ in spans), len(window) / SAMPLE_RATE]
    for start, end in zip(starts, ends, strict=True):
        gap = _cut(window, start, end)
        if end - start < _MIN_GAP_SECONDS or (peak := np.abs(gap).max()) < SILENT_BELOW:
            continue
        spans += [(start + since, start + until) for since, until in speech_seconds(gap / peak)]
    return [Voice(start, end, _decibels(_cut(window, start, end))) for start, end in sorted(spans)]


def cut_at_pauses(voices: Sequence[Voice], *, seconds: float) -> list[tuple[float, float]]:
    """Join voices of one level into pieces of at most `MAX_PIECE_SECONDS`; longer ones are not cut.

    Args:
        voices: voices of a window, in order.
        seconds: length of the window.

    Returns:
        Start and end of each piece in seconds.

    >>> cut_at_pauses([Voice(1, 4, -20), Voice(5, 9, -22), Voice(12, 13, -20)], seconds=13)
    [(0.5, 9.5), (11.5, 13)]
    >>> cut_at_pauses([Voice(1, 4, -20), Voice(4.4, 9, -40)], seconds=30)  # half of the pause each
    [(0.5, 4.2), (4.2, 9.5)]
    """
    groups: list[list[Voice]] = []
    for voice in voices:
        if (
            groups
            and abs(voice.decibels - groups[-1][0].decibels) <= MAX_DECIBELS
            and voice.end - groups[-1][0].start <= MAX_PIECE_SECONDS
        ):
            groups[-1].append(voice)
        else:
            groups.append([voice])
    spans = [(group[0].start, group[-1].end) for group in groups]
    middles = [(a[1] + b[0]) / 2 for a, b in zip(spans, spans[1:], strict=False)]
    return [
        (max(start - MARGIN_SECONDS, earliest), min(end + MARGIN_SECONDS, latest))
        for (start, end), earliest, latest in zip(
            spans, [0.0, *middles], [*middles, seconds], strict=False
        )
    ]


def _decibels(speech: NDArray[np.float32]) -> float:
    return float(10 * np.log10(np.square(speech, dtype=np.float64).mean() + SILENT_BELOW**2))


def _cut(window: NDArray[np.float32], start: float, end: float) -> NDArray[np.float32]:
    return window[round(start * SAMPLE_RATE) : round(end * SAMPLE_RATE)]
