"""Clips for measurements, and questions and training pairs about them."""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from desta import audio
from desta.data.layout import wrap_locators
from desta.errors import DataError
from desta.inference.conversation import SYSTEM_PROMPT, user_message
from desta.model.backbone.chat import encode_text
from desta.model.checkpoint import Loaded
from desta.records import LOCATOR, AudioTextPair, Message
from measure.settings import Scale

PROMPT = "What can be heard in this clip, and who might be speaking?"
QUESTIONS = (
    PROMPT,
    "Which language is spoken here, and how well can it be understood?",
    "How old might the speaker be, and in which mood do they speak?",
    "Where might this have been recorded, and what was it made for?",
)
SECOND_PROMPT = "And how does the voice sound?"
SPOKEN = "Please hold the line while I try to connect you."
RESPONSE = "The clip holds a calm voice that asks the caller to wait a little while longer. " * 10


def write_clips(source: Path | None, folder: Path, *, count: int, seconds: int) -> list[Path]:
    """Write clips of one length into a folder.

    Recordings are those of `source` nearest to that length, cut, or padded with silence; silent
    ones are left out.
    """
    length = seconds * audio.SAMPLE_RATE
    if source is None:
        clips = [speech_like(np.random.default_rng(seed), seconds) for seed in range(count)]
    else:
        formats = soundfile.available_formats()
        files = sorted(p for p in source.rglob("*") if p.suffix[1:].upper() in formats)
        files.sort(key=lambda path: abs(audio.probe_duration(path) - seconds))
        loud = (clip for clip in map(audio.load_audio, files) if not audio.is_silent(clip))
        clips = [clip[:length] for clip in islice(loud, count)]
        if len(clips) < count:
            raise DataError(
                f"{source} holds {len(clips)} recordings that are not silent",
                fix=f"give a folder of {count}",
            )
    paths = [folder / f"{seconds}s-{number}.wav" for number in range(count)]
    for path, clip in zip(paths, clips, strict=True):
        soundfile.write(path, np.pad(clip, (0, length - len(clip))), audio.SAMPLE_RATE)
    return paths


def speech_like(generator: np.random.Generator, seconds: int) -> NDArray[np.float32]:
    """Return a synthetic voice without words that the voice activity detector takes for speech.

    Pitch and formants glide, and there are two syllables per second.
    """
    times = np.arange(seconds * audio.SAMPLE_RATE) / audio.SAMPLE_RATE
    knots = np.arange(0, seconds + 0.2, 0.2)
    pitch, *formants = (  # Hz
        np.interp(times, knots, generator.uniform(lowest, highest, len(knots)))
        for lowest, highest in ((100, 180), (300, 800), (900, 2200), (2300, 3000))
    )
    phase = 2 * np.pi * np.cumsum(pitch) / audio.SAMPLE_RATE
    voice = np.zeros_like(times)
    for harmonic in range(1, 25):
        gain = sum(1 / (1 + ((harmonic * pitch - formant) / 100) ** 2) for formant in formants)
        voice += gain * np.sin(harmonic * phase) / harmonic
    voice *= np.clip(np.sin(4 * np.pi * times) + 0.6, 0, 1)
    voice += 0.01 * generator.standard_normal(len(times))  # breath
    return (0.5 * voice / np.abs(voice).max()).astype(np.float32)


def ask(path: Path, text: str | None, question: str = PROMPT) -> list[Message]:
    """Return a question about a clip; without a text, Whisper transcribes the clip."""
    system = Message(role="system", content=SYSTEM_PROMPT)
    return [system, user_message(question, [path], locator=LOCATOR, texts=[text])]


def ask_again(conversation: Sequence[Message], answer: str) -> list[Message]:
    """Return the conversation with its answer and a second question about the same clip."""
    return [
        *conversation,
        Message(role="assistant", content=answer),
        Message(role="user", content=SECOND_PROMPT),
    ]


def make_pairs(loaded: Loaded, paths: Sequence[Path], scale: Scale) -> list[AudioTextPair]:
    """Create pairs, all of `QUESTIONS` about each of the first clips.

    The lengths of responses are spread over `scale.response_tokens`.
    """
    generator = np.random.default_rng(0)
    lengths = generator.integers(*scale.response_tokens, scale.num_pairs, endpoint=True)
    words = encode_text(loaded.tokenizer, RESPONSE)
    asked = [(path, question) for question in QUESTIONS for path in paths[: _num_clips(scale)]]
    return [
        AudioTextPair(
            id=str(number),
            dataset="speed",
            seed_description="",
            prompt=question,
            response=loaded.tokenizer.decode(words[:length]),
            messages=tuple(wrap_locators(ask(path, SPOKEN, question), LOCATOR)),
        )
        for number, (length, (path, question)) in enumerate(zip(lengths, asked, strict=True))
    ]


def clip_numbers(scale: Scale) -> NDArray[np.int64]:
    """Return the number of the clip of every pair of `make_pairs`."""
    return np.arange(scale.num_pairs) % _num_clips(scale)


def _num_clips(scale: Scale) -> int:
    return scale.num_pairs // len(QUESTIONS)
