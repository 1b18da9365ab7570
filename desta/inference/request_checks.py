"""Checks of a request before it is answered: its clips and its length in tokens."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from desta import audio
from desta.data.layout import Tokens
from desta.errors import DataError
from desta.model.backbone.sampling import Sampling
from desta.paths import check_local


def check_recording(recording: Any) -> None:
    """Check that a recording has a supported form and is no URL.

    Raises:
        DataError: it has not, or is one.
    """
    audio.check_input(recording)
    if isinstance(recording, str | Path):
        check_local(recording)


def check_clips(clips: Sequence[audio.AudioInput], max_seconds: float) -> None:
    """Check clips of one request and their total duration before any is decoded.

    Headers are read first; only if they exceed the limit, durations are measured.

    Raises:
        DataError: a clip has no supported form, or together they are too long.
    """
    for clip in clips:
        check_recording(clip)
    if sum(map(audio.stated_duration, clips)) > max_seconds:
        check_total_seconds(map(audio.measure_duration, clips), max_seconds)


def check_total_seconds(seconds: Iterable[float], max_seconds: float) -> None:
    """Raise DataError if the clips of a request are too long together."""
    total = sum(seconds)
    if total > max_seconds:
        raise DataError(
            f"the clips last {total:.0f} s together, longer than the limit of {max_seconds:g} s",
            fix="ask about fewer or shorter clips, or raise max_seconds",
            reason="the clips last too long together",
        )


def check_context(tokens: Tokens, sampling: Sampling, max_positions: float) -> None:
    """Raise DataError if a request and its longest answer exceed the backbone's context."""
    if len(tokens.ids) + sampling.max_new_tokens <= max_positions:
        return
    num_audio = sum(span.num_audio_tokens for span in tokens.spans)
    num_text = sum(span.num_text_tokens for span in tokens.spans)
    num_other = len(tokens.ids) - num_audio - num_text
    clips = (
        "ask about fewer or shorter clips"
        if num_audio >= num_text
        else "shorten the transcriptions of the clips, or ask about fewer"
    )
    shorter = {
        clips: num_audio + num_text,
        "shorten the question, or the messages before it": num_other,
        "lower max_new_tokens": sampling.max_new_tokens,
    }
    raise DataError(
        f"the conversation needs {num_audio} audio tokens, {num_text} for transcriptions, "
        f"{num_other} for the messages and {sampling.max_new_tokens} for the answer, "
        f"but the backbone reads {max_positions}",
        fix=max(shorter, key=shorter.__getitem__),
        reason="the conversation does not fit into the backbone's context",
    )
