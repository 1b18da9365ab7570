"""Messages around clips, for generation by the backbone and for training.

Both are the same messages, with `<start_audio>` and `<end_audio>` around each locator. In training
a locator stands for the audio; in generation it is replaced by the seed description.
"""

from collections.abc import Sequence
from dataclasses import replace

from desta.construction.prompts import Prompt
from desta.errors import ConfigError
from desta.records import (
    END_AUDIO,
    LOCATOR,
    START_AUDIO,
    AudioRef,
    AudioTextPair,
    Message,
    with_audios,
)


def training_messages(system: str, prompt: Prompt, *clips: AudioRef) -> tuple[Message, ...]:
    """Return the conversation before the response: an optional system prompt, clips and prompt.

    Every clip is on a line of its own, in front of the prompt.

    Raises:
        ConfigError: a prompt holds a locator.
    """
    for words in (system, prompt.text):
        if LOCATOR in words:
            raise ConfigError(f'"{words}" holds {LOCATOR}', fix="take it out of the prompt")
    heard = "\n".join([f"{START_AUDIO}{LOCATOR}{END_AUDIO}"] * len(clips))
    question = Message(role="user", content=f"{heard}\n\n{prompt.text}", audios=clips)
    return (Message(role="system", content=system), question) if system else (question,)


def generation_messages(messages: Sequence[Message], *descriptions: str) -> tuple[Message, ...]:
    """Return messages with seed descriptions as the texts of the clips, which generators read.

    Args:
        messages: training messages.
        descriptions: one per clip, in the order of the locators.
    """
    clips = (clip for message in messages for clip in message.audios)
    told = [replace(c, text=text) for c, text in zip(clips, descriptions, strict=False)]
    return with_audios(messages, told)


def described_messages(pair: AudioTextPair) -> tuple[Message, ...] | None:
    """Return the messages of a pair as its backbone read them; None if a clip is not described."""
    num_clips = sum(len(message.audios) for message in pair.messages)
    told = pair.seed_description.strip().split("\n") if num_clips > 1 else [pair.seed_description]
    if num_clips and (len(told) != num_clips or not all(line.strip() for line in told)):
        return None
    return generation_messages(pair.messages, *told)
