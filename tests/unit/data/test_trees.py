"""Trees: every conversation is in its tree, and only what is the same stands once."""

from dataclasses import replace

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from desta.data.batching import collate, collate_packed, num_shared
from desta.data.layout import Span, Tokens
from desta.data.trees import Tree, join, joint_length
from desta.model.backbone.trees import tree_mask
from desta.model.config import NO_LABEL

AUDIO = 99
WINDOW = np.ones(8, dtype=np.float32)


def conversation(
    before: list[int], after: list[int], response: list[int], *, num_windows: int = 1
) -> Tokens:
    """Return a conversation about a clip with two audio tokens a window; -1 ends the context."""
    num_audio = 2 * num_windows
    context = [*before, *[AUDIO] * num_audio, *after, 7]
    return Tokens([*context, *response], [Span(len(before), num_audio, 0)], len(context))


words = st.lists(st.integers(1, 3), max_size=4)
conversations = st.lists(
    st.builds(conversation, words, words, st.lists(st.integers(1, 3), min_size=1, max_size=4)),
    min_size=2,
    max_size=5,
)


@given(conversations)
def test_every_conversation_is_the_stem_and_its_branch(sequences: list[Tokens]) -> None:
    tree, windows = join(sequences, [[WINDOW]] * len(sequences))

    assert isinstance(tree, Tree)
    assert len(tree.ids) == joint_length(sequences)
    branches = np.array(tree.branches)
    for number, sequence in enumerate(sequences, start=1):
        own = np.flatnonzero((branches == 0) | (branches == number))
        assert [tree.ids[at] for at in own] == sequence.ids
        assert [tree.labels[at] for at in own] == sequence.labels
        assert [tree.positions[at] for at in own] == sequence.positions
    heard = [at for s in tree.spans for at in range(s.start, s.start + s.num_audio_tokens)]
    assert heard == [at for at, token in enumerate(tree.ids) if token == AUDIO]
    assert 2 * len(windows) == len(heard)


@given(conversations)
def test_the_stem_is_as_long_as_it_can_be_and_holds_no_label(sequences: list[Tokens]) -> None:
    tree, _ = join(sequences, [[WINDOW]] * len(sequences))

    assert isinstance(tree, Tree)
    stem = tree.num_stem
    assert set(tree.labels[: stem + 1]) <= {NO_LABEL}, "the last of the context predicts"
    assert all(s.ids[:stem] == sequences[0].ids[:stem] for s in sequences)
    at_an_end = any(s.num_context - 1 == stem for s in sequences)
    assert at_an_end or len({s.ids[stem] for s in sequences}) > 1


def test_the_stem_ends_before_a_clip_that_sounds_different() -> None:
    one = conversation([1, 2], [3], [4])
    same, _ = join([one, one], [[WINDOW], [WINDOW.copy()]])
    assert isinstance(same, Tree)
    assert same.num_stem == 5

    louder, windows = join([one, one], [[WINDOW], [2 * WINDOW]])
    assert isinstance(louder, Tree)
    assert louder.num_stem == 2
    assert [span.start for span in louder.spans] == [2, 7]
    assert [window[0] for window in windows] == [1, 2]


def test_clips_of_different_length_side_by_side_are_not_mixed_up() -> None:
    """Audio tokens look alike: two windows of one clip, or one window of each of two."""
    long = conversation([1], [], [4], num_windows=2)
    pair = replace(long, spans=[Span(1, 2, 0), Span(3, 2, 0)])
    tree, windows = join([long, pair], [[WINDOW, 2 * WINDOW], [3 * WINDOW, 4 * WINDOW]])
    assert isinstance(tree, Tree)
    assert tree.num_stem == 1
    assert [window[0] for window in windows] == [1, 2, 3, 4]


def test_a_conversation_alone_stays_what_it_is() -> None:
    one = conversation([1], [2], [3])
    assert join([one], [[WINDOW]]) == (one, [WINDOW])
    assert collate([one, one], pad_id=0).branches_BS is None
    assert collate_packed([one]).branches_BS is None


def seen(positions: list[int], branches: list[int], num_cached: int = 0) -> list[list[int]]:
    """Return the columns that each position sees."""
    mask = tree_mask(torch.tensor([positions]), torch.tensor([branches]), num_cached=num_cached)
    return [row.nonzero()[:, 0].tolist() for row in mask[0, 0]]


def test_a_token_sees_the_stem_and_its_own_branch() -> None:
    tree = [[0], [0, 1], [0, 1, 2], [0, 1, 2, 3], [0, 1, 4], [0, 1, 4, 5]]
    assert seen([0, 1, 2, 3, 2, 3], [0, 0, 1, 1, 2, 2]) == tree


def test_trees_in_a_row_do_not_see_each_other_nor_padding() -> None:
    assert seen([0, 0, 1, 1, 0, 1, 1], [0, 0, 1, 2, 0, 1, 2]) == [
        [0],
        [1],
        [1, 2],
        [1, 3],
        [4],
        [4, 5],
        [4, 6],
    ]
    assert seen([0, 1, 0, 1], [1, 1, 2, 2]) == [[0], [0, 1], [2], [2, 3]], "without a stem"


def test_a_row_takes_what_all_rows_begin_with_from_the_first_columns() -> None:
    """The row begins in column 1, the cached tokens lie in columns 0 and 1."""
    assert seen([0, 0, 1, 2, 3, 3], [0, 0, 0, 0, 1, 2], num_cached=2) == [
        [2],  # the second token of the stem again: nobody sees it
        [0, 1, 3],
        [0, 1, 3, 4],
        [0, 1, 3, 5],
    ]


def test_places_labels_and_positions_follow_the_trees_of_a_batch() -> None:
    one, other = conversation([1], [2], [3, 4]), conversation([1], [5], [6])
    tree, _ = join([one, other], [[WINDOW]] * 2)
    padded = collate([one, tree], pad_id=0)
    assert padded.input_ids_BS.tolist() == [
        [0, 0, 0, 1, 99, 99, 2, 7, 3, 4],
        [1, 99, 99, 2, 7, 3, 4, 5, 7, 6],
    ]
    assert padded.position_ids_BS is not None
    assert padded.position_ids_BS.tolist() == [
        [0, 0, 0, 0, 1, 2, 3, 4, 5, 6],
        [0, 1, 2, 3, 4, 5, 6, 3, 4, 5],
    ]
    assert padded.branches_BS is not None
    assert padded.branches_BS.tolist() == [[0] * 10, [0, 0, 0, 1, 1, 1, 1, 2, 2, 2]]
    assert padded.places_P2.tolist() == [[0, 4], [0, 5], [1, 1], [1, 2]]
    assert padded.num_labels == 5
    packed = collate_packed([one, tree])
    assert packed.places_P2.tolist() == [[0, 1], [0, 2], [0, 8], [0, 9]]
    assert packed.num_labels == 5
    assert num_shared([one, tree]) == 1
