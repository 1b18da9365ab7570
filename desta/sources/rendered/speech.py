"""Plan of rendered speech: which voice reads which sentences, and how fast."""

import random
from collections.abc import Sequence

from desta.sources.rendered.folder import Job, interleave
from desta.sources.rendered.sentences import read_sentences
from desta.sources.rendered.voices import VOICES, Voice, draw_blends, find_voice

_SLOWEST, _FASTEST = 0.85, 1.2
"""Speeds, relative to a voice's own, that are drawn from uniformly."""


def plan_speech(
    names: Sequence[str] = (), *, num_sentences: int = 24, num_blends: int = 0, seed: int = 0
) -> list[Job]:
    """Return the clips, the voices in turn.

    Which sentences a voice reads depends on the seed and its name only, and those of a smaller
    number are among those of a larger one. Voices that are not for training read none of those that
    others read.

    Args:
        names: voices and blends; none means all voices.
        num_sentences: sentences for each voice, all that it may read if there are fewer.
        num_blends: further voices of each language and sex, blended from two.
        seed: seed of the draw.

    Raises:
        ConfigError: there is no such voice.
    """
    voices = [find_voice(name) for name in dict.fromkeys(names)] if names else list(VOICES.values())
    voices += draw_blends(num_blends, seed=seed)
    return interleave([_read_by(voice, num_sentences, seed) for voice in voices])


def _read_by(voice: Voice, num_sentences: int, seed: int) -> list[Job]:
    draw = random.Random(f"{seed}:{voice.name}")
    sentences = list(read_sentences(voice.language, held_out=voice.split != "train"))
    draw.shuffle(sentences)
    speeds = [round(draw.uniform(_SLOWEST, _FASTEST), 2) for _ in sentences]
    return [
        Job(
            id=f"{voice.name}/{sentence.id}",
            facts={
                "voice": voice.name,
                "accent": voice.accent,
                "sentence": sentence.id,
                "topic": sentence.topic,
                "text": sentence.text,
                "reading": sentence.reading,
                "speed": speed,
            },
        )
        for sentence, speed in list(zip(sentences, speeds, strict=True))[:num_sentences]
    ]
