"""Effects: each does what its numbers state, and none leaves full scale."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from desta.audio import SAMPLE_RATE
from desta.audio.augment import effects
from desta.audio.augment.effects import Samples


def tone(hertz: float, seconds: float = 1.0, peak: float = 0.5) -> Samples:
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    return (peak * np.sin(2 * np.pi * hertz * time)).astype(np.float32)


def noise(seconds: float = 1.0, seed: int = 0) -> Samples:
    drawn = np.random.default_rng(seed).standard_normal(round(seconds * SAMPLE_RATE))
    return (0.1 * drawn).astype(np.float32)


def power(samples: Samples) -> float:
    return float(np.square(samples, dtype=np.float64).mean())


def decibels(ratio: float) -> float:
    return float(10 * np.log10(ratio))


def share_between(samples: Samples, lowest: float, highest: float) -> float:
    energy = np.abs(np.fft.rfft(samples.astype(np.float64))) ** 2
    hertz = np.fft.rfftfreq(len(samples), 1 / SAMPLE_RATE)
    return float(energy[(hertz >= lowest) & (hertz <= highest)].sum() / energy.sum())


@given(st.floats(-5, 40), st.sampled_from(["white", "pink", "brown"]), st.integers(0, 9))
def test_noise_is_added_at_the_stated_ratio(ratio: float, colour: str, seed: int) -> None:
    clip = tone(440, peak=0.05)
    added = effects.coloured_noise(len(clip), colour, np.random.default_rng(seed))
    noisy = effects.add_noise(clip, added, ratio)

    scale = float(noisy @ clip / (clip @ clip)) if abs(noisy).max() >= 1 else 1.0  # scaled down
    assert decibels(power(scale * clip) / power(noisy - scale * clip)) == pytest.approx(
        ratio, abs=0.1
    )


def test_silence_around_a_clip_does_not_count_for_the_ratio() -> None:
    clip = tone(440)
    padded = effects.add_silence(clip, 2 * SAMPLE_RATE, SAMPLE_RATE)
    added = effects.coloured_noise(len(padded), "white", np.random.default_rng(0))
    noisy = effects.add_noise(padded, added, 20.0)

    inside = slice(2 * SAMPLE_RATE, 3 * SAMPLE_RATE)
    assert decibels(power(clip) / power(noisy[inside] - clip)) == pytest.approx(20, abs=0.1)


@pytest.mark.parametrize(("colour", "slope"), [("white", 0), ("pink", -3), ("brown", -6)])
def test_noise_falls_by_its_decibels_an_octave(colour: str, slope: float) -> None:
    drawn = effects.coloured_noise(20 * SAMPLE_RATE, colour, np.random.default_rng(0))
    octaves = [share_between(drawn, low, 2 * low) / low for low in (250, 500, 1000, 2000)]
    steps = [decibels(b / a) for a, b in zip(octaves, octaves[1:], strict=False)]
    assert steps == pytest.approx([slope] * 3, abs=0.5)


@given(st.floats(500, 8000))
def test_nothing_is_left_above_the_cut_and_all_is_kept_below(highest: float) -> None:
    clip = noise()
    passed = effects.pass_band(clip, 0.0, highest)
    assert share_between(passed, highest + 50, SAMPLE_RATE / 2) < 1e-4
    kept = effects.pass_band(tone(0.8 * highest), 0.0, highest)
    assert power(kept) == pytest.approx(power(tone(0.8 * highest)), rel=0.02)


def test_a_telephone_line_keeps_the_middle_alone() -> None:
    passed = effects.pass_band(noise(), 300.0, 3400.0)
    assert share_between(passed, 300, 3400) > 0.999


@pytest.mark.parametrize("seconds", [0.1, 0.3, 0.8])
def test_reverberation_decays_by_60_decibels_in_the_stated_time(seconds: float) -> None:
    response = effects.impulse_response(seconds, 0.0, np.random.default_rng(0))
    tail = np.square(response[1:], dtype=np.float64)
    left = 10 * np.log10(np.cumsum(tail[::-1])[::-1] / tail.sum())  # Schroeder 1965
    start, end = (int(np.argmax(left < level)) for level in (-5, -25))
    assert 3 * (end - start) / SAMPLE_RATE == pytest.approx(seconds, rel=0.1)


@pytest.mark.parametrize("direct", [-6.0, 0.0, 12.0])
def test_the_direct_sound_has_the_stated_share(direct: float) -> None:
    response = effects.impulse_response(0.4, direct, np.random.default_rng(0))
    tail = float(np.square(response[1:], dtype=np.float64).sum())
    assert decibels(1 / tail) == pytest.approx(direct, abs=0.01)


def test_reverberation_keeps_length_and_power() -> None:
    clip = noise()
    wet = effects.reverberate(clip, effects.impulse_response(0.5, 0.0, np.random.default_rng(1)))
    assert len(wet) == len(clip)
    assert power(wet) == pytest.approx(power(clip), rel=1e-3)
    assert abs(np.corrcoef(wet, clip)[0, 1]) < 0.95


@given(st.floats(0, 30))
def test_peaks_are_limited_to_the_stated_level(below: float) -> None:
    clip = noise()
    limited = effects.clip_peaks(clip, below)
    limit = abs(clip).max() * 10 ** (-below / 20)
    assert abs(limited).max() == pytest.approx(limit, rel=1e-5)
    inside = abs(clip) < 0.999 * limit
    assert (limited[inside] == clip[inside]).all()


@pytest.mark.parametrize("change", [-20.0, -6.0, 0.0, 3.0])
def test_the_gain_is_the_stated_one_below_full_scale(change: float) -> None:
    assert decibels(
        power(effects.change_gain(tone(440), change)) / power(tone(440))
    ) == pytest.approx(change, abs=0.01)


@pytest.mark.parametrize("factor", [0.9, 0.97, 1.05])
def test_speed_changes_length_and_pitch_together(factor: float) -> None:
    faster = effects.change_speed(tone(1000), factor)
    assert len(faster) == pytest.approx(SAMPLE_RATE / factor, abs=2)
    loudest = np.argmax(np.abs(np.fft.rfft(faster))) * SAMPLE_RATE / len(faster)
    assert loudest == pytest.approx(1000 * factor, abs=3)


EVERYTHING = {
    "gain": lambda clip: effects.change_gain(clip, 30.0),
    "band": lambda clip: effects.pass_band(clip, 300.0, 3400.0),
    "room": lambda clip: effects.reverberate(
        clip, effects.impulse_response(0.5, -10.0, np.random.default_rng(0))
    ),
    "noise": lambda clip: effects.add_noise(clip, noise(len(clip) / SAMPLE_RATE, 5), -10.0),
    "clipping": lambda clip: effects.clip_peaks(clip, 3.0),
}


@pytest.mark.parametrize("name", EVERYTHING)
@pytest.mark.parametrize("peak", [0.9, 1.0, 3.0])
def test_no_effect_exceeds_full_scale_or_the_clips_own_peak(name: str, peak: float) -> None:
    clip = tone(440, peak=peak)
    changed = EVERYTHING[name](clip)
    assert abs(changed).max() <= max(1.0, abs(clip).max()) * (1 + 1e-6)
    assert changed.dtype == np.float32
    assert len(changed) == len(clip)


@pytest.mark.parametrize("name", EVERYTHING)
@pytest.mark.parametrize("count", [1, 2, 7])
def test_effects_take_silence_and_the_shortest_clips(name: str, count: int) -> None:
    for clip in (np.zeros(count, np.float32), np.full(count, 0.5, np.float32)):
        assert np.isfinite(EVERYTHING[name](clip)).all()
