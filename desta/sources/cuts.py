"""Recordings of hours cut into clips where nobody speaks."""

import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import soundfile

from desta.audio import WINDOW_SECONDS, AudioError
from desta.records import Segment


def group_segments(
    segments: Sequence[Segment], *, max_seconds: float = WINDOW_SECONDS
) -> Iterator[tuple[Segment, ...]]:
    """Yield what is said in each clip: as many segments as fit, none of them cut.

    Segments that overlap stay together, so a group is longer than `max_seconds` only where people
    talk that long without a common pause.

    Args:
        segments: of the whole recording, in any order.
        max_seconds: from the first start to the last end of a group.
    """
    group: list[Segment] = []
    for island in _islands(segments):
        if group and _end(island) - group[0].start > max_seconds:
            yield tuple(group)
            group = []
        group += island
    if group:
        yield tuple(group)


def shift(segments: Sequence[Segment]) -> tuple[Segment, ...]:
    """Return the segments with their times counted from the start of the first."""
    start = segments[0].start
    return tuple(
        replace(s, start=round(s.start - start, 3), end=round(s.end - start, 3)) for s in segments
    )


def cut(source: Path, *, start: float, end: float, channel: int = 0) -> bytes:
    """Return a stretch of one channel as the bytes of a FLAC file.

    Args:
        source: the recording.
        start: seconds.
        end: seconds.
        channel: the first is 0.

    Raises:
        AudioError: the recording cannot be read, ends before the start or lacks the channel.
    """
    try:
        with soundfile.SoundFile(source) as sound:
            if channel >= sound.channels:
                raise AudioError(str(source), "lacks a channel", fix="fetch it again")
            first, last = (round(seconds * sound.samplerate) for seconds in (start, end))
            sound.seek(min(first, sound.frames))
            samples = sound.read(last - first, dtype="int16", always_2d=True)[:, channel]
            rate = sound.samplerate
    except soundfile.LibsndfileError as error:
        raise AudioError(str(source), "cannot be read", fix="fetch it again") from error
    if not len(samples):
        raise AudioError(str(source), "ends before what is said in it", fix="fetch it again")
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format="FLAC")
    return buffer.getvalue()


def _islands(segments: Sequence[Segment]) -> Iterator[list[Segment]]:
    """Yield runs of segments with silence before and after them."""
    island: list[Segment] = []
    for segment in sorted(segments, key=lambda s: (s.start, s.end)):
        if island and segment.start >= _end(island):
            yield island
            island = []
        island.append(segment)
    if island:
        yield island


def _end(segments: Sequence[Segment]) -> float:
    return max((segment.end for segment in segments), default=-math.inf)
