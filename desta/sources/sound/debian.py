"""Corpora of sounds: Tux Paint's stamps."""

import re
from collections.abc import Iterator
from pathlib import Path

from desta.sources.base import Metadata, Skipped, Source, find_folder, relative_id
from desta.sources.files import visible
from desta.sources.stamps import LICENCE, PACKAGE, STAMPS, stamp_texts

_CLASSES = {
    "animals/amphibians": "Amphibian",
    "animals/birds": "Bird",
    "animals/insects": "Insect",
    "animals/lizards": "Reptile",
    "animals/mammals": "Mammal",
    "animals/marsupials": "Mammal",
    "hobbies/music": "Musical instrument",
    "household/tools": "Tool",
    "household": "Household object",
    "naturalforces": "Weather",
    "vehicles": "Vehicle",
}
"""Folder of the stamp -> sound class; the deepest folder counts, other folders are left out."""

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

    The sound is what the picture shows, and most sounds are there only once; the sound class is
    the folder of the picture. Pictures that say nothing certain about their sound (road signs,
    gifts, ghosts) are left out.
    """
    stamps = find_folder(root, STAMPS, source="tuxpaint-sounds")
    for path in visible(stamps, "**/*.ogg"):
        id = relative_id(path, stamps)
        if "_desc" in path.stem or id.startswith("symbols/"):
            continue  # speech: `read_tuxpaint` accounts for it
        sound_class = _sound_class(path.relative_to(stamps))
        sound = _sound(path)
        if sound_class is None or sound is None:
            yield Skipped(id=id, reason="the picture does not tell what is heard")
            continue
        yield Metadata(
            id=id,
            audio=path.relative_to(root).as_posix(),
            domain="sound",
            attributes={"Sound": sound, "Sound class": sound_class},
        )


def _sound_class(path: Path) -> str | None:
    folders = (folder.as_posix() for folder in path.parents)  # deepest first
    return next((_CLASSES[folder] for folder in folders if folder in _CLASSES), None)


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
