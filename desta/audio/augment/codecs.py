"""Lossy codecs: samples are encoded, decoded, and brought back to their length.

MP3 and Opus by FFmpeg, GSM by libsndfile, mu-law by its formula (ITU-T G.711, continuous form).
"""

import io
from collections.abc import Callable, Mapping

import av
import numpy as np
import soundfile

from desta.audio.augment.config import CodecName
from desta.audio.augment.effects import Samples, at_rate, from_rate, within_full_scale
from desta.audio.windows import SAMPLE_RATE
from desta.errors import ConfigError

NARROW_RATE = 8_000  # Hz, of telephone codecs
_MU = 255.0
_STEPS = 127.0  # steps of mu-law on each side of zero
_ENCODERS = {"mp3": ("libmp3lame", "fltp", "9"), "opus": ("libopus", "flt", "0")}
"""Codec -> FFmpeg's encoder, its format of samples, and its fastest level of compression."""
_DECODERS = {"mp3": "mp3float", "opus": "opus"}
"""Codec -> FFmpeg's decoder to floating samples."""


def transcode(samples: Samples, codec: CodecName, kilobits: float) -> Samples:
    """Return the samples as they are after encoding and decoding, (T,)."""
    return within_full_scale(_CODECS[codec](samples, kilobits), samples)


def check_codecs(codecs: tuple[CodecName, ...]) -> None:
    """Raise ConfigError for a codec that this installation's FFmpeg or libsndfile lacks."""
    for codec in codecs:
        try:
            transcode(np.zeros(SAMPLE_RATE // 10, np.float32), codec, 16.0)
        except (av.FFmpegError, ValueError, soundfile.LibsndfileError) as error:
            raise ConfigError(
                f"data.augment.codec.names: {codec} cannot be encoded here ({error})",
                fix="take it out of names, or install the packages av and soundfile from wheels",
            ) from error


def _by_ffmpeg(codec: CodecName) -> Callable[[Samples, float], Samples]:
    def code(samples: Samples, kilobits: float) -> Samples:
        name, form, level = _ENCODERS[codec]
        encoder = av.CodecContext.create(name, "w")
        encoder.sample_rate, encoder.layout, encoder.format = SAMPLE_RATE, "mono", form
        encoder.bit_rate = round(1000 * kilobits)
        encoder.options = {"compression_level": level}
        encoder.open()
        decoder = av.CodecContext.create(_DECODERS[codec], "r")
        decoder.extradata = encoder.extradata
        decoder.layout = "mono"
        size = encoder.frame_size
        packets = []
        for start in range(0, len(samples), size):
            block = np.ascontiguousarray(samples[None, start : start + size])
            frame = av.AudioFrame.from_ndarray(block, format=form, layout="mono")
            frame.sample_rate, frame.pts = SAMPLE_RATE, start
            packets += encoder.encode(frame)
        packets += encoder.encode(None)
        frames = [frame for packet in [*packets, None] for frame in decoder.decode(packet)]
        rate = frames[0].sample_rate
        decoded = np.concatenate([frame.to_ndarray().reshape(-1) for frame in frames])
        return from_rate(decoded.astype(np.float32, copy=False), rate, len(samples))

    return code


def _gsm(samples: Samples, kilobits: float) -> Samples:
    file = io.BytesIO()
    soundfile.write(
        file, at_rate(samples, NARROW_RATE), NARROW_RATE, format="WAV", subtype="GSM610"
    )
    file.seek(0)
    decoded, _ = soundfile.read(file, dtype="float32")
    return from_rate(decoded, NARROW_RATE, len(samples))


def _mu_law(samples: Samples, kilobits: float) -> Samples:
    narrow = at_rate(samples, NARROW_RATE).clip(-1, 1)
    compressed = np.log1p(_MU * np.abs(narrow)) / np.log1p(_MU)
    steps = np.round(compressed * _STEPS) / _STEPS
    expanded = np.copysign(np.expm1(steps * np.log1p(_MU)) / _MU, narrow)
    return from_rate(expanded.astype(np.float32), NARROW_RATE, len(samples))


_CODECS: Mapping[CodecName, Callable[[Samples, float], Samples]] = {
    "mp3": _by_ffmpeg("mp3"),
    "opus": _by_ffmpeg("opus"),
    "gsm": _gsm,
    "mu_law": _mu_law,
}
