"""What one can reach without hearing: the same backbone with the clips taken out.

Each baseline turns an example into a conversation of plain text, which the same engine answers.
The tags around the clip stay, so that the messages differ in nothing but the clip.
"""

from collections.abc import Callable

from desta.evaluation.base import Example
from desta.records import LOCATOR, NO_TRANSCRIPTION, Message


def no_audio(example: Example) -> tuple[Message, ...]:
    """Leave one space between the tags, as if nothing were known of the clip."""
    return _put(example, NO_TRANSCRIPTION)


def transcription_only(example: Example) -> tuple[Message, ...]:
    """Put the words of the clip between the tags: what a cascade of recogniser and LLM knows."""
    return _put(example, example.transcription)


BASELINES: dict[str, Callable[[Example], tuple[Message, ...]]] = {
    "no audio": no_audio,
    "transcription only": transcription_only,
}


def _put(example: Example, text: str) -> tuple[Message, ...]:
    text = text.replace(LOCATOR, "")  # in plain text it would ask for a clip
    return tuple(
        Message(role=m.role, content=m.content.replace(LOCATOR, text) if m.audios else m.content)
        for m in example.messages
    )
