"""Codecs: what comes back is the clip, of its length and at its place, with losses."""

import numpy as np
import pytest

from desta.audio import SAMPLE_RATE
from desta.audio.augment import codecs
from desta.audio.augment.codecs import check_codecs, transcode
from desta.audio.augment.effects import Samples
from desta.errors import ConfigError

CODECS = ("mp3", "opus", "gsm", "mu_law")


def bursts(seconds: float = 2.0) -> Samples:
    """Return tones that swell and fade at odd times, so that a shift is seen."""
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    swell = np.sin(2 * np.pi * 1.7 * time) ** 8
    tones = sum(np.sin(2 * np.pi * hertz * time) for hertz in (331, 700, 1123))
    return (0.2 * swell * tones).astype(np.float32)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("seconds", [0.05, 0.7, 2.0])
def test_a_clip_keeps_its_length_and_place(codec: codecs.CodecName, seconds: float) -> None:
    clip = bursts(seconds)
    coded = transcode(clip, codec, 24.0)

    assert len(coded) == len(clip)
    assert coded.dtype == np.float32
    assert not np.array_equal(coded, clip)
    if seconds >= 0.7:
        both = [np.fft.rfft(samples, 2 * len(clip)) for samples in (coded, clip)]
        shift = int(np.argmax(np.fft.irfft(both[0] * np.conj(both[1]))))
        assert min(shift, 2 * len(clip) - shift) <= 2
        assert np.corrcoef(coded, clip)[0, 1] > 0.9


@pytest.mark.parametrize("codec", CODECS)
def test_a_clip_keeps_its_level(codec: codecs.CodecName) -> None:
    for peak in (0.02, 0.5):
        clip = bursts() * np.float32(peak / abs(bursts()).max())
        coded = transcode(clip, codec, 24.0)
        assert np.square(coded).mean() == pytest.approx(np.square(clip).mean(), rel=0.4)
        assert abs(coded).max() == pytest.approx(peak, rel=0.3)


@pytest.mark.parametrize("codec", CODECS)
def test_the_same_clip_is_coded_to_the_same_samples(codec: codecs.CodecName) -> None:
    assert np.array_equal(*(transcode(bursts(), codec, 16.0) for _ in range(2)))


@pytest.mark.parametrize("codec", ["mp3", "opus"])
def test_fewer_bits_lose_more(codec: codecs.CodecName) -> None:
    rng = np.random.default_rng(0)
    clip = (bursts() + 0.05 * rng.standard_normal(2 * SAMPLE_RATE)).astype(np.float32)
    errors = [np.square(transcode(clip, codec, bits) - clip).mean() for bits in (8.0, 64.0)]
    assert errors[0] > 1.2 * errors[1]


@pytest.mark.parametrize("codec", ["gsm", "mu_law"])
def test_telephone_codecs_keep_nothing_above_4_khz(codec: codecs.CodecName) -> None:
    rng = np.random.default_rng(0)
    coded = transcode((0.1 * rng.standard_normal(SAMPLE_RATE)).astype(np.float32), codec, 8.0)
    energy = np.abs(np.fft.rfft(coded)) ** 2
    assert energy[4100:].sum() < 1e-3 * energy.sum()


def test_codecs_that_are_here_pass_the_check() -> None:
    check_codecs(CODECS)


def test_a_codec_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(codecs._ENCODERS, "mp3", ("libnothing", "fltp", "9"))
    with pytest.raises(ConfigError, match="mp3 cannot be encoded here") as caught:
        check_codecs(("mu_law", "mp3"))
    assert "take it out" in caught.value.fix
