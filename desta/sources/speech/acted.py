"""Acted dialogue of a game: Fish Fillets in Czech and Dutch."""

import re
from collections.abc import Iterator
from pathlib import Path

from desta.sources.base import Metadata, Skipped, Source, find_folder, relative_id, spoken
from desta.sources.files import list_files, read_text, visible
from desta.sources.languages import language_name

_GAME = "usr/share/games/fillets-ng"
_LANGUAGES = ("cs", "nl")
_FETCH = "`desta sources fetch fillets` fetches it"

_STRING = r'"(?:[^"\\]|\\.)*"'
_LINE = re.compile(
    rf"dialogId\(\s*(?P<id>{_STRING}),\s*(?P<font>{_STRING}),\s*{_STRING}\s*\)"
    rf"\s*dialogStr\(\s*(?P<words>{_STRING})\s*\)"
)
_LEADS = {"font_small": "Female", "font_big": "Male", "font_both": None}
"""Font of the subtitle -> sex: the small fish is a woman, the big fish a man."""


def read_fillets(root: Path) -> Iterator[Metadata | Skipped]:
    """Yield what two fish say to each other and others to them, in Czech and Dutch.

    `sound/LEVEL/LANG/ID.ogg`; `script/LEVEL/dialogs_LANG.lua` states words and, as the font of the
    subtitle, who speaks. The leads, two voices a language, are for training. Minor characters, only
    in Czech, are the test split: their sex is not stated, nor that no lead speaks them.
    """
    sounds = find_folder(root, f"{_GAME}/sound", source="fillets")
    find_folder(root, f"{_GAME}/script", source="fillets")
    paths = list_files(root, f"{_GAME}/sound", "**/*.ogg", source="fillets", bring=_FETCH)
    scripts: dict[tuple[str, str], dict[str, tuple[str, str]]] = {}
    for path in paths:
        id, language = relative_id(path, sounds), path.parent.name
        if language not in _LANGUAGES:
            yield Skipped(id=id, reason="a sound, or a voice of every language")
            continue
        level = id.partition("/")[0]
        if (level, language) not in scripts:
            scripts[level, language] = _read_script(root / _GAME / "script" / level, language)
        font, words = scripts[level, language].get(path.stem, ("", ""))
        if not words:
            yield Skipped(id=id, reason="no text for it")
            continue
        yield Metadata(
            id=id,
            audio=path.relative_to(root).as_posix(),
            segments=spoken(words),
            attributes={"Language": language_name(language), "Gender": _LEADS.get(font)},
            group=f"voice/fillets/{language}/{font}",
            split="train" if font in _LEADS else "test",
        )


def _read_script(folder: Path, language: str) -> dict[str, tuple[str, str]]:
    """Return id -> font and words; those of `share` are in files such as `bore_dialogs_cs.lua`."""
    return {
        _unquoted(line["id"]): (_unquoted(line["font"]), _unquoted(line["words"]))
        for path in visible(folder, f"*dialogs_{language}.lua")
        for line in _LINE.finditer(read_text(path))
    }


def _unquoted(string: str) -> str:
    return " ".join(re.sub(r"\\(.)", r"\1", string[1:-1]).split())


ACTED_SOURCES = (
    Source(
        name="fillets",
        title="Fish Fillets, acted dialogue in Czech and Dutch",
        domains=("speech",),
        licence="GPL-2.0",
        obtain="Debian packages; `desta sources fetch` unpacks them",
        layout="confirmed",
        cited="the files of the packages",
        read=read_fillets,
        packages=("fillets-ng-data", "fillets-ng-data-cs", "fillets-ng-data-nl"),
    ),
)
