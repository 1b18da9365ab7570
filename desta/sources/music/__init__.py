"""Corpora of music: a file a family, a row a corpus."""

from desta.sources.base import Source
from desta.sources.music.debian import DEBIAN_SOURCES

MUSIC_SOURCES: tuple[Source, ...] = (*DEBIAN_SOURCES,)
