"""Tux Paint's stamps: pictures with spoken names in many languages, some with a sound."""

from pathlib import Path

STAMPS = "usr/share/tuxpaint/stamps"
"""Below the root of the system or of the unpacked package."""
PACKAGE = "tuxpaint-stamps-default"
LICENCE = "GPL-2.0"


def stamp_texts(path: Path) -> dict[str, str]:
    """Return locale in lower case -> name of the stamp; empty if there is no such file.

    The first line is English, the others are `LOCALE.utf8=...`.
    """
    if not path.is_file():
        return {}
    english, *rest = path.read_text(encoding="utf-8", errors="replace").split("\n")
    texts = {"en": english.strip()}
    for line in rest:
        locale, equals, text = line.partition(".utf8=")
        if equals:
            texts[locale.lower()] = text.strip()
    return texts
