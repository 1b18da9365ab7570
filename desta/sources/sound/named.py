"""Sounds of which only the name of the file tells what they are."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from desta.sources.base import Metadata, Skipped, relative_id
from desta.sources.files import list_files
from desta.sources.sound.classes import sound_attributes

Names = Sequence[tuple[str, str]]
"""Pattern of a name -> what is heard; the first that fits counts."""

UNTOLD = "the file name does not tell what is heard"
_SUFFIXES = (".mp3", ".ogg", ".wav")
_SEX = re.compile(r"\b(female|male)\d*\b")  # Laugh-male2, human-female-die-1


def find_name(names: Names, name: str) -> str | None:
    """Return what a name tells; None where no pattern fits all of it."""
    return next((heard for pattern, heard in names if re.fullmatch(pattern, name)), None)


def read_named(
    root: Path, source: str, folder: str, pattern: str, names: Names
) -> Iterator[Metadata | Skipped]:
    """Yield the sounds of a folder.

    Args:
        root: folder of the corpus.
        source: its name.
        folder: path below the root.
        pattern: of the files, as `Path.glob` takes it.
        names: of the paths below the folder, without suffix.
    """
    bring = f"`desta sources fetch {source}` fetches it"
    for path in list_files(root, folder, pattern, source=source, bring=bring):
        id = relative_id(path, root / folder)
        if path.suffix.lower() not in _SUFFIXES:
            continue
        if (heard := find_name(names, id)) is None:
            yield Skipped(id=id, reason=UNTOLD)
        else:
            yield named_sound(source, id, path.relative_to(root).as_posix(), heard)


def named_sound(source: str, id: str, audio: str, heard: str, *, group: str = "") -> Metadata:
    """Return a sound by what is heard, with the sex of a human whose name states it.

    Args:
        source: name of the corpus.
        id: of the recording.
        audio: its path, relative to the root.
        heard: as `CLASSES` calls it.
        group: whose voice or which recording it is; by default all that the corpus has of `heard`.
    """
    sex = match[1].capitalize() if (match := _SEX.search(id)) else ""
    return Metadata(
        id=id,
        audio=audio,
        domain="sound",
        attributes=sound_attributes(heard) | {"Gender": sex},
        group=group or f"{source}/{heard} {sex}".strip(),
    )
