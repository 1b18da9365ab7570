"""Corpora of sounds: Tux Paint's stamps."""

import re
from collections.abc import Iterator
from pathlib import Path

from desta.sources.base import Metadata, Skipped, Source, find_folder, relative_id
from desta.sources.files import visible
from desta.sources.sound.named import named_sound
from desta.sources.stamps import LICENCE, PACKAGE, STAMPS, stamp_texts

_FOLDERS = ("animals/", "hobbies/music/", "household/", "naturalforces/", "vehicles/")
"""Folders of stamps that sound like what they show."""

_SOUNDS = {
    "Washing-machine": "Washing machine",
    "apollo_lander": None,  # a radio message
    "bathyscape": "Submarine",
    "bottle": None,  # which of its sounds is heard is not stated
    "cow_white": "Cow",
    "cymbal_crash": "Crash cymbal",
    "drum_tomtom_floor": "Floor tom",
    "firetruck": "Fire engine",
    "glass": None,
    "hen": "Hen",
    "heron_greatblue_flying": "Heron",
    "kettle": "Kettle",
    "lightningbolt": "Thunder",
    "mallet_metal": "Mallet",
    "mosquito": "Mosquito",  # has no text
    "mountaingoat": "Mountain goat",
    "pig_golden": "Pig",
    "pig_golden2": "Pig",
    "rooster": "Rooster",
    "scissors_small_closed": "Scissors",
    "scissors_small_open": "Scissors",
    "sheep_lamb": "Lamb",
    "toilet": "Toilet flush",
    "xanthia": None,  # a moth
}
"""Stamp -> sound if its English text is not just "A frog."; None if it is not the sound."""

_SIMPLE_NAME = re.compile(r"An? (?P<name>[\w ]+)\.")


def read_tuxpaint_sounds(root: Path) -> Iterator[Metadata | Skipped]:
    """Yield the sounds of animals, instruments, tools and vehicles: `X.ogg` beside picture `X`.

    The sound is what the picture shows, and most sounds are there only once. Pictures that say
    nothing certain about their sound (road signs, gifts, ghosts) are left out.
    """
    stamps = find_folder(root, STAMPS, source="tuxpaint-sounds")
    for path in visible(stamps, "**/*.ogg"):
        id = relative_id(path, stamps)
        if "_desc" in path.stem or id.startswith("symbols/"):
            continue  # speech: `read_tuxpaint` accounts for it
        sound = _sound(path) if id.startswith(_FOLDERS) else None
        if sound is None:
            yield Skipped(id=id, reason="the picture does not tell what is heard")
        else:
            yield named_sound("tuxpaint-sounds", id, path.relative_to(root).as_posix(), sound)


def _sound(path: Path) -> str | None:
    if path.stem in _SOUNDS:
        return _SOUNDS[path.stem]
    text = stamp_texts(path.with_suffix(".txt")).get("en", "")
    match = _SIMPLE_NAME.fullmatch(text)
    return match["name"].capitalize() if match else None


DEBIAN_SOURCES = (
    Source(
        name="tuxpaint-sounds",
        title="Tux Paint stamps, the sounds of what they show",
        domains=("sound",),
        licence=LICENCE,
        obtain="Debian packages; `desta sources fetch` unpacks them",
        layout="confirmed",
        cited="the files of the packages",
        read=read_tuxpaint_sounds,
        packages=(PACKAGE,),
    ),
)
