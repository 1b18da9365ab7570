"""Corpora of music: one file per family, one row per corpus."""

from desta.sources.base import Source
from desta.sources.music.debian import DEBIAN_SOURCES
from desta.sources.music.notes import NOTE_SOURCES
from desta.sources.music.patches import PATCH_SOURCES
from desta.sources.music.pieces import PIECE_SOURCES

MUSIC_SOURCES: tuple[Source, ...] = (*DEBIAN_SOURCES, *NOTE_SOURCES, *PATCH_SOURCES, *PIECE_SOURCES)
