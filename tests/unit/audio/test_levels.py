"""Channels are mixed as FFmpeg mixes them, and samples have full scale 1."""

from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from desta.audio import SAMPLE_RATE, AudioError, load_audio, read_audio
from desta.audio.mixing import weights
from desta.vad import speech_seconds

LAYOUTS = "mono stereo 2.1 3.0 4.0 quad 5.0 5.0(side) 5.1 5.1(side) 6.1 7.0 7.1 7.1(wide) 5.1.2"


def tone(seconds: float = 2.0, pitch: float = 440.0) -> NDArray[np.float64]:
    return 0.5 * np.sin(2 * np.pi * pitch * np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE)


@pytest.mark.parametrize("layout", LAYOUTS.split())
def test_weights_are_those_of_ffmpeg(layout: str) -> None:
    names = [channel.name for channel in av.AudioLayout(layout).channels]
    samples = np.repeat(np.eye(len(names), dtype=np.int16) * 20_000, 10, axis=0)
    frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout=layout)
    frame.sample_rate = SAMPLE_RATE
    to_mono = av.AudioResampler(format="s16", layout="mono")

    mixed = np.concatenate([f.to_ndarray()[0] for f in (*to_mono.resample(frame),)])

    np.testing.assert_allclose(mixed[5::10] / 20_000, weights(len(names), names), atol=1e-3)


@pytest.mark.parametrize("count", range(2, 9))
def test_arrays_and_files_of_many_channels_are_mixed_alike(tmp_path: Path, count: int) -> None:
    channels = np.stack([tone(pitch=300 + 100 * c) for c in range(count)], axis=1)
    soundfile.write(tmp_path / "a.wav", channels, SAMPLE_RATE, subtype="FLOAT")

    expected = channels @ weights(count)

    np.testing.assert_allclose(load_audio((channels, SAMPLE_RATE)), expected, atol=1e-6)
    np.testing.assert_allclose(load_audio(tmp_path / "a.wav"), expected, atol=1e-6)


def test_speech_in_the_centre_of_six_channels_stays_audible() -> None:
    channels = np.zeros((2 * SAMPLE_RATE, 6))
    channels[:, 2] = tone()

    assert np.abs(load_audio((channels, SAMPLE_RATE))).max() == pytest.approx(
        0.5 / 3.414, abs=0.001
    )


@pytest.mark.parametrize("factor", [-1.0, -0.9])
def test_where_channels_cancel_one_is_heard_and_it_is_said(factor: float) -> None:
    left = tone()

    sound = read_audio((np.stack([left, factor * left], axis=1), SAMPLE_RATE))

    np.testing.assert_allclose(sound.samples, left, atol=1e-6)
    (note,) = sound.notes
    assert note.reason == "has channels that cancel each other"
    assert "in 2.0 of 2.0 s" in note.message


def test_channels_that_cancel_in_a_part_are_mixed_in_the_others() -> None:
    left = np.concatenate([tone(), tone(pitch=600)])
    right = np.concatenate([tone(), -tone(pitch=600)])

    sound = read_audio((np.stack([left, right], axis=1), SAMPLE_RATE))

    np.testing.assert_allclose(sound.samples, left, atol=1e-6)
    assert "in 2.0 of 4.0 s" in sound.notes[0].message


def test_channels_that_cancel_for_less_than_a_second_are_heard() -> None:
    left = tone(3)
    right = left.copy()
    right[SAMPLE_RATE // 2 : 3 * SAMPLE_RATE // 2] *= -1

    sound = read_audio((np.stack([left, right], axis=1), SAMPLE_RATE))

    np.testing.assert_allclose(sound.samples, left, atol=1e-6)
    assert "in 1.0 of 3.0 s" in sound.notes[0].message


def test_a_channel_that_the_mix_leaves_out_is_heard_where_it_is_alone() -> None:
    channels = np.zeros((2 * SAMPLE_RATE, 3))
    channels[:, 2] = tone()  # FFmpeg takes it for low-frequency effects

    np.testing.assert_allclose(load_audio((channels, SAMPLE_RATE)), tone(), atol=1e-6)


@pytest.mark.parametrize("peak", [0.001, 1.0, 1.5, 4.0, 10.0])
def test_floating_samples_up_to_some_beyond_full_scale_stay_as_they_are(peak: float) -> None:
    samples = 2 * peak * tone()

    sound = read_audio((samples, SAMPLE_RATE))

    np.testing.assert_allclose(sound.samples, samples, rtol=1e-6)
    assert not sound.notes


@pytest.mark.parametrize(
    ("bits", "dtype"), [(16, "f4"), (16, "f8"), (24, "f8"), (32, "f8"), (32, "f4")]
)
def test_floating_samples_that_count_steps_are_scaled_and_it_is_said(bits: int, dtype: str) -> None:
    steps = np.rint(tone() * 2.0 ** (bits - 1)).astype(dtype)

    sound = read_audio((steps, SAMPLE_RATE))

    np.testing.assert_allclose(sound.samples, tone(), atol=1e-4)
    assert [note.reason for note in sound.notes] == [
        f"has samples in the scale of {bits}-bit integers"
    ]


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.int64])
@pytest.mark.parametrize("peak", [38_927, 65_536, 131_000])
def test_sums_of_16_bit_channels_are_of_16_bits(dtype: type, peak: int) -> None:
    steps = np.rint(2 * peak * tone()).astype(dtype)

    assert np.abs(load_audio((steps, SAMPLE_RATE))).max() == pytest.approx(peak / 2**15, rel=1e-3)


def test_unsigned_bytes_are_refused_in_one_sentence() -> None:
    steps = np.rint(128 + 200 * tone()).astype(np.float32)

    with pytest.raises(AudioError) as caught:
        load_audio((steps, SAMPLE_RATE))

    assert caught.value.reason == "has samples in the scale of unsigned 8-bit integers"


def test_quiet_and_resampled_steps_are_recognised_as_well() -> None:
    quiet = np.rint(tone() * 200).astype(np.float32)
    uneven = (tone() * 2**15).astype(np.float32)

    assert np.abs(load_audio((quiet, SAMPLE_RATE))).max() == pytest.approx(100 / 2**15, rel=0.01)
    np.testing.assert_allclose(load_audio((uneven, SAMPLE_RATE)), tone(), atol=1e-6)


def test_a_file_of_floating_steps_is_scaled(tmp_path: Path) -> None:
    steps = np.rint(np.stack([tone(), tone(pitch=700)], axis=1) * 2**15)
    for subtype in ("FLOAT", "DOUBLE"):
        soundfile.write(tmp_path / "a.wav", steps, SAMPLE_RATE, subtype=subtype)
        assert np.abs(load_audio(tmp_path / "a.wav")).max() == pytest.approx(0.49, abs=0.02)


@pytest.mark.parametrize("factor", [60.0, 1e6, 1e30, 1e300])
def test_levels_of_no_known_scale_are_refused_in_one_sentence(factor: float) -> None:
    with pytest.raises(AudioError) as caught:
        load_audio((tone() * factor + 0.123, SAMPLE_RATE))

    assert caught.value.reason == "has samples far beyond full scale"
    assert f"they reach {0.5 * factor:.1g}"[:12] in caught.value.fix


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.int64])
def test_whole_numbers_of_too_wide_a_type_are_16_bits(dtype: type) -> None:
    steps = np.rint(tone() * 2**15).astype(dtype)

    np.testing.assert_allclose(load_audio((steps, SAMPLE_RATE)), tone(), atol=1e-4)


@pytest.mark.parametrize("level", [-30, -50, -70])
def test_noise_is_no_speech_however_quiet_it_is(level: float) -> None:
    noise = np.random.default_rng(0).standard_normal(5 * SAMPLE_RATE) * 10 ** (level / 20)

    assert not speech_seconds(noise.astype(np.float32))


@pytest.mark.parametrize("level", [-30, -50, -70])
def test_noise_beside_something_loud_is_no_speech(level: float) -> None:
    noise = np.random.default_rng(0).standard_normal(6 * SAMPLE_RATE) * 10 ** (level / 20)
    click, beep, offset = noise.copy(), noise.copy(), noise + 0.2
    click[1000] = 0.9
    beep[:SAMPLE_RATE] += tone(1)
    hum = noise + 0.1 * np.sin(2 * np.pi * 50 * np.arange(len(noise)) / SAMPLE_RATE)

    for samples in (click, beep, offset, hum):
        assert not speech_seconds(samples.astype(np.float32))
