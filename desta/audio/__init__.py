"""Audio files of any format -> mono float32 at 16 kHz, and the windows of a long clip."""

from desta.audio.errors import AudioError, AudioNote
from desta.audio.files import SUFFIXES, AudioInput, audio_name, check_input, open_file
from desta.audio.levels import SILENT_BELOW, is_silent
from desta.audio.reading import (
    MAX_SECONDS,
    Sound,
    load_audio,
    measure_audio,
    measure_duration,
    probe_duration,
    read_audio,
    stated_duration,
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
    "AudioNote",
    "Sound",
    "check_input",
    "is_silent",
    "load_audio",
    "measure_audio",
    "measure_duration",
    "audio_name",
    "open_file",
    "probe_duration",
    "read_audio",
    "stated_duration",
    "split_windows",
]
