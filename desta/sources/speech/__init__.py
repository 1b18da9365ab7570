"""Corpora of speech: a file a family, a row a corpus."""

from desta.sources.base import Source
from desta.sources.speech.debian import DEBIAN_SOURCES

SPEECH_SOURCES: tuple[Source, ...] = (*DEBIAN_SOURCES,)
