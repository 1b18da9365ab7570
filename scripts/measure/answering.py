"""Measurement of answers with one of the settings; uses private parts of the engine."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean

from torch import Tensor

from desta import audio
from desta.data.layout import wrap_locators
from desta.inference.clip_cache import EncodedClip
from desta.inference.engine import Engine, Limits
from desta.inference.requests import Answer
from desta.inference.transcribe import Transcriber
from desta.model.backbone.decoding import end_ids
from desta.model.backbone.sampling import Sampling
from desta.model.checkpoint import Loaded
from desta.records import NO_TRANSCRIPTION, AudioRef, Message, with_audios
from desta.vad import spoken_windows
from measure.clips import SPOKEN, ask, ask_again
from measure.flops import first_token_flops
from measure.published import PublishedTranscriber
from measure.settings import Scale, Settings

FIRST_TRANSCRIBED = "first token, new clip, transcribed, s"
FIRST_GIVEN = "first token, new clip, text given, s"
FIRST_AGAIN = "first token, second question, transcribed, s"
TRANSCRIBING = "transcribing, s per s of audio"


def answers_a_second(batch_size: int, text: str | None) -> str:
    """Return the name of the measure of answers per second.

    >>> answers_a_second(4, None)
    'answers/s, 4 at a time, transcribed'
    """
    return f"answers/s, {batch_size} at a time, {'transcribed' if text is None else 'text given'}"


class Side:
    """A model that answers with one of the settings."""

    def __init__(self, loaded: Loaded, settings: Settings, other_clip: Path) -> None:
        self.settings = settings
        self._other_clip = other_clip
        self._loaded = loaded
        encoder = loaded.model.encoder
        self._transcriber = Transcriber.load(
            loaded.parts.encoder.place,
            encoder=encoder,
            device=loaded.model.device,
            dtype=encoder.conv1.weight.dtype,
            window=settings.window,
        )
        self._published = (
            None
            if settings.own_transcriber
            else PublishedTranscriber(loaded.parts.encoder.place, str(loaded.model.device))
        )
        self.reset()

    def reset(self) -> None:
        """Replace the engine by a new one that has answered a question about one other clip."""
        limits = Limits()
        if not self.settings.clip_cache:
            limits = replace(limits, audio_cache_bytes=0)
        if not self.settings.prefix_cache:
            limits = replace(limits, prefix_cache_bytes=0)
        self._engine = Engine(self._loaded, limits=limits)
        self._engine._transcriber = self._transcriber
        self.answer([ask(self._other_clip, SPOKEN)], 1)

    def answer(
        self, conversations: Sequence[Sequence[Message]], max_new_tokens: int
    ) -> list[Answer]:
        """Return the answers to simultaneous requests."""
        if not self.settings.encode_once:
            conversations = [self._with_texts(conversation) for conversation in conversations]
        sampling = Sampling(max_new_tokens=max_new_tokens)
        if self.settings.batched:
            answers = self._engine.respond(conversations, sampling)
        else:
            answers = [self._engine.respond([c], sampling)[0] for c in conversations]
        assert all(len(answer.ids) == max_new_tokens for answer in answers)
        return answers

    def transcribe(self, paths: Sequence[Path]) -> list[str | None]:
        """Return the transcriptions of clips; `encode_once` also computes audio tokens."""
        if not self.settings.encode_once:
            return [self._transcribe_published(path, None) for path in paths]
        refs = [AudioRef(audio=str(path), text=None) for path in paths]
        batches = [refs] if self.settings.batched else [[ref] for ref in refs]
        encoded = [clip for batch in batches for clip in self._engine.audio_encoder.encode(batch)]
        return [clip.text if isinstance(clip, EncodedClip) else None for clip in encoded]

    def _transcribe_published(self, path: str | Path, given: str | None) -> str:
        """Return the given text, or a transcription for which Whisper encodes separately."""
        if self._published is not None:
            return self._published.text(path, given)
        if given is not None:
            return given
        samples = audio.load_audio(path)
        bounds = audio.split_windows(samples)
        spoken = [samples[slice(*bounds[i])] for i in spoken_windows(samples, bounds)]
        return " ".join(filter(None, self._transcriber.transcribe(spoken))) or NO_TRANSCRIPTION

    def _with_texts(self, conversation: Sequence[Message]) -> list[Message]:
        refs = [
            replace(ref, text=self._transcribe_published(ref.audio, ref.text))
            for message in conversation
            for ref in message.audios
        ]
        return with_audios(conversation, refs)


def measure(side: Side, paths: Sequence[Path], seconds: int, scale: Scale) -> dict[str, float]:
    """Return the measures of one round over clips of one length."""
    few = paths[: scale.num_alone]
    found = {
        FIRST_TRANSCRIBED: mean(_first_token(side, ask(path, None)) for path in few),
        FIRST_GIVEN: mean(_first_token(side, ask(path, SPOKEN)) for path in few),
        FIRST_AGAIN: mean(_second_question(side, path, scale) for path in few),
        TRANSCRIBING: _transcribing(side, few, seconds),
    }
    for text in (SPOKEN, None):
        alone = _answers(side, few, text, 1, scale)
        for size in scale.batch_sizes:  # without batching, requests wait for each other
            together = size > 1 and side.settings.batched
            found[answers_a_second(size, text)] = (
                _answers(side, paths[:size], text, size, scale) if together else alone
            )
    return found


def count_spoken(side: Side, paths: Sequence[Path]) -> int:
    """Return the number of clips in which Whisper finds words."""
    side.reset()
    return sum(text not in (None, NO_TRANSCRIPTION) for text in side.transcribe(paths))


def least_flops(side: Side, path: Path, seconds: int) -> float:
    """Return the least operations for the first token about a new clip with given text.

    The prompt before the audio is cached from the question about another clip.
    """
    engine = side._engine
    asked = wrap_locators(ask(path, SPOKEN), engine.layout.locator)
    tokens = engine.layout.context(asked, [1])
    num_new = len(tokens.ids) - tokens.spans[0].start
    return first_token_flops(engine.model, num_frames=50 * seconds, num_tokens=num_new)


def _first_token(side: Side, conversation: Sequence[Message]) -> float:
    side.reset()
    started = time.perf_counter()
    side.answer([conversation], 1)
    return time.perf_counter() - started


def _second_question(side: Side, path: Path, scale: Scale) -> float:
    """Time the first token of the second answer; generating the first answer is not timed."""
    side.reset()
    asked = ask(path, None)
    [first] = side.answer([asked], scale.new_tokens)
    started = time.perf_counter()
    side.answer([ask_again(asked, first.text)], 1)
    return time.perf_counter() - started


def _transcribing(side: Side, paths: Sequence[Path], seconds: int) -> float:
    side.reset()
    started = time.perf_counter()
    side.transcribe(paths)
    return (time.perf_counter() - started) / (seconds * len(paths))


def _answers(
    side: Side, paths: Sequence[Path], text: str | None, batch_size: int, scale: Scale
) -> float:
    side.reset()
    asked = [ask(path, text) for path in paths]
    started = time.perf_counter()
    for start in range(0, len(asked), batch_size):
        side.answer(asked[start : start + batch_size], scale.new_tokens)
    return len(asked) / (time.perf_counter() - started)


def never_end(loaded: Loaded) -> None:
    """Suppress end tokens, so that every answer has the requested length."""
    ends = end_ids(loaded.model.llm_model, loaded.tokenizer)

    def forbid(_module: object, _inputs: object, logits: Tensor) -> None:
        logits[..., list(ends)] = -1e4

    loaded.model.llm_model.get_output_embeddings().register_forward_hook(forbid)
