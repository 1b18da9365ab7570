"""Recording with the microphone of this machine."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from desta.audio.windows import SAMPLE_RATE
from desta.errors import ConfigError, need


def record(wait: Callable[[], object]) -> NDArray[np.float32]:
    """Record until `wait` returns.

    Returns:
        Samples, (T,), at `SAMPLE_RATE`.

    Raises:
        MissingExtraError: the extra `record` is not installed.
        ConfigError: there is no microphone here, or nothing came from it.
    """
    try:
        sounddevice = need("sounddevice", extra="record", to="record")
    except OSError:  # its wheels for Linux do not hold the library
        raise ConfigError(
            "the library PortAudio is needed to record", fix="apt-get install libportaudio2"
        ) from None
    blocks: list[NDArray[np.float32]] = []

    def keep(block: NDArray[np.float32], *_: Any) -> None:
        blocks.append(block[:, 0].copy())

    try:
        with sounddevice.InputStream(SAMPLE_RATE, channels=1, dtype="float32", callback=keep):
            wait()
    except sounddevice.PortAudioError:
        raise ConfigError(
            "there is no microphone here", fix="connect one, or /add a recording"
        ) from None
    if not blocks:
        raise ConfigError("nothing came from the microphone", fix="record for longer")
    return np.concatenate(blocks)
