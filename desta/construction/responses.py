"""The conversation around a clip, as the backbone reads it and as the model is trained on it.

Both are the same messages: in training a clip is heard at the locator, between `<start_audio>` and
`<end_audio>`; when the backbone writes its response, the seed description is read there.
"""

from collections.abc import Sequence
from dataclasses import replace

from desta.construction.prompts import Prompt
from desta.errors import ConfigError
from desta.records import END_AUDIO, LOCATOR, START_AUDIO, AudioRef, Message


def training_messages(system: str, prompt: Prompt, clip: AudioRef) -> tuple[Message, ...]:
    """Build the conversation up to the response: an optional system prompt, then the question.

    Raises:
        ConfigError: a locator stands in the words, where nothing is to be heard.
    """
    for words in (system, prompt.text):
        if LOCATOR in words:
            raise ConfigError(f'"{words}" holds {LOCATOR}', fix="take it out of the prompt")
    content = f"{START_AUDIO}{LOCATOR}{END_AUDIO}\n\n{prompt.text}"
    question = Message(role="user", content=content, audios=(clip,))
    return (Message(role="system", content=system), question) if system else (question,)


def generation_messages(messages: Sequence[Message], description: str) -> tuple[Message, ...]:
    """Put the seed description where the clip is heard: text generators read a clip's text."""
    return tuple(
        replace(m, audios=tuple(replace(clip, text=description) for clip in m.audios))
        for m in messages
    )
