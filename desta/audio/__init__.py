"""Recordings of any kind -> mono float32 at 16 kHz, and the windows a long clip is heard in."""

from desta.audio.errors import AudioError, Note
from desta.audio.files import SUFFIXES, AudioInput, check_input, name_of, open_file
from desta.audio.levels import SILENT_BELOW, is_silent
from desta.audio.reading import (
    MAX_SECONDS,
    Sound,
    load,
    measure,
    measure_duration,
    probe_duration,
    read,
    seconds_stated,
)
from desta.audio.windows import (
    FRAME_SAMPLES,
    SAMPLE_RATE,
    SEARCH_SECONDS,
    WINDOW_SAMPLES,
    WINDOW_SECONDS,
    split_windows,
)

__all__ = [
    "FRAME_SAMPLES",
    "MAX_SECONDS",
    "SAMPLE_RATE",
    "SEARCH_SECONDS",
    "SILENT_BELOW",
    "SUFFIXES",
    "WINDOW_SAMPLES",
    "WINDOW_SECONDS",
    "AudioError",
    "AudioInput",
    "Note",
    "Sound",
    "check_input",
    "is_silent",
    "load",
    "measure",
    "measure_duration",
    "name_of",
    "open_file",
    "probe_duration",
    "read",
    "seconds_stated",
    "split_windows",
]
