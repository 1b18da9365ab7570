"""Cutting of long recordings into clips between segments."""

import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from desta.audio import WINDOW_SECONDS, AudioError, decoding, open_file
from desta.audio.ogg import find_links
from desta.records import Segment


def group_segments(
    segments: Sequence[Segment], *, max_seconds: float = WINDOW_SECONDS
) -> Iterator[tuple[Segment, ...]]:
    """Yield the segments of each clip: as many as fit, none of them cut.

    Overlapping segments stay together, so a group exceeds `max_seconds` only if people talk that
    long without a common pause.

    Args:
        segments: segments of the whole recording, in any order.
        max_seconds: limit from the first start to the last end of a group.
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
    """Return the segments with times relative to the start of the first."""
    start = segments[0].start
    return tuple(
        replace(s, start=round(s.start - start, 3), end=round(s.end - start, 3)) for s in segments
    )


def cut(source: Path, *, start: float, end: float, channel: int = 0) -> bytes:
    """Cut a section out of one channel; return it as the bytes of a FLAC file.

    Args:
        source: the recording.
        start: start in seconds.
        end: end in seconds.
        channel: index of the channel, from 0.

    Raises:
        AudioError: the recording cannot be read, ends before the start or lacks the channel.
    """
    samples: NDArray[Any]
    try:
        file = open_file(source)
    except AudioError as error:
        raise AudioError(str(source), "cannot be read", fix=error.fix) from error
    with file:
        sound = decoding.open_exact(file, find_links(file))
        if sound is None or sound.channels <= channel:
            samples, rate = _decode(file, str(source), start, end, channel)
        else:
            with sound:
                samples, rate = _seek(sound, str(source), start, end, channel)
    if not len(samples):
        raise AudioError(str(source), "ends before its segments", fix="fetch it again")
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format="FLAC")
    return buffer.getvalue()


def _seek(
    sound: soundfile.SoundFile, name: str, start: float, end: float, channel: int
) -> tuple[NDArray[np.int16], int]:
    rate = sound.samplerate
    first, last = (round(seconds * rate) for seconds in (start, end))
    try:
        sound.seek(min(first, sound.frames))
        return sound.read(last - first, dtype="int16", always_2d=True)[:, channel], rate
    except soundfile.LibsndfileError as error:
        raise AudioError(name, "cannot be read", fix="fetch it again") from error


def _decode(
    file: io.BufferedIOBase, name: str, start: float, end: float, channel: int
) -> tuple[NDArray[np.float32], int]:
    """Decode from the beginning, which alone gives exact positions in compressed formats."""
    parts, rate, seconds = [np.zeros(0, np.float32)], 0, 0.0
    for samples, piece_rate, _ in decoding.decode(file, name, []):
        if channel >= samples.shape[1]:
            raise AudioError(name, "lacks a channel", fix="fetch it again")
        rate = rate or piece_rate
        if piece_rate != rate:
            raise AudioError(name, "changes its sample rate", fix="convert it to wav or flac")
        first, last = (max(round((at - seconds) * rate), 0) for at in (start, end))
        parts.append(samples[first:last, channel].astype(np.float32, copy=False))
        seconds += len(samples) / rate
        if seconds >= end:
            break
    return np.concatenate(parts), rate


def _islands(segments: Sequence[Segment]) -> Iterator[list[Segment]]:
    """Yield runs of overlapping segments, with silence before and after."""
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
