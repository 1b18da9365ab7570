"""Attributes in the text of a seed description, which is all that a pair keeps of its metadata."""

import re

_NAME = re.compile(r"[(,]\s*(?P<name>[^\W\d][\w \-]*?(?:\s?\(C50\))?)\s*:", re.IGNORECASE)
_PUBLISHED = {
    "activation": "arousal",
    "audio category": "sound",
    "family": "instrument",
    "first language": "native language",
    "mos score": "mean opinion score",
    "noise type": "noise level",
    "pitch type": "pitch",
    "reverberation(c50)": "reverberation (c50)",
    "speaker emotion": "intended emotion",
    "type": "sound",
}
"""Name in the published data set -> ours, both case folded."""


def stated_names(description: str) -> list[str]:
    """Return the names of the attributes that a description states, case folded.

    A transcription that looks like one, `(Note: ...)`, counts too.

    >>> stated_names("[00:00-00:02] Oh, well. (Gender: Female, Noise Type: clean, Duration: 2s)")
    ['gender', 'noise level', 'duration']
    """
    return [_plain(match["name"]) for match in _NAME.finditer(description)]


def stated_value(description: str, attribute: str) -> str | None:
    """Return the value of an attribute; None if it is not stated, or of several clips.

    >>> stated_value("[00:00-00:02] (Language: French, Duration: 2s)", "Language")
    'French'
    """
    found = [
        description[match.end() :]
        for match in _NAME.finditer(description)
        if _plain(match["name"]) == attribute.casefold()
    ]
    if len(found) != 1:
        return None
    return re.split(r", [^\W\d][\w \-]*:|[()]", found[0])[0].strip() or None


def stated_values(description: str) -> dict[str, str]:
    """Return attribute -> value, in the order of the description, names case folded.

    >>> stated_values("[00:00-00:02] (Language: French, Duration: 2s)")
    {'language': 'French', 'duration': '2s'}
    """
    values = {name: stated_value(description, name) for name in stated_names(description)}
    return {name: value for name, value in values.items() if value}


def _plain(name: str) -> str:
    folded = name.casefold().replace("_", " ")
    return _PUBLISHED.get(folded, folded)
