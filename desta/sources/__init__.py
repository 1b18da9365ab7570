"""1. Corpora and the readers of their metadata."""

from collections.abc import Mapping

from desta.config import suggest
from desta.errors import DataError
from desta.sources.base import Source
from desta.sources.music import MUSIC_SOURCES
from desta.sources.rendered.reader import RENDERED_SOURCES
from desta.sources.sound import SOUND_SOURCES
from desta.sources.speech import SPEECH_SOURCES

SOURCES: Mapping[str, Source] = {
    source.name: source
    for source in (*SPEECH_SOURCES, *SOUND_SOURCES, *MUSIC_SOURCES, *RENDERED_SOURCES)
}
"""Name -> source, of the corpora that need no recipe; for others see `desta.sources.custom`."""


def find_source(name: str) -> Source:
    """Return a source by its name.

    Raises:
        DataError: the name is unknown.
    """
    if name not in SOURCES:
        raise DataError(
            f'unknown source "{name}"',
            fix=f"{suggest(name, list(SOURCES))} (`desta sources` lists them; "
            "`custom` reads a corpus of your own)",
        )
    return SOURCES[name]
