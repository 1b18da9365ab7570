"""Recordings of any kind -> mono float32 at 16 kHz, and the windows a long clip is heard in.

libsndfile reads first (wav, flac, ogg, mp3, aiff, ...); what it does not know goes to PyAV
(m4a, mp4, webm, ...), which is held to container formats that cannot point at other files.
"""

import io
import stat
from numbers import Real
from pathlib import Path
from typing import Any

import av
import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from desta.errors import DataError

SAMPLE_RATE = 16_000  # Hz, everywhere inside
WINDOW_SECONDS = 30.0  # the longest stretch the encoder hears at once
WINDOW_SAMPLES = 480_000  # samples in a 30-second window

SEARCH_SECONDS = 5.0  # a window is cut at the quietest point of its last 5 seconds
FRAME_SAMPLES = 320  # 20 ms: the stretch whose energy is compared
MAX_SECONDS = 3600.0  # the longest recording a model is asked about, unless told otherwise
BLOCK_SECONDS = 30  # decoded at once, so that a long stereo file is never whole in memory

SILENT_BELOW = 1e-4  # -80 dBFS: a recording without any sample above it holds nothing to hear

RATES = range(1_000, 1_000_001)  # Hz; a header that states another rate is damaged

SUFFIXES = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".mp4", ".webm", ".aac", ".aiff")
"""How names of recordings end; a file is read whatever its name."""

AudioInput = str | Path | bytes | tuple[NDArray[Any], int]
"""A path, the bytes of a file, or samples (T,) or (T, channels) with their rate in Hz."""

# Playlists, concatenations and the like are left out: they make the decoder open other files.
_PYAV_FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,aac,amr,asf,avi,flv,mpeg,mpegts,ac3,wv,ape"
_OTHER_FORMAT = "convert it to wav, flac, ogg, mp3 or m4a"


class AudioError(DataError):
    """A recording cannot be used; `reason` is the same for every recording it befalls."""

    def __init__(self, name: str, reason: str, *, fix: str) -> None:
        super().__init__(f"{name} {reason}", fix=fix, reason=reason)


def check_input(source: object) -> None:
    """Refuse what is no recording in any form.

    Raises:
        AudioError: it is neither a path, nor bytes, nor an array of NumPy with its rate.
    """
    if isinstance(source, str | Path | bytes):
        return
    if isinstance(source, tuple) and len(source) == 2:
        samples, rate = source
        if isinstance(samples, np.ndarray | np.generic) and isinstance(rate, Real):
            return
    raise AudioError(
        "a clip",
        "is no recording",
        fix="give a path, the bytes of a file, or (samples, rate) with samples as a NumPy array",
    )


def load(source: AudioInput, *, max_seconds: float | None = None) -> NDArray[np.float32]:
    """Read a recording.

    Args:
        source: path, bytes of a file, or (samples, rate); whole-number samples are scaled by
            the range of their type. Channels are averaged.
        max_seconds: reading stops with an error beyond this; None reads all of it.

    Returns:
        Samples, (T,), mono at `SAMPLE_RATE`, nominally in [-1, 1]; at least one.

    Raises:
        AudioError: missing, a folder, empty, in no known format, cut off, too long, or not
            finite.
    """
    samples, rate = _decode(source, max_seconds)
    if rate == SAMPLE_RATE:
        return samples
    resampled = soxr.resample(samples, rate, SAMPLE_RATE).astype(np.float32, copy=False)
    if not len(resampled):  # a handful of samples at a high rate
        raise _empty(name_of(source))
    return resampled


def measure_duration(source: AudioInput) -> float:
    """Return the length in seconds by decoding all of it, which proves that it can be.

    Raises:
        AudioError: as `load`.
    """
    samples, rate = _decode(source)
    return len(samples) / rate


def probe_duration(path: str | Path) -> float:
    """Return the length in seconds as the header states it; decode only where it does not.

    Raises:
        AudioError: missing, a folder, empty, or in no known format.
    """
    file = open_file(path)
    try:
        with soundfile.SoundFile(file) as sound:
            seconds = sound.frames / sound.samplerate
    except (soundfile.LibsndfileError, TypeError):  # TypeError: a name that ends in .raw
        file.seek(0)
        try:
            with av.open(file, "r", options={"format_whitelist": _PYAV_FORMATS}) as container:
                seconds = (container.duration or 0) / av.time_base
        except av.FFmpegError as error:
            raise _unknown(str(path)) from error
    finally:
        file.close()
    return seconds if seconds > 0 else measure_duration(path)


def seconds_stated(source: AudioInput) -> float:
    """Return the length in seconds as far as it can be told without decoding; else 0.

    Raises:
        AudioError: as `probe_duration`.
    """
    check_input(source)
    if isinstance(source, bytes):
        return 0.0
    if isinstance(source, tuple):
        samples, rate = source
        return len(samples) / max(rate, 1)
    return probe_duration(source)


def is_silent(samples: NDArray[np.float32]) -> bool:
    """Tell whether a recording, (samples,), holds nothing to hear.

    >>> is_silent(np.zeros(3, dtype=np.float32)), is_silent(np.float32([0, -0.5]))
    (True, False)
    """
    return bool(max(samples.max(), -samples.min()) < SILENT_BELOW)


def split_windows(
    audio: NDArray[np.float32], *, max_seconds: float = WINDOW_SECONDS
) -> list[tuple[int, int]]:
    """Cut a clip where it is quiet, so that every window fits the encoder.

    Args:
        audio: samples, (T,), at `SAMPLE_RATE`.
        max_seconds: longest window.

    Returns:
        Sample ranges [start, end) that follow each other and cover the clip; a clip that fits
        is one window. No window is a mere sliver: what is left for the last one is kept above
        a second (or a quarter of `max_seconds`).
    """
    longest = round(max_seconds * SAMPLE_RATE)
    search = min(round(SEARCH_SECONDS * SAMPLE_RATE), longest // 2)
    rest = min(SAMPLE_RATE, longest // 4)
    windows = []
    start = 0
    while len(audio) - start > longest:
        latest = min(start + longest, len(audio) - rest)
        cut = _quietest(audio, start + longest - search, latest)
        windows.append((start, cut))
        start = cut
    windows.append((start, len(audio)))
    return windows


def _quietest(audio: NDArray[np.float32], earliest: int, latest: int) -> int:
    """Return the middle of the quietest 20 ms in a range; of several, the last."""
    num_frames = (latest - earliest) // FRAME_SAMPLES
    if not num_frames:
        return latest
    frames = audio[latest - num_frames * FRAME_SAMPLES : latest].reshape(num_frames, FRAME_SAMPLES)
    energy = np.square(frames, dtype=np.float64).sum(axis=1)
    from_end = int(np.argmin(energy[::-1]))
    return latest - from_end * FRAME_SAMPLES - FRAME_SAMPLES // 2


def _decode(
    source: AudioInput, max_seconds: float | None = None
) -> tuple[NDArray[np.float32], int]:
    """Return mono samples, (T,), at the rate of the recording in Hz."""
    check_input(source)
    name = name_of(source)
    if isinstance(source, tuple):
        samples, rate = _from_array(*source)
    else:
        file = io.BytesIO(source) if isinstance(source, bytes) else open_file(source)
        with file:
            if not source:
                raise _no_bytes(name)
            try:
                samples, rate = _read_soundfile(file, name, max_seconds)
            except (soundfile.LibsndfileError, TypeError):  # TypeError: a name that ends in .raw
                file.seek(0)
                samples, rate = _read_pyav(file, name, max_seconds)
    if rate not in RATES:
        raise AudioError(
            name,
            "has an impossible sample rate",
            fix=f"{rate} Hz is outside {RATES.start} to {RATES.stop - 1}; export it again",
        )
    if max_seconds is not None and len(samples) > max_seconds * rate:
        raise _too_long(name, max_seconds)
    if not len(samples):
        raise _empty(name)
    if not np.isfinite(samples).all():
        raise AudioError(name, "holds NaN or infinite samples", fix="export it again as 16-bit PCM")
    return samples, rate


def _from_array(samples: NDArray[Any], rate: int) -> tuple[NDArray[np.float32], int]:
    channels = samples.shape[1] if samples.ndim == 2 else 1
    if samples.ndim not in (1, 2) or samples.dtype.kind not in "if" or channels > len(samples) > 0:
        raise AudioError(
            "the array",
            "is not audio",
            fix="give signed samples as (T,) or (T, channels)",
        )
    scale = float(np.iinfo(samples.dtype).max) + 1 if samples.dtype.kind == "i" else 1.0
    mono = samples if samples.ndim == 1 else samples.mean(axis=1, dtype=np.float64)
    return (mono / scale).astype(np.float32), rate


def _read_soundfile(
    file: io.IOBase, name: str, max_seconds: float | None
) -> tuple[NDArray[np.float32], int]:
    with soundfile.SoundFile(file) as sound:
        if max_seconds is not None and sound.frames > max_seconds * sound.samplerate:
            raise _too_long(name, max_seconds)  # before any of it is decoded
        blocks = []
        size = sound.samplerate * BLOCK_SECONDS
        try:
            while len(block := sound.read(size, dtype="float32", always_2d=True)):
                blocks.append(block.mean(axis=1))
        except soundfile.LibsndfileError as error:
            raise _cut_off(name) from error
        samples = np.concatenate(blocks) if blocks else np.zeros(0, np.float32)
        # mp3 headers only estimate the length
        if sound.format != "MP3" and len(samples) < sound.frames:
            raise _cut_off(name)
        return samples, sound.samplerate


def _read_pyav(
    file: io.IOBase, name: str, max_seconds: float | None
) -> tuple[NDArray[np.float32], int]:
    try:
        with av.open(file, "r", options={"format_whitelist": _PYAV_FORMATS}) as container:
            if not container.streams.audio:
                raise AudioError(name, "holds no sound track", fix="give a file with sound")
            stream = container.streams.audio[0]
            to_float = av.AudioResampler(format="fltp")
            blocks, size = [], 0
            for frame in container.decode(stream):
                for part in to_float.resample(frame):
                    blocks.append(part.to_ndarray().mean(axis=0))
                    size += len(blocks[-1])
                if max_seconds is not None and size > max_seconds * stream.rate:
                    raise _too_long(name, max_seconds)
            samples = np.concatenate(blocks) if blocks else np.zeros(0, np.float32)
            return samples.astype(np.float32, copy=False), stream.rate
    except av.FFmpegError as error:
        raise _unknown(name) from error


def open_file(path: str | Path) -> io.BufferedReader:
    """Open a recording.

    Raises:
        AudioError: it is missing, empty, no regular file, or must not be read.
    """
    path = Path(path)
    try:
        status = path.stat()
        mode = status.st_mode
        if stat.S_ISDIR(mode):
            raise AudioError(str(path), "is a folder, not a recording", fix="name a file in it")
        if not stat.S_ISREG(mode):  # a pipe would be waited for
            raise AudioError(str(path), "is a pipe or a device", fix="name a file")
        if not status.st_size:
            raise _no_bytes(str(path))
        return path.open("rb")
    except FileNotFoundError:
        raise AudioError(str(path), "does not exist", fix="check the path") from None
    except OSError as error:
        raise AudioError(
            str(path), f"cannot be opened ({error.strerror})", fix="check its path and permissions"
        ) from error
    except ValueError as error:  # a zero byte, or half a character
        raise AudioError(
            repr(str(path)), "is a name that no file can have", fix="mend the path"
        ) from error


def name_of(source: AudioInput) -> str:
    """Return what a message calls a recording: its path, if it has one."""
    if isinstance(source, tuple):
        return "the array"
    return "the audio data" if isinstance(source, bytes) else str(source)


def _no_bytes(name: str) -> AudioError:
    return AudioError(name, "is an empty file", fix="record or download it again")


def _empty(name: str) -> AudioError:
    return AudioError(name, "holds no samples", fix="record or download it again")


def _cut_off(name: str) -> AudioError:
    return AudioError(
        name, "ends before the length its header states", fix="copy or download it again"
    )


def _too_long(name: str, max_seconds: float) -> AudioError:
    return AudioError(
        name,
        f"lasts longer than the {max_seconds:g} s that are taken",
        fix="cut it into parts, or raise max_seconds",
    )


def _unknown(name: str) -> AudioError:
    return AudioError(name, "is not a recording in a format that can be read", fix=_OTHER_FORMAT)
