"""A window that is read again in pieces, where the decoder stopped at a pause.

Whisper's decoder sometimes takes a pause, or a quieter speaker behind it, for the end of what is
said, and leaves out the rest of the window (docs/windows.md). Pieces cut at the pauses hold nothing
to stop at; but a text in pieces has more errors than one of a whole window that was read to its
end, so only windows with few words for their speech are read again.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from desta.audio import SAMPLE_RATE
from desta.inference.transcribe import Transcriber
from desta.vad import Span, speech_seconds

MIN_TOKENS_A_SECOND = 2.5
"""Of speech: whoever speaks slowly writes 3, and a text without a third of its words 2."""
MIN_GAIN = 1.2
"""Times the tokens that pieces must bring to be believed."""
MAX_PIECE_SECONDS = 10.0
MARGIN_SECONDS = 0.5
"""Kept of the pauses around a piece."""


def read_again(
    transcriber: Transcriber, window: NDArray[np.float32], text: str, *, language: str | None
) -> str:
    """Return the text of a window, or of its pieces where that has words which it lacks.

    Args:
        transcriber: what wrote the text.
        window: float32, mono, 16 kHz, at most 30 s.
        text: what is said in it.
        language: as in `Transcriber.transcribe`.
    """
    seconds = len(window) / SAMPLE_RATE
    if seconds <= MAX_PIECE_SECONDS:
        return text
    num_tokens = transcriber.count_tokens(text)
    if num_tokens >= MIN_TOKENS_A_SECOND * seconds:
        return text  # enough even if nobody ever paused: the detector need not be asked
    speech = speech_seconds(window)
    if num_tokens >= MIN_TOKENS_A_SECOND * sum(end - start for start, end in speech):
        return text
    pieces = cut_at_pauses(speech, seconds=seconds)
    if len(pieces) < 2:
        return text
    cuts = [(round(start * SAMPLE_RATE), round(end * SAMPLE_RATE)) for start, end in pieces]
    texts = transcriber.transcribe([window[start:end] for start, end in cuts], language=language)
    again = " ".join(filter(None, texts))
    return again if transcriber.count_tokens(again) >= MIN_GAIN * num_tokens else text


def cut_at_pauses(speech: Sequence[Span], *, seconds: float) -> list[Span]:
    """Join speech into pieces of at most `MAX_PIECE_SECONDS`; longer speech stays whole.

    Args:
        speech: where somebody speaks.
        seconds: length of the window.

    >>> cut_at_pauses([(1.0, 4.0), (5.0, 9.0), (12.0, 13.0)], seconds=13.0)
    [(0.5, 9.5), (11.5, 13.0)]
    >>> cut_at_pauses([(0.0, 20.0), (20.4, 29.0)], seconds=30.0)  # half of the pause for each
    [(0.0, 20.2), (20.2, 29.5)]
    """
    joined: list[Span] = []
    for start, end in speech:
        if joined and end - joined[-1][0] <= MAX_PIECE_SECONDS:
            joined[-1] = joined[-1][0], end
        else:
            joined.append((start, end))
    middles = [(a[1] + b[0]) / 2 for a, b in zip(joined, joined[1:], strict=False)]
    return [
        (max(start - MARGIN_SECONDS, earliest), min(end + MARGIN_SECONDS, latest))
        for (start, end), earliest, latest in zip(
            joined, [0.0, *middles], [*middles, seconds], strict=True
        )
    ]
