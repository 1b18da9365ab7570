"""Chinese characters -> the phonemes that Kokoro was trained with, through their pinyin.

Tones are arrows behind the vowel: → first, ↗ second, ↓ third, ↘ fourth. espeak-ng writes the first
and the fourth alike in IPA, so pinyin is taken from `pypinyin`.
"""

import re
from collections.abc import Iterator

from desta.errors import need

_CHARACTERS = re.compile(r"([\u4e00-\u9fff]+)")
_PUNCTUATION = str.maketrans(dict(zip("，、。！？：；“”", ",,.!?:;“”", strict=True)))
_TONES = ("", "→", "↗", "↓", "↘", "")

_INITIALS = {
    **{"zh": "ꭧ", "ch": "ꭧʰ", "sh": "ʂ", "b": "p", "p": "pʰ", "m": "m", "f": "f", "d": "t"},
    **{"t": "tʰ", "n": "n", "l": "l", "g": "k", "k": "kʰ", "h": "x", "j": "ʨ", "q": "ʨʰ"},
    **{"x": "ɕ", "r": "ɻ", "z": "ʦ", "c": "ʦʰ", "s": "s", "": ""},
}
_FINALS = {
    **{"a": "a0", "ai": "ai0", "an": "a0n", "ang": "a0ŋ", "ao": "au0", "e": "ɤ0", "ei": "ei0"},
    **{"en": "ə0n", "eng": "ə0ŋ", "er": "ɚ0", "i": "i0", "ia": "ja0", "ian": "jɛ0n"},
    **{"iang": "ja0ŋ", "iao": "jau0", "ie": "je0", "in": "i0n", "ing": "i0ŋ", "iong": "jʊ0ŋ"},
    **{"iu": "jou0", "o": "wo0", "ong": "ʊ0ŋ", "ou": "ou0", "u": "u0", "ua": "wa0"},
    **{"uai": "wai0", "uan": "wa0n", "uang": "wa0ŋ", "ui": "wei0", "un": "wə0n", "uo": "wo0"},
    **{"v": "y0", "van": "ɥɛ0n", "ve": "ɥe0", "vn": "y0n", "ueng": "wə0ŋ"},
}
"""Final of a syllable -> phonemes; 0 is the place of the tone."""
_WITHOUT_INITIAL = (
    *(("yu", "v"), ("yi", "i"), ("y", "i"), ("weng", "ueng"), ("wu", "u"), ("wei", "ui")),
    *(("wen", "un"), ("w", "u")),
)
"""Beginning of a syllable without an initial -> its final; `you` is `iu`."""
_SYLLABLE = re.compile(r"(zh|ch|sh|[bpmfdtnlgkhjqxrzcs]?)([a-zü]+?)([1-5])")


def phonemes_of_chinese(text: str) -> str:
    """Return the phonemes of a Chinese text, punctuation kept and words apart.

    Raises:
        MissingExtraError: the extra `render` is not installed.
    """
    pieces = _CHARACTERS.split(text)
    spoken = (
        " ".join(_words(piece)) if number % 2 else piece.translate(_PUNCTUATION) + " "
        for number, piece in enumerate(pieces)
    )
    return re.sub(r"\s+([,.!?:;”])", r"\1", " ".join("".join(spoken).split()))


def _words(characters: str) -> Iterator[str]:
    """Yield the phonemes of each word of a run of characters."""
    pypinyin = need("pypinyin", extra="render", to="render speech in Chinese")
    words = need("pypinyin.seg.mmseg", extra="render", to="render speech in Chinese")
    syllables = pypinyin.lazy_pinyin(
        characters,
        style=pypinyin.Style.TONE3,
        neutral_tone_with_five=True,
        v_to_u=False,
        tone_sandhi=True,
    )
    for word in words.seg.cut(characters):
        yield "".join(map(syllable_phonemes, syllables[: len(word)]))
        syllables = syllables[len(word) :]


def syllable_phonemes(pinyin: str) -> str:
    """Return the phonemes of a syllable in pinyin with its tone, 5 for none.

    >>> syllable_phonemes("zhong1"), syllable_phonemes("lv4"), syllable_phonemes("yue4")
    ('ꭧʊ→ŋ', 'ly↘', 'ɥe↘')
    """
    if pinyin[:-1] == "er":
        initial, final = "", "er"
    elif pinyin[:-1] == "you":
        initial, final = "", "iu"
    else:
        match = _SYLLABLE.fullmatch(pinyin.replace("ü", "v"))
        if match is None:
            return pinyin  # not a syllable: counted as symbols that are dropped
        initial, final = match[1], match[2]
        if not initial:
            final = next(
                (new + final[len(old) :] for old, new in _WITHOUT_INITIAL if final.startswith(old)),
                final,
            )
        elif initial in ("j", "q", "x") and final.startswith("u"):
            final = f"v{final[1:]}"
    if final == "i" and initial in ("zh", "ch", "sh", "r", "z", "c", "s"):
        spoken = "ɨ0"
    elif final in _FINALS:
        spoken = _FINALS[final]
    else:
        return pinyin
    return _INITIALS[initial] + spoken.replace("0", _TONES[int(pinyin[-1])])
