"""Batches: every row once an epoch, under the budget, resumable anywhere."""

from itertools import islice

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from desta.data.batching import similar_lengths
from desta.data.sampling import BucketSampler, ClipSampler, Position


def sampler(lengths: list[int], budget: int, seed: int, *, packing: bool = False) -> BucketSampler:
    return BucketSampler(
        len(lengths),
        lengths.__getitem__,
        token_budget=budget,
        chunk_rows=7,
        packing=packing,
        seed=seed,
    )


@given(st.lists(st.integers(1, 20), min_size=1, max_size=40), st.integers(20, 60), st.integers(0))
def test_an_epoch_holds_every_row_once_under_the_budget(
    lengths: list[int], budget: int, seed: int
) -> None:
    seen: list[int] = []
    for rows, position in sampler(lengths, budget, seed).batches(Position()):
        if position.epoch > 0:
            break
        assert max(lengths[row] for row in rows) * len(rows) <= budget
        seen += rows
    assert sorted(seen) == list(range(len(lengths)))


@given(st.lists(st.integers(1, 20), min_size=1, max_size=40), st.integers(20, 60), st.integers(0))
def test_packed_batches_hold_every_row_once_and_no_more_tokens_than_the_budget(
    lengths: list[int], budget: int, seed: int
) -> None:
    seen: list[int] = []
    for rows, position in sampler(lengths, budget, seed, packing=True).batches(Position()):
        if position.epoch > 0:
            break
        assert sum(lengths[row] for row in rows) <= budget
        seen += rows
    assert sorted(seen) == list(range(len(lengths)))


@given(st.integers(0, 30), st.integers(0, 5))
def test_batches_continue_at_any_position(taken: int, seed: int) -> None:
    lengths = [1 + (7 * i) % 13 for i in range(23)]
    whole = list(islice(sampler(lengths, 30, seed).batches(Position()), 40))
    start = whole[taken - 1][1] if taken else Position()
    assert list(islice(sampler(lengths, 30, seed).batches(start), 40 - taken)) == whole[taken:]


@given(st.lists(st.integers(1, 20), min_size=1, max_size=40), st.integers(0, 5))
def test_the_first_epoch_ends_before_anything_is_measured_twice(
    lengths: list[int], seed: int
) -> None:
    measured: list[int] = []
    whole = sampler(lengths, 30, seed)
    whole.length = lambda row: measured.append(row) or lengths[row]

    batches = list(whole.first_epoch())

    assert sorted(measured) == sorted(row for rows in batches for row in rows)
    assert batches == [
        rows for rows, _ in islice(sampler(lengths, 30, seed).batches(Position()), len(batches))
    ]


def test_epochs_differ() -> None:
    batches = islice(sampler(list(range(1, 15)), 40, 0).batches(Position()), 60)
    by_epoch: dict[int, list[list[int]]] = {}
    for rows, position in batches:
        by_epoch.setdefault(position.epoch, []).append(rows)
    assert by_epoch[0] != by_epoch[1]


@given(st.lists(st.integers(1, 480_000), max_size=40), st.integers(1, 5))
def test_windows_of_similar_length_are_grouped_each_once(lengths: list[int], size: int) -> None:
    groups = similar_lengths(lengths, max_size=size)

    assert sorted(place for group in groups for place in group) == list(range(len(lengths)))
    for group in groups:
        assert len(group) <= size
        longest = max(lengths[place] for place in group)
        assert min(lengths[place] for place in group) >= longest - max(16_000, longest // 4)


def test_groups_hold_the_rows_of_an_epoch_that_repeats_some_and_leaves_others_out() -> None:
    clips, epoch = [0, 0, 1, 1, 2, 2], [5, 0, 5, 1, 5, 2]
    groups = ClipSampler(
        np.array(clips),
        lambda rows: len(rows),
        rows_per_clip=4,
        token_budget=100,
        draw_epoch=lambda generator: generator.permutation(epoch),
    )
    (first, _) = next(groups.batches(Position()))
    assert sorted(sorted(group) for group in first) == [[0, 1], [2], [5, 5, 5]]


def clip_sampler(clips: list[int], budget: int, seed: int = 0, most: int = 3) -> ClipSampler:
    """Return a sampler of rows that have three tokens each, beside the five of their clip."""
    return ClipSampler(
        np.array(clips),
        lambda rows: 5 + 3 * len(rows),
        rows_per_clip=most,
        token_budget=budget,
        chunk_rows=7,
        seed=seed,
    )


clip_numbers = st.lists(st.integers(0, 6), min_size=1, max_size=40)


@given(clip_numbers, st.integers(8, 60), st.integers(1, 5), st.integers(0, 5))
def test_an_epoch_holds_every_row_once_in_groups_about_one_clip_under_the_budget(
    clips: list[int], budget: int, most: int, seed: int
) -> None:
    for groups in (first := list(clip_sampler(clips, budget, seed, most).first_epoch())):
        assert len(groups) * max(5 + 3 * len(group) for group in groups) <= budget
        for group in groups:
            assert len({clips[row] for row in group}) == 1
            assert 1 <= len(group) <= most
    rows = [row for groups in first for group in groups for row in group]
    assert sorted(rows) == list(range(len(clips)))
    if budget >= 5 + 3 * most:
        found = [clips[group[0]] for groups in first for group in groups]
        fewest = {clip: -(-clips.count(clip) // most) for clip in clips}
        assert {clip: found.count(clip) for clip in clips} == fewest, "none is split"


@given(st.integers(0, 30), st.integers(0, 5))
def test_batches_of_groups_continue_at_any_position(taken: int, seed: int) -> None:
    clips = [(3 * row) % 8 for row in range(23)]
    whole = list(islice(clip_sampler(clips, 30, seed).batches(Position()), 40))
    start = whole[taken - 1][1] if taken else Position()
    rest = islice(clip_sampler(clips, 30, seed).batches(start), 40 - taken)
    assert list(rest) == whole[taken:]


def test_groups_are_formed_anew_in_every_epoch() -> None:
    by_epoch: dict[int, set[frozenset[int]]] = {}
    for groups, position in islice(clip_sampler([0] * 12, 60).batches(Position()), 12):
        by_epoch.setdefault(position.epoch, set()).update(map(frozenset, groups))
    assert by_epoch[0] != by_epoch[1]
    assert {len(group) for group in by_epoch[0]} == {3}


def test_a_group_that_exceeds_the_budget_is_split_and_a_row_that_does_stays_whole() -> None:
    sizes = [len(g) for groups in clip_sampler([0] * 4, 12, most=4).first_epoch() for g in groups]
    assert sizes == [2, 2]
    sizes = [len(g) for groups in clip_sampler([0] * 4, 3, most=4).first_epoch() for g in groups]
    assert sizes == [1, 1, 1, 1]


@given(st.lists(st.integers(1, 20), min_size=1, max_size=40), st.integers(1, 6))
def test_with_tokens_to_spare_every_batch_of_a_chunk_but_one_has_the_most_rows(
    lengths: list[int], most: int
) -> None:
    batches = BucketSampler(
        len(lengths), lengths.__getitem__, token_budget=20 * most, chunk_rows=12, batch_rows=most
    ).first_epoch()
    sizes = [len(rows) for rows in batches]
    chunks = [min(12, len(lengths) - start) for start in range(0, len(lengths), 12)]
    assert sorted(sizes) == sorted(
        size for chunk in chunks for size in [most] * (chunk // most) + [chunk % most] if size
    )


def test_the_most_rows_of_a_batch_are_those_of_its_groups_together() -> None:
    clips = np.repeat(np.arange(6), 3)
    options = {"token_budget": 1000, "batch_rows": 7, "rows_per_clip": 3}
    batches = list(ClipSampler(clips, len, **options).first_epoch())
    assert [sum(map(len, groups)) for groups in batches] == [6, 6, 6]
