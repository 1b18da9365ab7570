"""Corpora of sounds: one file per family, one row per corpus."""

from desta.sources.base import Source
from desta.sources.sound.captioned import CAPTIONED_SOURCES
from desta.sources.sound.debian import DEBIAN_SOURCES
from desta.sources.sound.games import GAME_SOURCES
from desta.sources.sound.labelled import LABELLED_SOURCES
from desta.sources.sound.learning import LEARNING_SOURCES

SOUND_SOURCES: tuple[Source, ...] = (
    *DEBIAN_SOURCES,
    *GAME_SOURCES,
    *LEARNING_SOURCES,
    *LABELLED_SOURCES,
    *CAPTIONED_SOURCES,
)
