"""Common names for values that corpora spell differently: sexes, ages, emotions, noise, numbers."""

import math

JOINED = " / "
"""Separator between several values of an attribute."""

# fmt: off
OPEN_ATTRIBUTES = frozenset({
    "Age", "Arousal", "Beats per minute", "Command", "Dominance", "English translation", "Heard",
    "Mean opinion score", "MIDI note", "Naturalness", "Reverberation (C50)",
    "Signal-to-noise ratio", "Song", "Speaker", "Valence", "Velocity",
})
"""Attributes whose values are names, numbers or sentences."""
# fmt: on

_GENDERS = {
    "f": "Female",
    "female": "Female",
    "female_feminine": "Female",
    "m": "Male",
    "male": "Male",
    "male_masculine": "Male",
}

_AGES = {
    "teens": "Teens",
    "twenties": "20s",
    "thirties": "30s",
    "forties": "40s",
    "fourties": "40s",  # as Common Voice spells it
    "fifties": "50s",
    "sixties": "60s",
    "seventies": "70s",
    "eighties": "80s",
    "nineties": "90s",
}

EMOTIONS = {
    "Amused": ("amused",),
    "Angry": ("ang", "anger", "angry"),
    "Calm": ("calm",),
    "Contemptuous": ("contempt",),
    "Disgusted": ("dis", "disgust", "disgusted"),
    "Excited": ("exc", "excited"),
    "Fearful": ("fea", "fear", "fearful", "scared"),
    "Frustrated": ("fru",),
    "Happy": ("hap", "happiness", "happy", "joy", "positive"),
    "Neutral": ("neu", "neutral", "no emotion"),
    "Sad": ("sad", "sadness"),
    "Sarcastic": ("sarcastic",),
    "Sleepy": ("sleepiness", "sleepy"),
    "Surprised": ("sur", "surprise", "surprised"),
}
_EMOTION_NAMES = {word: name for name, words in EMOTIONS.items() for word in words}

NOISE_LEVELS = {
    "Clean": ("clean", "quite clean", "slightly clean", "very clean"),
    "Moderate": ("balanced in clarity", "slightly noisy"),
    "Noisy": ("noisy", "quite noisy", "very noisy"),
}
_NOISE_NAMES = {word: name for name, words in NOISE_LEVELS.items() for word in words}


def gender_name(word: str | None) -> str | None:
    """Return Female or Male; None for an unknown or other value.

    >>> gender_name("F"), gender_name("male_masculine"), gender_name("Unknown")
    ('Female', 'Male', None)
    """
    return _GENDERS.get((word or "").strip().lower())


def age_name(word: str | None) -> str | None:
    """Return a decade in digits, any other age unchanged; None for no age.

    >>> age_name("twenties"), age_name("46"), age_name("")
    ('20s', '46', None)
    """
    word = (word or "").strip()
    return _AGES.get(word.lower(), word) or None


def emotion_name(word: str | None) -> str | None:
    """Return an emotion as an adjective; None for a word that names none (other, no agreement).

    >>> emotion_name("joy"), emotion_name("ANG"), emotion_name("xxx")
    ('Happy', 'Angry', None)
    """
    return _EMOTION_NAMES.get((word or "").strip().lower())


def noise_name(word: str | None) -> str | None:
    """Return Clean, Moderate or Noisy for a tag of data-speech; None for any other text.

    >>> noise_name("very noisy"), noise_name("slightly clean environment"), noise_name("")
    ('Noisy', 'Clean', None)
    """
    return _NOISE_NAMES.get((word or "").strip().lower().removesuffix(" environment"))


def noise_level(decibels: float) -> str:
    """Return the noise level of a signal-to-noise ratio, with the borders of DeSTA-AQA5M.

    >>> noise_level(10), noise_level(15), noise_level(25)
    ('Noisy', 'Moderate', 'Clean')
    """
    if decibels <= 10:
        return "Noisy"
    return "Moderate" if decibels <= 20 else "Clean"


def number(value: object) -> float | None:
    """Return a value as a finite number; None if it is not one.

    >>> number("3.5"), number("NA"), number("nan"), number(None)
    (3.5, None, None, None)
    """
    try:
        found = float(str(value))
    except ValueError:
        return None
    return found if math.isfinite(found) else None


def out_of(value: object, most: int) -> str | None:
    """Return a rating with the top of its scale; None if it is not a number.

    >>> out_of("3.0", 5), out_of("NaN", 7)
    ('3.0/5', None)
    """
    found = number(value)
    return None if found is None else f"{found:.1f}/{most}"
