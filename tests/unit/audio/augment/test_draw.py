"""Draws: the same numbers give the same samples, and every kind draws on its own."""

from dataclasses import replace

import numpy as np
import pytest

from desta.audio import SAMPLE_RATE, WINDOW_SAMPLES
from desta.audio.augment.config import (
    KINDS,
    AugmentConfig,
    Clipping,
    Codec,
    Crop,
    Gain,
    LowPass,
    Noise,
    Room,
    Silence,
    Speed,
    Telephone,
)
from desta.audio.augment.draw import augment
from desta.config import build_config
from desta.errors import ConfigError

ALL = AugmentConfig(
    crop=Crop(probability=1.0, seconds=(0.5, 0.6)),
    speed=Speed(probability=1.0, factor=(1.04, 1.05)),
    silence=Silence(probability=1.0, seconds=(0.1, 0.5)),
    room=Room(probability=1.0),
    noise=Noise(probability=1.0),
    clipping=Clipping(probability=1.0),
    low_pass=LowPass(probability=1.0),
    telephone=Telephone(probability=1.0),
    codec=Codec(probability=1.0, names=("gsm",)),
    gain=Gain(probability=1.0, decibels=(-9, -6)),
)
CLIP = (0.2 * np.random.default_rng(7).standard_normal(SAMPLE_RATE)).astype(np.float32)


def only(kind: str, **changes: object) -> AugmentConfig:
    """Return the recipe of one kind."""
    return AugmentConfig(**{kind: replace(getattr(ALL, kind), **changes)})


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_is_applied_for_certain_never_or_not_where_it_is_ruled_out(kind: str) -> None:
    changed = augment(CLIP, only(kind), (0, 1))
    assert changed.shape != CLIP.shape or not np.array_equal(changed, CLIP)
    assert np.array_equal(augment(CLIP, only(kind, probability=0.0), (0, 1)), CLIP)
    assert np.array_equal(augment(CLIP, only(kind), (0, 1), without={kind}), CLIP)


def test_the_same_draw_gives_the_same_samples_and_another_gives_others() -> None:
    first = augment(CLIP, ALL, (3, 0, 1, 2))
    assert np.array_equal(augment(CLIP.copy(), ALL, (3, 0, 1, 2)), first)
    for other in ((4, 0, 1, 2), (3, 1, 1, 2), (3, 0, 1, 3)):
        changed = augment(CLIP, ALL, other)
        assert changed.shape != first.shape or not np.array_equal(changed, first)


def test_a_clip_is_not_changed_in_place() -> None:
    before = CLIP.copy()
    augment(CLIP, ALL, (0,))
    assert np.array_equal(CLIP, before)


@pytest.mark.parametrize("kind", ["room", "noise", "clipping"])
def test_a_kind_that_is_left_out_changes_no_draw_of_another(kind: str) -> None:
    gain = replace(only(kind), gain=ALL.gain)
    alone, both = only("gain"), augment(CLIP, gain, (5,), without={kind})
    assert np.array_equal(augment(CLIP, alone, (5,)), both)


def test_a_probability_is_the_share_of_the_clips() -> None:
    config = only("gain", probability=0.3)
    changed = sum(
        not np.array_equal(augment(CLIP[:100], config, (0, n)), CLIP[:100]) for n in range(1000)
    )
    assert changed == pytest.approx(300, abs=45)  # 3 standard errors


def test_a_crop_is_a_part_of_the_clip_as_long_as_drawn_or_the_whole_of_a_shorter_one() -> None:
    parts = [augment(CLIP, only("crop"), (0, n)) for n in range(50)]
    starts = [int(np.flatnonzero(part[0] == CLIP)[0]) for part in parts]
    for part, start in zip(parts, starts, strict=True):
        assert 0.5 <= len(part) / SAMPLE_RATE <= 0.6
        assert np.array_equal(CLIP[start : start + len(part)], part)
    assert min(starts) < 0.1 * SAMPLE_RATE < 0.35 * SAMPLE_RATE < max(starts)
    assert np.array_equal(augment(CLIP[:5000], only("crop"), (0,)), CLIP[:5000])


@pytest.mark.parametrize("seconds", [29.9, 30.0, 42.0])
def test_no_clip_grows_beyond_a_window(seconds: float) -> None:
    clip = np.full(round(seconds * SAMPLE_RATE), 0.1, np.float32)
    for factor in (0.9, 1.1):
        config = replace(
            only("speed", factor=(factor, factor)),
            silence=Silence(probability=1.0, seconds=(1, 2)),
        )
        assert len(augment(clip, config, (0,))) <= max(len(clip), WINDOW_SAMPLES)


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"noise": {"probability": 1.5}}, "noise.probability = 1.5 is no probability"),
        ({"noise": {"probability": 1, "decibels": [30, 10]}}, "noise.decibels = .* not a range"),
        ({"room": {"probability": 1, "seconds": [0.5]}}, "room.seconds = .* not a range"),
        ({"speed": {"probability": 1, "factor": [0.5, 1]}}, "speed.factor .* 0.9 and 1.1"),
        ({"noise": {"probability": 1, "colours": []}}, "noise.colours is empty"),
        ({"codec": {"probability": 1, "names": ["aac"]}}, "codec.names"),
        ({"gain": {}}, "probability"),
        ({"reverb": {"probability": 1}}, "reverb"),
        ({"changes": {"Machine": ["noize"]}}, 'unknown kind "noize"'),
    ],
)
def test_a_wrong_recipe_is_refused_in_one_sentence(tree: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        build_config(AugmentConfig, tree, where="train.yaml", path="data.augment")
    assert "\n" not in caught.value.message
    assert caught.value.fix
