"""Corpora of sounds: a file a family, a row a corpus."""

from desta.sources.base import Source
from desta.sources.sound.debian import DEBIAN_SOURCES

SOUND_SOURCES: tuple[Source, ...] = (*DEBIAN_SOURCES,)
