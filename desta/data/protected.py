"""Kinds of augmentation that would change what a pair states or asks: those it must not get.

Two tables say what a kind touches: attributes, as seed descriptions name them, and words of
prompts and responses. A kind is ruled out for a pair whose description states such an attribute, or
whose prompt or response holds such a word. An attribute in no table rules out every kind.
"""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

from desta.audio.augment.config import KINDS
from desta.data.described import stated_names
from desta.records import AudioTextPair

_QUALITY = ("Mean opinion score", "Naturalness", "Qualities", "Speech quality")
_ORIGIN = ("Codec", "Method", "Source")  # real or synthesised, and how: heard in fine detail
_BACKGROUND = ("Noise", "Noise level", "Signal-to-noise ratio", "Weather")
_SPACE = ("Reverberation", "Reverberation (C50)")
_LEVEL = ("Intensity", "Velocity", "Volume")
_VOICE = ("Accent", "Age", "Dialect", "Emotion", "Intended emotion", "Sentiment", "Speaker")
_MUSIC = (
    *("Beats per minute", "Interval", "Key", "MIDI note", "Note", "Pitch", "Rhythm"),
    *("Second note", "Song", "Speaking speed", "Stroke", "Style", "Tempo", "Tonic", "Voice"),
)
_WHOLE = (  # may be heard in one part of a clip only
    *("Act", "Arousal", "Category", "Command", "Dominance", "Emotion", "English translation"),
    *("Heard", "Intended emotion", "Number of instruments", "Number of speakers", "Sentiment"),
    *("Sound", "Sound class", "Valence", "Weather"),
)

# fmt: off
CHANGED_ATTRIBUTES: Mapping[str, tuple[str, ...]] = {
    "crop": (*_WHOLE, *_MUSIC),
    "speed": (*_VOICE, *_MUSIC, *_ORIGIN, "Arousal"),
    "silence": ("Beats per minute", "Rhythm", "Tempo"),
    "room": (*_SPACE, *_QUALITY, *_ORIGIN, *_BACKGROUND, "Number of speakers", "Rhythm", "Stroke"),
    "noise": (*_BACKGROUND, *_QUALITY, *_ORIGIN, *_SPACE, "Heard"),
    "clipping": (*_QUALITY, *_ORIGIN, *_LEVEL, *_BACKGROUND),
    "low_pass": (*_QUALITY, *_ORIGIN, *_BACKGROUND, "Bandwidth"),
    "telephone": (*_QUALITY, *_ORIGIN, *_BACKGROUND, "Bandwidth"),
    "codec": (*_QUALITY, *_ORIGIN, *_BACKGROUND, "Bandwidth"),
    "gain": (*_LEVEL,),
}
"""Kind -> attributes that it changes, or that can no longer be heard well."""

UNCHANGED_ATTRIBUTES = frozenset({
    "Country", "Duration", "Ethnicity", "Gender", "Genre", "Instrument", "Instrument family",
    "Language", "Native language", "Race", "Socioeconomic background",
})
"""Attributes that no kind changes. A duration is stated of every clip: the words about it count."""
# fmt: on

_QUALITY_WORDS = "quality fidelity muffled crisp recorded microphone studio distort*"
_LINE_WORDS = "telephone* phone* radio broadcast* bandwidth codec* compress* muffled tinny"
_LEVEL_WORDS = "loud* quiet* soft softer softest softly volume decibel* faint* whisper* shout*"
_TIME_WORDS = "second seconds minute minutes duration long longer longest length short shorter"

CHANGED_WORDS: Mapping[str, str] = {
    "crop": f"{_TIME_WORDS} shortest say says said saying word words sentence* phrase* topic*"
    " mention* talk* begin* start* end ends ending first last then before after when pause* many",
    "speed": f"{_TIME_WORDS} shortest tempo speed pace fast* slow* quick* rapid* bpm rhythm* pitch*"
    " high higher highest low lower lowest note notes key melod* tune interval tone",
    "silence": f"{_TIME_WORDS} shortest silen* pause* begin* start* end ends ending when tempo",
    "room": f"{_QUALITY_WORDS} reverb* echo* room rooms hall indoor* outdoor* distan* far place"
    " where background clean environment* surround* setting close near",
    "noise": f"{_QUALITY_WORDS} noise* noisy background clean hiss* static hum silen* quiet* rain*"
    " wind windy environment* surround* setting",
    "clipping": f"{_QUALITY_WORDS} {_LEVEL_WORDS} clip* crackl* overdriv* clean",
    "low_pass": f"{_QUALITY_WORDS} {_LINE_WORDS} bright* dull dark",
    "telephone": f"{_QUALITY_WORDS} {_LINE_WORDS} bright* dull dark",
    "codec": f"{_QUALITY_WORDS} {_LINE_WORDS}",
    "gain": f"{_LEVEL_WORDS} distan* far near close intens*",
}
"""Kind -> words about what it changes; `*` stands for any ending."""

_TIMES = re.compile(r"\b\d+(?:\.\d+)? ?s\b|\b\d?\d:\d\d\b")
_TIMED = ("crop", "speed", "silence")


def changing_kinds(
    pair: AudioTextPair, own: Mapping[str, Sequence[str]] | None = None
) -> frozenset[str]:
    """Return the kinds of augmentation that a pair must not get.

    Args:
        pair: the pair; its seed description, prompt and response are read.
        own: further attributes, each with the kinds that change it.
    """
    found: set[str] = set()
    for name in stated_names(pair.seed_description):
        kinds = _by_attribute(own or {}).get(name)
        found.update(KINDS if kinds is None else kinds)
    text = f"{pair.prompt}\n{pair.response}"
    found.update(kind for kind, words in _WORDS.items() if words.search(text))
    if _TIMES.search(text):
        found.update(_TIMED)
    if any((audio.text or "").strip() for message in pair.messages for audio in message.audios):
        found.add("crop")  # the transcription is that of the whole clip
    return frozenset(found)


def unknown_attributes(
    pair: AudioTextPair, own: Mapping[str, Sequence[str]] | None = None
) -> list[str]:
    """Return the stated attributes, case folded, that rule out every kind as nobody knows them."""
    known = _by_attribute(own or {})
    return [name for name in stated_names(pair.seed_description) if name not in known]


def _by_attribute(own: Mapping[str, Sequence[str]]) -> Mapping[str, frozenset[str]]:
    return _table(tuple((name, tuple(kinds)) for name, kinds in own.items()))


@lru_cache(maxsize=8)
def _table(own: tuple[tuple[str, tuple[str, ...]], ...]) -> Mapping[str, frozenset[str]]:
    """Return attribute, case folded -> kinds that change it."""
    table: dict[str, set[str]] = {name.casefold(): set() for name in UNCHANGED_ATTRIBUTES}
    for kind, names in CHANGED_ATTRIBUTES.items():
        for name in names:
            table.setdefault(name.casefold(), set()).add(kind)
    table |= {name.casefold(): set(kinds) for name, kinds in own}
    return {name: frozenset(kinds) for name, kinds in table.items()}


def _pattern(words: str) -> re.Pattern[str]:
    either = "|".join(word.replace("*", r"\w*") for word in words.split())
    return re.compile(rf"\b(?:{either})\b", re.IGNORECASE)


_WORDS = {kind: _pattern(words) for kind, words in CHANGED_WORDS.items()}
