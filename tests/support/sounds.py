"""Recordings in memory: tones in files of any format."""

import io

import av
import numpy as np
import soundfile
from numpy.typing import NDArray

from desta.audio import SAMPLE_RATE

RATE = 44_100


def tone(seconds: float, rate: int = RATE, *, pitch: float = 440.0) -> NDArray[np.float32]:
    times = np.arange(round(seconds * rate)) / rate
    return (0.5 * np.sin(2 * np.pi * pitch * times)).astype(np.float32)


def pitch_of(samples: NDArray[np.float32]) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum) * SAMPLE_RATE / len(samples))


def packed(samples: NDArray[np.float32], rate: int = RATE, **how: str) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, **how)
    return file.getvalue()


def muxed(
    container_format: str, codec: str, *tracks: tuple[NDArray[np.float32], int], default: int = 0
) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format=container_format) as container:
        streams = [container.add_stream(codec, rate=rate, layout="mono") for _, rate in tracks]
        for number, stream in enumerate(streams):
            if len(streams) > 1:
                default_track = av.stream.Disposition.default
                stream.disposition = default_track if number == default else 0
        for stream, (samples, rate) in zip(streams, tracks, strict=True):
            frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
            frame.sample_rate = rate
            to_codec = av.AudioResampler(
                format=stream.format, layout="mono", rate=rate, frame_size=stream.frame_size
            )
            for part in (*to_codec.resample(frame), *to_codec.resample(None)):
                container.mux(stream.encode(part))
            container.mux(stream.encode(None))
    return file.getvalue()
