"""Forms of audio input, and opening of audio files."""

import io
import os
import stat
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from desta.audio.errors import AudioError, no_bytes

SUFFIXES = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".mp4", ".webm", ".aac", ".aiff")
"""Usual endings of audio files; a file is read whatever its name."""

AudioInput = str | Path | bytes | tuple[NDArray[Any], int]
"""A path, the bytes of a file, or samples (T,) or (T, channels) with their rate in Hz."""


def check_input(source: object) -> None:
    """Refuse an object that is not an audio input.

    Raises:
        AudioError: it is neither a path, nor bytes, nor a NumPy array with its rate.
    """
    if isinstance(source, str | Path | bytes):
        return
    if isinstance(source, tuple) and len(source) == 2:
        samples, rate = source
        if isinstance(samples, np.ndarray | np.generic) and isinstance(rate, Real):
            return
    raise AudioError(
        "a clip",
        "is not a recording",
        fix="give a path, the bytes of a file, or (samples, rate) with samples as a NumPy array",
    )


def audio_name(source: AudioInput) -> str:
    """Return the name of a recording in messages: its path, if it has one."""
    if isinstance(source, tuple):
        return "the array"
    return "the audio data" if isinstance(source, bytes) else str(source)


def open_source(source: str | Path | bytes) -> io.BufferedIOBase:
    """Open a recording given as a path or as bytes.

    Raises:
        AudioError: as `open_file`.
    """
    if not isinstance(source, bytes):
        return open_file(source)
    if not source:
        raise no_bytes(audio_name(source))
    return io.BytesIO(source)


def open_file(path: str | Path) -> io.BufferedReader:
    """Open the file of a recording.

    Raises:
        AudioError: it is missing, empty, not a regular file, or not readable.
    """
    path = Path(path)
    try:
        status = path.stat()
        mode = status.st_mode
        if stat.S_ISDIR(mode):
            raise AudioError(str(path), "is a folder, not a recording", fix="name a file in it")
        if not stat.S_ISREG(mode):  # opening a pipe would block
            raise AudioError(str(path), "is a pipe or a device", fix="name a file")
        if not status.st_size:
            raise no_bytes(str(path))
        return path.open("rb")
    except FileNotFoundError:
        raise AudioError(str(path), "does not exist", fix="check the path") from None
    except OSError as error:
        raise AudioError(
            str(path), f"cannot be opened ({error.strerror})", fix="check its path and permissions"
        ) from error
    except ValueError as error:  # a zero byte, or a lone surrogate
        raise AudioError(
            repr(str(path)), "is not a possible file name", fix="correct the path"
        ) from error


def cut_out(file: io.BufferedIOBase, start: int, end: int | None = None) -> io.BytesIO:
    """Copy the bytes from `start` to `end` (default: the end of the file) to a new file."""
    file.seek(start)
    return io.BytesIO(file.read(-1 if end is None else end - start))


class Steady:
    """A file without a name, whose impossible seeks, caused by damaged headers, do nothing.

    Audio libraries write errors of a seek to the terminal, and take a name that ends in .raw for
    headerless samples.
    """

    def __init__(self, file: io.BufferedIOBase) -> None:
        self._seek = file.seek
        self.tell = file.tell
        self.read = file.read
        self.readinto = file.readinto

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move if possible; return the position."""
        try:
            return self._seek(offset, whence)
        except (OSError, ValueError, OverflowError):
            return self.tell()
