"""Voices of Kokoro: 54, in eight languages, and blends of two of them."""

import random
from dataclasses import dataclass
from itertools import combinations

from desta.config import suggest
from desta.errors import ConfigError
from desta.records import Split

_LANGUAGES = {
    "a": ("en", "en-us"),
    "b": ("en", "en"),  # British
    "e": ("es", "es"),
    "f": ("fr", "fr"),
    "h": ("hi", "hi"),
    "i": ("it", "it"),
    "j": ("ja", "ja"),
    "p": ("pt", "pt-br"),
    "z": ("zh", "cmn"),
}
"""First letter of a voice's name -> code of its language, and code of its accent in espeak-ng."""
_GENDERS = {"f": "Female", "m": "Male"}

_NAMES = (
    "af_alloy af_aoede af_bella af_heart af_jessica af_kore af_nicole af_nova af_river af_sarah "
    "af_sky am_adam am_echo am_eric am_fenrir am_liam am_michael am_onyx am_puck am_santa "
    "bf_alice bf_emma bf_isabella bf_lily bm_daniel bm_fable bm_george bm_lewis "
    "ef_dora em_alex em_santa ff_siwis hf_alpha hf_beta hm_omega hm_psi if_sara im_nicola "
    "jf_alpha jf_gongitsune jf_nezumi jf_tebukuro jm_kumo pf_dora pm_alex pm_santa "
    "zf_xiaobei zf_xiaoni zf_xiaoxiao zf_xiaoyi zm_yunjian zm_yunxi zm_yunxia zm_yunyang"
)

_SAME = {
    **dict.fromkeys(("ef_dora", "pf_dora"), "dora"),
    **dict.fromkeys(("em_alex", "pm_alex"), "alex"),
    **dict.fromkeys(("am_santa", "em_santa", "pm_santa"), "santa"),
    **dict.fromkeys(("jf_gongitsune", "jf_nezumi", "jf_tebukuro"), "tales"),
}
"""Voice -> name that it shares with voices that are taken for the same speaker.

Cosine of their timbre (the first 128 numbers of a style of medium length): 0.97 to 0.98 between
Spanish and Portuguese, 0.81 for the American santa, 0.89 to 0.93 among the three Japanese; the
median of all pairs is 0.37.
"""

_SPLITS: dict[str, Split] = {
    **dict.fromkeys(("af_nova", "af_sky", "am_onyx", "am_puck", "bf_lily", "bm_lewis"), "test"),
    **dict.fromkeys(("am_santa", "em_santa", "pm_santa", "hf_beta", "hm_psi"), "test"),
    **dict.fromkeys(("jf_alpha", "zf_xiaoyi", "zm_yunyang"), "test"),
    **dict.fromkeys(("af_river", "am_liam", "bf_alice", "bm_fable", "zf_xiaoni"), "validation"),
}
"""Voices that are not for training: no language or sex of a language loses its last voice."""


@dataclass(frozen=True, kw_only=True)
class Voice:
    """A voice."""

    name: str
    styles: tuple[str, ...]
    """Names of the voices whose styles are averaged; one for a voice of Kokoro itself."""
    language: str
    """Code of the language."""
    accent: str
    """Code of the language and its accent in espeak-ng."""
    gender: str
    group: str
    """Speaker, the same for voices that sound like one; a blend is a speaker of its own."""
    split: Split


def _voice(name: str) -> Voice:
    language, accent = _LANGUAGES[name[0]]
    return Voice(
        name=name,
        styles=(name,),
        language=language,
        accent=accent,
        gender=_GENDERS[name[1]],
        group=f"voice/kokoro-{_SAME.get(name, name)}",
        split=_SPLITS.get(name, "train"),
    )


VOICES = {name: _voice(name) for name in _NAMES.split()}
"""Name -> voice."""


def find_voice(name: str) -> Voice:
    """Return a voice, or the blend of a language and two voices such as `f-ff_siwis-af_heart`.

    Raises:
        ConfigError: there is no such voice.
    """
    if name in VOICES:
        return VOICES[name]
    accent, *styles = name.split("-")
    if accent not in _LANGUAGES or len(styles) != 2 or not {*styles} <= {*VOICES}:
        raise ConfigError(f'there is no voice "{name}"', fix=suggest(name, list(VOICES)))
    return _blend(accent, (VOICES[styles[0]], VOICES[styles[1]]))


def draw_blends(count: int, *, seed: int = 0) -> list[Voice]:
    """Return blends of training voices, `count` of each sex that read each language.

    One of the two voices speaks the language, where a training voice of that sex does. So French
    gets men, who are blended from voices of other languages.
    """
    drawn = []
    for accent in {
        language: letter for letter, (language, _) in reversed(_LANGUAGES.items())
    }.values():
        for gender in _GENDERS.values():
            voices = [v for v in VOICES.values() if v.gender == gender and v.split == "train"]
            own = {v.name for v in voices if v.language == _LANGUAGES[accent][0]}
            pairs = [
                (a, b)
                for a, b in combinations(voices, 2)
                if a.group != b.group and (not own or not own.isdisjoint((a.name, b.name)))
            ]
            draw = random.Random(f"{seed}:{accent}:{gender}")
            drawn += [_blend(accent, pair) for pair in draw.sample(pairs, min(count, len(pairs)))]
    return drawn


def _blend(letter: str, pair: tuple[Voice, Voice]) -> Voice:
    language, accent = _LANGUAGES[letter]
    first, second = pair
    return Voice(
        name=f"{letter}-{first.name}-{second.name}",
        styles=(first.name, second.name),
        language=language,
        accent=accent,
        gender=first.gender,
        group=f"{first.group}-{second.name}",
        split="train",
    )
