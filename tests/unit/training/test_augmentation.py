"""Augmented streams: a place in the stream decides, not who reads it, nor when."""

import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
import torch

from desta.audio.augment.config import AugmentConfig, Codec, Gain, Noise
from desta.data.dataset import PairDataset
from desta.data.sampling import Position
from desta.errors import ConfigError
from desta.model.checkpoint import Loaded
from desta.records import AudioTextPair
from desta.training.augmentation import check_augmentation
from desta.training.balance import Balance
from desta.training.batches import Collator, MicroBatch, stream
from desta.training.config import DataConfig
from support.training import run_config

NOISY = AugmentConfig(
    noise=Noise(probability=0.7, decibels=(0, 20)), gain=Gain(probability=0.5, decibels=(-9, -3))
)


@pytest.fixture
def data(tmp_path: Path, published_tiny: Path) -> DataConfig:
    """Return 24 pairs in small batches; those of even numbers ask for the noise."""
    config = run_config(tmp_path, published_tiny).data
    shard = config.train[0] / "audio-00000.jsonl"
    rows = [json.loads(line) for line in shard.open()]
    for number, row in enumerate(rows):
        row["prompt"] = "Is it noisy, is it loud?" if number % 2 == 0 else "Which language is it?"
        row["response"] = f"It is so, {number}."
        row["seed_description"] = "[00:00-00:02] (Language: English, Duration: 2s)"
    shard.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return replace(config, augment=NOISY, token_budget=400)


Read = list[tuple[tuple[str, ...], list[torch.Tensor]]]


def read(
    tiny: Loaded,
    data: DataConfig,
    count: int,
    *,
    start: Position | None = None,
    processes: int = 1,
    seed: int = 0,
) -> tuple[Read, list[Position]]:
    """Return the ids and the sounds of the next batches of all processes, in order."""
    rows = PairDataset(data.train)
    streams: list[Iterator[tuple[MicroBatch, Position]]] = [
        stream(
            data,
            rows,
            Collator(data, tiny),
            start=start or Position(),
            seed=seed,
            process=process,
            num_processes=processes,
        )
        for process in range(processes)
    ]
    taken = [
        item for turn in islice(zip(*streams, strict=True), count // processes) for item in turn
    ]
    return [(tuple(p.id for p in b.pairs), sounds(b)) for b, _ in taken], [p for _, p in taken]


def sounds(batch: MicroBatch) -> list[torch.Tensor]:
    return [mel.features_BMF for mel in batch.mels]


def same(first: Read, second: Read) -> bool:
    return [ids for ids, _ in first] == [ids for ids, _ in second] and all(
        torch.equal(a, b)
        for (_, one), (_, other) in zip(first, second, strict=True)
        for a, b in zip(one, other, strict=True)
    )


def test_a_resumed_run_and_any_number_of_processes_hear_the_same(
    tiny: Loaded, data: DataConfig
) -> None:
    whole, positions = read(tiny, data, 12)
    assert same(read(tiny, data, 8, start=positions[3])[0], whole[4:])
    assert same(read(tiny, data, 12, processes=2)[0], whole)
    assert same(read(tiny, replace(data, num_workers=2), 12)[0], whole)
    plain = read(tiny, replace(data, augment=None), 12)[0]
    assert [ids for ids, _ in plain] == [ids for ids, _ in whole]
    assert not same(plain, whole)


def test_another_seed_or_epoch_hears_something_else(tiny: Loaded, data: DataConfig) -> None:
    data = replace(data, token_budget=1)  # a pair a batch

    def by_pair(items: Read) -> dict[str, list[torch.Tensor]]:
        return {ids[0]: mels for ids, mels in items if len(ids) == 1}

    epochs = read(tiny, data, 48)[0]
    first, second = by_pair(epochs[:24]), by_pair(epochs[24:])
    other = by_pair(read(tiny, data, 24, seed=1)[0])
    both = first.keys() & second.keys() & other.keys()
    assert len(both) > 12
    odd = [id for id in both if int(id.removeprefix("pair-")) % 2]
    for again in (second, other):
        assert sum(not torch.equal(first[id][0], again[id][0]) for id in odd) > len(odd) / 2


def test_a_pair_that_asks_for_the_noise_hears_the_recording_as_it_is(
    tiny: Loaded, data: DataConfig
) -> None:
    collator = Collator(replace(data, augment=replace(NOISY, noise=Noise(probability=1))), tiny)
    plain = Collator(replace(data, augment=None), tiny)
    rows = PairDataset(data.train)
    for number in range(6):
        both = [
            sounds(each([[rows[number]]], [(0, 0, 0, 1, number)])) for each in (collator, plain)
        ]
        assert torch.equal(both[0][0], both[1][0]) == (number % 2 == 0)


def test_questions_about_a_clip_hear_the_same_and_what_one_rules_out_none_gets(
    tiny: Loaded, data: DataConfig
) -> None:
    augmented = Collator(replace(data, augment=replace(NOISY, noise=Noise(probability=1))), tiny)
    plain = Collator(replace(data, augment=None), tiny)
    rows = PairDataset(data.train)
    draw = (0, 0, 0, 1, 0)

    def heard(collator: Collator, *numbers: int) -> list[torch.Tensor]:
        clip = rows[1]
        assert isinstance(clip, AudioTextPair)
        pairs = [replace(rows[number], messages=clip.messages) for number in numbers]
        batch = collator([pairs], [draw])
        assert len(batch.pairs) == len(numbers)
        return sounds(batch)

    assert len(heard(augmented, 1, 3)) == 1
    assert torch.equal(heard(augmented, 1, 3)[0], heard(augmented, 1)[0])
    assert not torch.equal(heard(augmented, 1, 3)[0], heard(plain, 1, 3)[0])
    assert torch.equal(heard(augmented, 1, 2)[0], heard(plain, 1)[0])  # 2 asks for the noise


def test_without_a_draw_clips_stay_as_recorded(tiny: Loaded, data: DataConfig) -> None:
    rows = PairDataset(data.train)
    groups = [[rows[1]], [rows[3]]]
    augmented, plain = Collator(data, tiny), Collator(replace(data, augment=None), tiny)
    for first, second in zip(sounds(augmented(groups)), sounds(plain(groups)), strict=True):
        assert torch.equal(first, second)


def test_a_pair_that_is_read_again_alone_is_augmented_as_before(
    tiny: Loaded, data: DataConfig
) -> None:
    rows = PairDataset(data.train)
    collator = Collator(data, tiny)
    batch, _ = next(
        stream(data, rows, collator, start=Position(), seed=0, process=0, num_processes=1)
    )
    assert len(batch.draws) == len(batch.groups)
    again = collator(batch.groups, batch.draws)
    for first, second in zip(sounds(batch), sounds(again), strict=True):
        assert torch.equal(first, second)


def test_what_may_be_augmented_is_told_before_the_first_step(
    data: DataConfig, caplog: pytest.LogCaptureFixture
) -> None:
    shard = data.train[0] / "audio-00000.jsonl"
    rows = [json.loads(line) for line in shard.open()]
    rows[1]["seed_description"] = "[00:00-00:02] (Bearing: Worn)"
    shard.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    with caplog.at_level(logging.INFO, logger="desta"):
        check_augmentation(NOISY, PairDataset(data.train))
    assert "of the first 24 pairs may get noise 11, gain 11" in caplog.text
    assert '"bearing" of 1 pairs is not known' in caplog.text


def test_an_attribute_that_no_response_names_cannot_be_balanced(data: DataConfig) -> None:
    with pytest.raises(ConfigError, match='begins with its clip\'s "Emotion"'):
        Balance.of(PairDataset(data.train), ["Emotion"])


def test_a_missing_codec_is_told_before_the_first_step(
    data: DataConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    from desta.audio.augment import codecs

    monkeypatch.setitem(codecs._ENCODERS, "opus", ("libnothing", "flt", "0"))
    with pytest.raises(ConfigError, match="opus cannot be encoded"):
        check_augmentation(AugmentConfig(codec=Codec(probability=0.1)), PairDataset(data.train))
