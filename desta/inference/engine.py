"""Conversations about clips -> answers.

For every clip: decode, cut into windows, encode, transcribe where no text was given. Then lay out
the tokens, fuse, generate. Batches are answered in one pass; in float32, greedy answers do not
depend on what else is in the batch (in bfloat16 a tie may fall the other way).
"""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import TextIteratorStreamer

from desta import audio
from desta.data.batching import Batch, collate
from desta.data.layout import Layout, Tokens, check_locators, wrap_locators
from desta.errors import DataError
from desta.inference.transcribe import Transcriber
from desta.llm.base import Sampling
from desta.model import checkpoint
from desta.model.checkpoint import Loaded
from desta.model.config import Dtype
from desta.model.generation import generate
from desta.records import AudioRef, Message

_MAX_WINDOWS = 16  # encoded at once: enough to keep the cores busy, little enough to fit


@dataclass(frozen=True)
class Answer:
    """What the model says, and what it took as said in the clips."""

    text: str
    ids: list[int]
    """New token ids, end token included."""
    audios: tuple[AudioRef, ...]
    """The clips of the conversation with the transcriptions that were used."""


@dataclass(frozen=True)
class _Clip:
    """A clip as it was read."""

    ref: AudioRef
    samples: NDArray[np.float32]
    bounds: list[tuple[int, int]]
    """First sample of each window, and the one after its last."""

    @property
    def windows(self) -> list[NDArray[np.float32]]:
        return [self.samples[start:end] for start, end in self.bounds]


@dataclass(frozen=True)
class _Heard:
    """A clip, ready to be laid out."""

    ref: AudioRef
    num_windows: int


@dataclass(frozen=True)
class _Prepared:
    """A batch that the backbone can continue."""

    batch: Batch
    embeddings_BSE: Tensor
    audios: list[tuple[AudioRef, ...]]


@dataclass(frozen=True)
class Stream:
    """An answer that is being written."""

    pieces: Iterator[str]
    audios: tuple[AudioRef, ...]
    """The clips of the conversation with the transcriptions that are used."""


class Engine:
    """Answers questions about clips with one model."""

    def __init__(self, loaded: Loaded, *, language: str | None = None) -> None:
        """Wrap a loaded model.

        Args:
            loaded: model and tokenizer.
            language: what is spoken, for transcribing; None lets Whisper find out.
        """
        self.model = loaded.model.eval()
        self.tokenizer = loaded.tokenizer
        self.layout = Layout(loaded.tokenizer, **loaded.layout_options)
        self.language = language
        self.system_prompt = loaded.system_prompt
        self.backbone_directory = loaded.backbone_directory
        self._encoder_directory = loaded.encoder_directory

    @classmethod
    def load(
        cls,
        name: str | Path,
        *,
        dtype: Dtype | None = None,
        device: str = "cpu",
        language: str | None = None,
    ) -> "Engine":
        """Load a model directory or Hub id; see `desta.model.checkpoint.load`."""
        return cls(checkpoint.load(name, dtype=dtype, device=device), language=language)

    @cached_property
    def transcriber(self) -> Transcriber:
        """Whisper with its decoder; loaded when the first clip without text comes."""
        return Transcriber.load(self._encoder_directory, device=self.model.device)

    def answer(self, conversations: Sequence[Sequence[Message]], sampling: Sampling) -> list[str]:
        """Answer a batch of conversations and return the texts alone."""
        return [answer.text for answer in self.respond(conversations, sampling)]

    @torch.no_grad()
    def respond(
        self, conversations: Sequence[Sequence[Message]], sampling: Sampling
    ) -> list[Answer]:
        """Answer a batch of conversations.

        Args:
            conversations: messages whose content holds one locator per clip.
            sampling: how tokens are chosen; seed PyTorch beforehand if not greedy.

        Raises:
            DataError: a clip cannot be read, locators and clips differ in number, or a
                conversation does not fit into the backbone's context.
        """
        prepared = self._prepare(conversations, sampling)
        rows = generate(
            self.model,
            self.tokenizer,
            prepared.embeddings_BSE,
            prepared.batch.attention_mask_BS,
            sampling,
        )
        return [
            Answer(self.tokenizer.decode(ids, skip_special_tokens=True).strip(), ids, audios)
            for ids, audios in zip(rows, prepared.audios, strict=True)
        ]

    def stream(self, conversation: Sequence[Message], sampling: Sampling) -> Stream:
        """Start to answer one conversation; see `respond` for what can go wrong."""
        with torch.no_grad():
            prepared = self._prepare([conversation], sampling)
        return Stream(self._write(prepared, sampling), prepared.audios[0])

    def _write(self, prepared: _Prepared, sampling: Sampling) -> Iterator[str]:
        """Generate in a thread of its own, and yield what it has written."""
        streamer = TextIteratorStreamer(self.tokenizer, skip_special_tokens=True)
        failure: list[BaseException] = []

        def write() -> None:
            try:
                generate(
                    self.model,
                    self.tokenizer,
                    prepared.embeddings_BSE,
                    prepared.batch.attention_mask_BS,
                    sampling,
                    streamer=streamer,
                )
            except BaseException as error:  # handed over to the reader below
                failure.append(error)
                streamer.end()

        writer = threading.Thread(target=write, daemon=True)
        writer.start()
        yield from streamer
        writer.join()
        if failure:
            raise failure[0]

    def _prepare(self, conversations: Sequence[Sequence[Message]], sampling: Sampling) -> _Prepared:
        heard, audio_WQE = self._hear(conversations)
        sequences: list[Tokens] = []
        for messages, clips in zip(conversations, heard, strict=True):
            told = with_audios(messages, [clip.ref for clip in clips])
            wrapped = wrap_locators(told, self.layout.locator)
            tokens = self.layout.context(wrapped, [clip.num_windows for clip in clips])
            self._check_room(tokens, sampling)
            sequences.append(tokens)
        batch = collate(sequences, [], pad_id=self.layout.pad_id)
        embeddings = self.model.embed(batch.input_ids_BS, audio_WQE, batch.places_P2)
        return _Prepared(batch, embeddings, [tuple(c.ref for c in clips) for clips in heard])

    def _hear(
        self, conversations: Sequence[Sequence[Message]]
    ) -> tuple[list[list[_Heard]], Tensor | None]:
        """Read all clips, encode their windows together, transcribe where no text is given.

        Returns:
            The clips of each conversation, and the audio tokens of all windows in order.
        """
        refs = [check_locators(messages, self.layout.locator) for messages in conversations]
        clips = [_read(ref) for of_conversation in refs for ref in of_conversation]
        if not clips:
            return [[] for _ in refs], None
        windows = [window for clip in clips for window in clip.windows]
        places = list(accumulate((len(clip.windows) for clip in clips), initial=0))
        tokens_WQE: list[Tensor] = []
        last_WTD: list[Tensor] = []  # for transcribing, where both read 30-second windows
        for start in range(0, len(windows), _MAX_WINDOWS):
            encoded = self.model.encode(self.model.mel(windows[start : start + _MAX_WINDOWS]))
            tokens_WQE.append(self.model.audio_tokens(encoded))
            if self.model.config.window == "30s":
                last_WTD += encoded.last_BTD
        heard = []
        for clip, first in zip(clips, places, strict=False):
            ref = clip.ref
            if ref.text is None:
                shared = last_WTD[first : first + len(clip.windows)]
                text = self.transcriber.transcribe_clip(
                    clip.samples,
                    clip.bounds,
                    language=self.language,
                    encoded=torch.stack(shared) if shared else None,
                )
                ref = replace(ref, text=text)
            heard.append(_Heard(ref, len(clip.windows)))
        rest = iter(heard)
        return [[next(rest) for _ in of_conversation] for of_conversation in refs], torch.cat(
            tokens_WQE
        )

    def _check_room(self, tokens: Tokens, sampling: Sampling) -> None:
        limit = self.model.max_positions
        if len(tokens.ids) + sampling.max_new_tokens <= limit:
            return
        num_audio = sum(span.num_audio_tokens for span in tokens.spans)
        num_text = sum(span.num_text_tokens for span in tokens.spans)
        num_other = len(tokens.ids) - num_audio - num_text
        raise DataError(
            f"the conversation needs {num_audio} audio tokens, {num_text} for transcriptions, "
            f"{num_other} for the messages and {sampling.max_new_tokens} for the answer, "
            f"but the backbone reads {limit}",
            fix="ask about fewer or shorter clips, or lower max_new_tokens",
        )


def _read(ref: AudioRef) -> _Clip:
    samples = audio.load(ref.audio)
    return _Clip(ref, samples, audio.split_windows(samples))


def with_audios(messages: Sequence[Message], refs: Sequence[AudioRef]) -> list[Message]:
    """Return the messages with these clips, now with their texts, in place of their own."""
    rest = iter(refs)
    return [replace(m, audios=tuple(next(rest) for _ in m.audios)) for m in messages]
