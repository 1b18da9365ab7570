"""Several conversations about one clip as one sequence: a stem that they share, and branches.

The stem (system prompt, audio tokens, transcription, whatever they begin with) stands once, and
each conversation goes on from it as a branch. A token sees the stem and its own branch before it,
and positions restart after the stem, so that every branch is computed as if it stood alone
(docs/decisions/0037).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from desta.data.layout import Span, Tokens
from desta.model.backbone.decoding import shared_length
from desta.model.config import NO_LABEL

Window = NDArray[np.float32]
"""Samples of a window of audio, (T,), 16 kHz."""
Windows = list[Window]
_Clip = tuple[Span, Windows]


@dataclass(frozen=True)
class Tree:
    """Conversations that begin alike as one sequence; see `Tokens` for the same fields of one."""

    ids: list[int]
    labels: list[int]
    positions: list[int]
    """Position of every token in its own conversation."""
    branches: list[int]
    """Number of the branch of every token, from 1; 0 in the stem."""
    spans: list[Span]
    """The clip in the stem, and clips that stand in branches."""
    num_stem: int
    """Tokens of the stem."""


def join(sequences: Sequence[Tokens], windows: Sequence[Windows]) -> tuple[Tokens | Tree, Windows]:
    """Join conversations about one clip; return their sequence and the windows of clips in it.

    What they share is found in their tokens and their audio, so the result is exact for any
    conversations: those that begin differently share nothing.

    Args:
        sequences: the conversations.
        windows: audio windows of all clips of each.
    """
    if len(sequences) == 1:
        return sequences[0], list(windows[0])
    clips = [_clips(*both) for both in zip(sequences, windows, strict=True)]
    num_stem = _num_common(sequences, clips)
    in_stem = [clip for clip in clips[0] if clip[0].start < num_stem]
    ids, labels = sequences[0].ids[:num_stem], [NO_LABEL] * num_stem
    positions, branches = list(range(num_stem)), [0] * num_stem
    spans, heard = [span for span, _ in in_stem], [w for _, own in in_stem for w in own]
    for number, (sequence, own_clips) in enumerate(zip(sequences, clips, strict=True), start=1):
        moved = len(ids) - num_stem
        for span, own in own_clips[len(in_stem) :]:
            spans.append(replace(span, start=span.start + moved))
            heard += own
        ids += sequence.ids[num_stem:]
        labels += sequence.labels[num_stem:]
        positions += sequence.positions[num_stem:]
        branches += [number] * (len(sequence.ids) - num_stem)
    return Tree(ids, labels, positions, branches, spans, num_stem), heard


def joint_length(sequences: Sequence[Tokens]) -> int:
    """Return the length of conversations as one sequence, if their clips are the same."""
    num_stem = _num_alike(sequences)
    return num_stem + sum(len(sequence.ids) - num_stem for sequence in sequences)


def _num_alike(sequences: Sequence[Tokens]) -> int:
    """Return how many tokens all sequences begin with, before their first label."""
    return min(shared_length([s.ids for s in sequences]), *(s.num_stem for s in sequences))


def _num_common(sequences: Sequence[Tokens], clips: Sequence[list[_Clip]]) -> int:
    """Return the length of the stem: it ends before a clip that is not the same in all."""
    num_alike = _num_alike(sequences)
    for same_place in zip(*clips, strict=False):
        if not all(_same(same_place[0], clip) for clip in same_place[1:]):
            return min(num_alike, *(span.start for span, _ in same_place))
    return num_alike


def _clips(tokens: Tokens, windows: Sequence[Window]) -> list[_Clip]:
    """Return the positions of each clip with its windows."""
    num_audio_tokens = sum(span.num_audio_tokens for span in tokens.spans)
    rest = iter(windows)
    return [
        (
            span,
            [next(rest) for _ in range(span.num_audio_tokens * len(windows) // num_audio_tokens)],
        )
        for span in tokens.spans
    ]


def _same(one: _Clip, other: _Clip) -> bool:
    return (
        (one[0].start, one[0].num_audio_tokens) == (other[0].start, other[0].num_audio_tokens)
        and len(one[1]) == len(other[1])
        and all(map(np.array_equal, one[1], other[1]))
    )
