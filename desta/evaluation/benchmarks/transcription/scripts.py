"""Texts of any script, normalised so that what is left is what is spoken.

Whisper's basic rules put a space in the place of every combining mark. That is harmless where
marks are accents, which are one character with their letter; but the vowels of Indic scripts, of
Thai, Khmer or Burmese are marks, and so are the vowel points that Arabic and Hebrew are mostly
written without. Here marks stay, but for these points.
"""

import re
import unicodedata
from functools import cache
from itertools import pairwise
from typing import Literal

from desta.sources.languages import language_of_label

Rules = Literal["English", "words", "characters"]
"""Unit that a text is cut into: English words by Whisper's English rules, words, or characters."""

_UNSPACED_LANGUAGES = ("Burmese", "Chinese", "Japanese", "Khmer", "Lao", "Thai")
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u312f\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uaa60-\uaa7f\U00020000-\U0003ffff]"
)
"""Thai, Lao, Burmese, Khmer, Han and kana: scripts without spaces between words."""
_LATIN = re.compile("[A-Za-z\u00c0-\u024f\u1e00-\u1eff]")
_POINTS = re.compile(
    "[\u0610-\u061a\u0640\u064b-\u0652\u0656-\u065f\u0670\u06d6-\u06ed\u08d3-\u08ff"  # Arabic
    "\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7]"  # Hebrew
)
"""Vowel points, signs of recitation and tatweel, which are mostly left out; not the hamza."""
_SELECTORS = re.compile("[\u034f\u180b-\u180f\ufe00-\ufe0f\U000e0100-\U000e01ef]")
"""Marks that choose a shape."""
_LONE_MARKS = re.compile(r"(?:(?<=\s)|^)[^\w\s]+")
_BRACKETS = re.compile(r"[<\[][^>\]]*[>\]]|\([^)]+?\)")
_APOSTROPHES = "\u02b9\u02bb\u02bc"  # letters to Unicode: Uzbek keyboards lack them
_SAME = str.maketrans({"\u0671": "\u0627", **dict.fromkeys(_APOSTROPHES, "'")})
_CHILLUS = {
    "\u0d23\u0d4d\u200d": "\u0d7a",
    "\u0d28\u0d4d\u200d": "\u0d7b",
    "\u0d30\u0d4d\u200d": "\u0d7c",
    "\u0d32\u0d4d\u200d": "\u0d7d",
    "\u0d33\u0d4d\u200d": "\u0d7e",
    "\u0d15\u0d4d\u200d": "\u0d7f",
    "\u09a4\u09cd\u200d": "\u09ce",
}
"""Malayalam's and Bengali's final consonants as they were written before Unicode 5.1 -> now."""


def rules_of(text: str, language: str | None = None) -> Rules:
    """Return the rules for a text, told by its language and its script.

    Args:
        text: what was said.
        language: code or English name; None where it is not known, which counts as English.

    >>> rules_of("hello"), rules_of("नमस्ते"), rules_of("你好"), rules_of("hallo", "de")
    ('English', 'words', 'characters', 'words')
    """
    name = find_language(language) if language else "English"
    text = unicodedata.normalize("NFKC", text)
    spaced = _UNSPACED.sub(" ", text)
    num_words = sum(any(map(str.isalpha, word)) for word in spaced.split())
    if name in _UNSPACED_LANGUAGES or len(_UNSPACED.findall(text)) > num_words:
        return "characters"
    letters = [c for c in spaced if c.isalpha()]
    num_latin = len(_LATIN.findall(spaced))
    return "English" if name == "English" and 2 * num_latin >= len(letters) else "words"


def normalise_marked(text: str, language: str | None = None) -> str:
    """Return a text in lower case without punctuation, with the marks that carry meaning.

    Compatible characters are made one (NFKC), digits ASCII; vowel points of Arabic and Hebrew,
    tatweel, invisible characters and what stands in brackets is left out.
    """
    if language and find_language(language) in ("Azerbaijani", "Turkish"):
        text = text.replace("İ", "i").replace("I", "ı")
    for written, character in _CHILLUS.items():
        text = text.replace(written, character)
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    text = _BRACKETS.sub("", text).translate(_SAME)
    text = _SELECTORS.sub("", _POINTS.sub("", text)).replace("i\u0307", "i")
    text = "".join(_keep(c) for c in text)
    return " ".join(_LONE_MARKS.sub("", text).split())


def has_marks(text: str) -> bool:
    """Return whether Whisper's rules cut words at marks of a text, or count points as letters."""
    text = _SELECTORS.sub("", unicodedata.normalize("NFKC", text))
    marked = any(_is_mark(c) and before.isalnum() for before, c in pairwise(text))
    return marked or _POINTS.search(text) is not None


def split_characters(text: str) -> str:
    """Put a space between all characters of a text, and none else."""
    return " ".join("".join(text.split()))


def _keep(character: str) -> str:
    match unicodedata.category(character):
        case "Nd":
            return str(unicodedata.decimal(character))
        case "Cf":
            return ""
        case category if category[0] in "LMN":
            return character
        case _:
            return " "


def _is_mark(character: str) -> bool:
    return unicodedata.category(character).startswith("M")


@cache
def find_language(text: str) -> str | None:
    """Return the English name of a language, by a code with or without region, or by a name."""
    return language_of_label(text.replace("_", "-").split("-")[0])
