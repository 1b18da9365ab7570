"""Voices of Kokoro: 54, in eight languages."""

from dataclasses import dataclass

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
    language: str
    """Code of the language."""
    accent: str
    """Code of the language and its accent in espeak-ng."""
    gender: str
    group: str
    """Speaker, the same for voices that sound like one."""
    split: Split


def _voice(name: str) -> Voice:
    language, accent = _LANGUAGES[name[0]]
    return Voice(
        name=name,
        language=language,
        accent=accent,
        gender=_GENDERS[name[1]],
        group=f"voice/kokoro-{_SAME.get(name, name)}",
        split=_SPLITS.get(name, "train"),
    )


VOICES = {name: _voice(name) for name in _NAMES.split()}
"""Name -> voice."""
