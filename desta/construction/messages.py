"""The conversation around clips, as the backbone reads it and as the model is trained on it.

Both are the same messages: in training a clip is heard at its locator, between `<start_audio>` and
`<end_audio>`; when the backbone writes its response, the seed description is read there.
"""

from collections.abc import Sequence
from dataclasses import replace

from desta.construction.prompts import Prompt
from desta.errors import ConfigError
from desta.records import END_AUDIO, LOCATOR, START_AUDIO, AudioRef, Message


def training_messages(system: str, prompt: Prompt, *clips: AudioRef) -> tuple[Message, ...]:
    """Build the conversation up to the response: an optional system prompt, then the question.

    Every clip stands on a line of its own, in front of the prompt.

    Raises:
        ConfigError: a locator stands in the words, where nothing is to be heard.
    """
    for words in (system, prompt.text):
        if LOCATOR in words:
            raise ConfigError(f'"{words}" holds {LOCATOR}', fix="take it out of the prompt")
    heard = "\n".join([f"{START_AUDIO}{LOCATOR}{END_AUDIO}"] * len(clips))
    question = Message(role="user", content=f"{heard}\n\n{prompt.text}", audios=clips)
    return (Message(role="system", content=system), question) if system else (question,)


def generation_messages(messages: Sequence[Message], *descriptions: str) -> tuple[Message, ...]:
    """Put seed descriptions where the clips are heard: text generators read a clip's text.

    Args:
        messages: as they are trained on.
        descriptions: one for each clip, in the order in which they are heard.
    """
    rest = iter(descriptions)
    return tuple(
        replace(m, audios=tuple(replace(clip, text=next(rest)) for clip in m.audios))
        for m in messages
    )
