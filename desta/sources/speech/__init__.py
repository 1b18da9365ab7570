"""Corpora of speech: one file per family, one row per corpus."""

from desta.sources.base import Source
from desta.sources.speech.accent import ACCENT_SOURCES
from desta.sources.speech.acted import ACTED_SOURCES
from desta.sources.speech.debian import DEBIAN_SOURCES
from desta.sources.speech.degraded import DEGRADED_SOURCES
from desta.sources.speech.dialogue import DIALOGUE_SOURCES
from desta.sources.speech.emotion_acted import EMOTION_ACTED_SOURCES
from desta.sources.speech.emotion_wild import EMOTION_WILD_SOURCES
from desta.sources.speech.languages_spoken import LANGUAGE_SOURCES
from desta.sources.speech.meeting import MEETING_SOURCES
from desta.sources.speech.read import READ_SOURCES
from desta.sources.speech.spoken_commands import SPOKEN_COMMAND_SOURCES
from desta.sources.speech.spoof import SPOOF_SOURCES
from desta.sources.speech.styles import STYLE_SOURCES
from desta.sources.speech.voices import VOICE_SOURCES

SPEECH_SOURCES: tuple[Source, ...] = (
    *DEBIAN_SOURCES,
    *ACTED_SOURCES,
    *ACCENT_SOURCES,
    *READ_SOURCES,
    *EMOTION_ACTED_SOURCES,
    *EMOTION_WILD_SOURCES,
    *DIALOGUE_SOURCES,
    *MEETING_SOURCES,
    *STYLE_SOURCES,
    *VOICE_SOURCES,
    *SPOKEN_COMMAND_SOURCES,
    *LANGUAGE_SOURCES,
    *SPOOF_SOURCES,
    *DEGRADED_SOURCES,
)
