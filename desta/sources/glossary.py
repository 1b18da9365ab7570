"""One name for what corpora write differently: sexes, ages, emotions."""

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

_EMOTIONS = {
    "Amused": ("amused",),
    "Angry": ("ang", "anger", "angry"),
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
_EMOTION_NAMES = {word: name for name, words in _EMOTIONS.items() for word in words}


def gender_name(word: str | None) -> str | None:
    """Return Female or Male; None for what is unknown or neither.

    >>> gender_name("F"), gender_name("male_masculine"), gender_name("Unknown")
    ('Female', 'Male', None)
    """
    return _GENDERS.get((word or "").strip().lower())


def age_name(word: str | None) -> str | None:
    """Return a decade as digits, any other age as it is; None for none.

    >>> age_name("twenties"), age_name("46"), age_name("")
    ('20s', '46', None)
    """
    word = (word or "").strip()
    return _AGES.get(word.lower(), word) or None


def emotion_name(word: str | None) -> str | None:
    """Return an emotion as an adjective; None for what names none (other, no agreement).

    >>> emotion_name("joy"), emotion_name("ANG"), emotion_name("xxx")
    ('Happy', 'Angry', None)
    """
    return _EMOTION_NAMES.get((word or "").strip().lower())
