"""Attributes that the questions are about, with their values and wordings, and words to read."""

from collections.abc import Mapping
from dataclasses import dataclass

from desta.evaluation.benchmarks.attributes.score import OTHER_WORDS
from desta.records import Domain
from desta.sources.glossary import EMOTIONS, NOISE_LEVELS
from desta.sources.languages import LANGUAGES
from desta.sources.rendered.instruments import FAMILIES, INSTRUMENTS
from desta.sources.sound.classes import CLASSES

KINDS = ("stated", "inferred", "absent", "format")
"""Kinds of questions: what the right answer rests on, or that its form is prescribed."""
UNKNOWN = "Unknown"
"""Right answer to a question about what is neither stated nor follows."""
LANGUAGE_CODES = ("en", "es", "fr", "hi", "it", "ja", "pt", "zh")
"""Languages of `desta.sources.rendered.sentences`."""

_LEVELS = ("Very low", "Low", "Normal", "High", "Very high")
_AGES = {
    "20s": "twenties",
    "30s": "thirties",
    "40s": "forties",
    "50s": "fifties",
    "60s": "sixties",
    "70s": "seventies",
}


@dataclass(frozen=True, kw_only=True)
class Attribute:
    """Values of an attribute, and questions for it."""

    values: tuple[str, ...]
    wordings: tuple[str, ...]
    """Questions, in different words."""


ATTRIBUTES: Mapping[str, Attribute] = {
    "Language": Attribute(
        values=tuple(LANGUAGES[code] for code in LANGUAGE_CODES),
        wordings=("Which language is spoken?", "In which language are the words?"),
    ),
    "Gender": Attribute(
        values=("Female", "Male"),
        wordings=("Is the voice female or male?", "What is the sex of the speaker?"),
    ),
    "Age": Attribute(
        values=tuple(_AGES), wordings=("How old is the speaker?", "What is the speaker's age?")
    ),
    "Emotion": Attribute(
        values=tuple(EMOTIONS),
        wordings=("Which emotion does the voice express?", "How does the speaker feel?"),
    ),
    "Pitch": Attribute(
        values=_LEVELS, wordings=("How high is the voice?", "What is the pitch of the voice?")
    ),
    "Volume": Attribute(
        values=_LEVELS, wordings=("How loud is the voice?", "What is the volume of the voice?")
    ),
    "Speaking speed": Attribute(
        values=("Very slow", "Slow", "Normal", "Fast", "Very fast"),
        wordings=("How fast does the person speak?", "What is the speaking speed?"),
    ),
    "Noise level": Attribute(
        values=tuple(NOISE_LEVELS),
        wordings=("How noisy is the recording?", "What is the noise level?"),
    ),
    "Sound": Attribute(
        values=tuple(dict.fromkeys(sound for sounds in CLASSES.values() for sound in sounds)),
        wordings=("What makes the sound?", "Which sound is it?"),
    ),
    "Sound class": Attribute(
        values=tuple(CLASSES),
        wordings=("What kind of sound is it?", "To which class does the sound belong?"),
    ),
    "Instrument": Attribute(
        values=tuple(dict.fromkeys(each.name for each in INSTRUMENTS.values())),
        wordings=("Which instrument is played?", "What is the name of the instrument?"),
    ),
    "Instrument family": Attribute(
        values=FAMILIES,
        wordings=(
            "To which family does the instrument belong?",
            "What is the family of the instrument?",
        ),
    ),
    "Tempo": Attribute(
        values=("Slow", "Medium", "Fast"),
        wordings=("How fast is the music?", "What is the tempo of the music?"),
    ),
    "Second note": Attribute(
        values=("Higher", "Lower"),
        wordings=(
            "Is the second note higher or lower than the first?",
            "How does the second note compare with the first?",
        ),
    ),
}
"""Name in seed descriptions -> what can be asked."""

STATED: Mapping[Domain, tuple[str, ...]] = {
    "speech": (
        *("Language", "Gender", "Age", "Emotion"),
        *("Pitch", "Volume", "Speaking speed", "Noise level"),
    ),
    "sound": ("Sound", "Sound class"),
    "music": ("Instrument", "Instrument family", "Tempo", "Second note"),
}
"""Attributes that a clip may state, in the order of its seed description."""

SYNONYMS: Mapping[str, tuple[str, ...]] = {
    **OTHER_WORDS,
    **{age: (word,) for age, word in _AGES.items()},
    UNKNOWN: (
        *("not stated", "not mentioned", "not given", "not specified", "not provided"),
        *("not known", "not clear", "unclear", "unspecified", "unstated", "no information"),
        *("cannot be told", "can not be told", "cannot tell", "cannot be determined"),
        *("not possible to tell", "not possible to determine", "impossible to tell"),
    ),
}
"""Words that count as naming a value, beside the value itself."""

PEOPLE: Mapping[str, tuple[str, ...]] = {
    "Female": ("A woman", "A girl", "An old woman", "A young woman", "A grandmother"),
    "Male": ("A man", "A boy", "An old man", "A young man", "A grandfather"),
}
ACTIONS = (
    *("talks nearby as water pours", "laughs while a door opens", "counts slowly to ten"),
    *("sings in a large hall", "reads the news on the radio", "coughs and then speaks"),
    *("whispers close to the microphone", "shouts over the noise of an engine"),
)
"""Verb phrases for a person who is heard."""
FEELINGS: Mapping[str, tuple[str, ...]] = {
    "Angry": (
        "How dare you touch my letters, get out of my house at once!",
        "I have told you a hundred times to stop it, and I am furious!",
        "You ruined everything, and I will never forgive you for it!",
    ),
    "Disgusted": (
        "Ugh, there is mould all over the bread, I feel sick.",
        "That is revolting, please take this rotten fish away.",
        "Yuck, something slimy is growing in the sink.",
    ),
    "Fearful": (
        "Please stay with me, I am so afraid of the dark.",
        "Somebody is following us, and my hands are shaking.",
        "Don't open that door, I am terrified of what is behind it.",
    ),
    "Happy": (
        "I got the job, this is the best day of my life!",
        "We are all together at last, how wonderful!",
        "Hooray, she said yes, I could dance all night!",
    ),
    "Sad": (
        "He died in the spring, and I still cry every evening.",
        "Nobody came to say goodbye, and my heart is heavy.",
        "I lost my best friend, and nothing cheers me up.",
    ),
    "Surprised": (
        "What, you are already here? I never expected that!",
        "Oh my, a giraffe in our garden, I can't believe my eyes!",
        "Wow, I did not know that you could play the violin!",
    ),
}
"""Emotion -> words that express it."""
NAMES = ("Ann", "Ben", "Clara")
"""Speakers of a conversation."""
CLEAR_FAMILIES = ("Keyboard", "Strings", "Brass", "Woodwind", "Percussion")
"""Families of which no instrument belongs to another one as well."""
