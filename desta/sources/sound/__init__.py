"""Corpora of sounds: one file per family, one row per corpus."""

from desta.sources.base import Source
from desta.sources.sound.captioned import CAPTIONED_SOURCES
from desta.sources.sound.debian import DEBIAN_SOURCES
from desta.sources.sound.labelled import LABELLED_SOURCES

SOUND_SOURCES: tuple[Source, ...] = (*DEBIAN_SOURCES, *LABELLED_SOURCES, *CAPTIONED_SOURCES)
