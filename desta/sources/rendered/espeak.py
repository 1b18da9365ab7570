"""Text -> the phonemes that Kokoro was trained with, through espeak-ng.

espeak-ng is a library of its own under GPL-3, loaded from the package `espeakng-loader` while clips
are rendered; nothing else uses it. The phonemes follow misaki, the front end of Kokoro: diphthongs
and affricates are single letters, which espeak-ng ties with "^".
"""

import ctypes
import re
from functools import cache

from desta.errors import DataError, need

_UTF8, _IPA, _TIE = 1, 0x02, 0x80 | ord("^") << 8
_SYNCHRONOUS = 2
_MARKS = re.compile(r"([,.;:!?…—“”\"()]+)")
_PLAIN = str.maketrans("«»¿¡।", "“”  .")
_SWITCH = re.compile(r"\([^()]*\)")  # "(en)": a word that is read as one of another language

_COMMON = (
    *(("a^ɪ", "I"), ("a^ʊ", "W"), ("d^z", "ʣ"), ("d^ʒ", "ʤ"), ("e^ɪ", "A"), ("o^ʊ", "O")),
    *(("ə^ʊ", "Q"), ("t^s", "ʦ"), ("t^ʃ", "ʧ"), ("ɔ^ɪ", "Y")),
)
_ENGLISH = (
    *(("ʔˌn\u0329", "tᵊn"), ("ʔn", "tᵊn"), ("ə^l", "ᵊl"), ("e^ə", "ɛː"), ("i^ə", "ɪə")),
    *(
        ("ɚɹ", "əɹ"),
        ("ɚ", "əɹ"),
        ("r", "ɹ"),
        ("x", "k"),
        ("ɬ", "l"),
        ("ɐ", "ə"),
        ("ʔ", "t"),
        ("e", "A"),
    ),
    ("\u0303", ""),
)
_AMERICAN = (("ɜːɹ", "ɜɹ"), ("ɜː", "ɜɹ"), ("ɪə", "iə"), ("ː", ""), ("ɾ", "T"))
_CHANGES = {
    "en-us": (*_COMMON, *_ENGLISH, *_AMERICAN),
    "en": (*_COMMON, *_ENGLISH),
    "hi": (*_COMMON, ("r.", "ɽ")),
}
"""Code of espeak-ng -> what is replaced, in this order; other languages have `_COMMON` only."""


@cache
def _library() -> ctypes.CDLL:
    loader = need("espeakng_loader", extra="render", to="render speech")
    library = ctypes.cdll.LoadLibrary(loader.get_library_path())
    library.espeak_TextToPhonemes.restype = ctypes.c_char_p
    if library.espeak_Initialize(_SYNCHRONOUS, 0, loader.get_data_path().encode(), 0) < 0:
        raise DataError("espeak-ng finds no data", fix="reinstall the package espeakng-loader")
    return library


def phonemes_of(text: str, accent: str) -> str:
    """Return the phonemes of a text, punctuation kept.

    Args:
        text: a sentence.
        accent: code of the language in espeak-ng, such as `en-us`.

    Raises:
        MissingExtraError: the extra `render` is not installed.
        DataError: espeak-ng does not know the language.
    """
    library = _library()
    if library.espeak_SetVoiceByName(accent.encode()) != 0:
        raise DataError(f"espeak-ng has no language {accent}", fix="choose another voice")
    # espeak-ng drops punctuation, which Kokoro reads as intonation
    pieces = _MARKS.split(text.translate(_PLAIN))
    spoken = [
        piece if number % 2 else _phonemes(library, piece, accent)
        for number, piece in enumerate(pieces)
    ]
    joined = "".join(f"{part} " if number % 2 else part for number, part in enumerate(spoken))
    return " ".join(joined.split())


def _phonemes(library: ctypes.CDLL, text: str, accent: str) -> str:
    rest = ctypes.pointer(ctypes.c_char_p(text.encode()))
    found = []
    while rest.contents.value is not None:
        if piece := library.espeak_TextToPhonemes(rest, _UTF8, _IPA | _TIE):
            found.append(piece.decode())
    phonemes = _SWITCH.sub("", " ".join(found))
    for old, new in _CHANGES.get(accent, _COMMON):
        phonemes = phonemes.replace(old, new)
    return phonemes.replace("^", "").replace("-", "").strip()
