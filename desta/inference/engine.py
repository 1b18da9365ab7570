"""Inference engine: requests about clips -> answers.

Clips are encoded (`audio_encoding`), messages are laid out in tokens, audio tokens are put in their
places, and the backbone generates. A batch is answered in one pass, with separate settings for
every request; a request that fails returns its error, and the others are answered. In float32,
greedy answers do not depend on the rest of the batch (in bfloat16, ties may be broken differently).

Shape suffixes: S positions   E backbone width
"""

import hashlib
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar, get_args

import torch
from torch import Tensor

from desta.audio import MAX_SECONDS
from desta.config import suggest
from desta.data.layout import Layout, Tokens, check_locators, wrap_locators
from desta.errors import ConfigError, DestaError
from desta.generators.base import HELLO
from desta.inference.audio_encoding import AudioEncoder, with_text
from desta.inference.clip_cache import EncodedClip
from desta.inference.prefix_cache import PrefixCache, Symbol
from desta.inference.request_checks import check_clips, check_context, check_total_seconds
from desta.inference.requests import Answer, Request, RequestResult, Stream
from desta.inference.transcribe import Transcriber
from desta.isolation import error_of, in_halves
from desta.model import checkpoint
from desta.model.backbone.cpu.layers import pack_backbone
from desta.model.backbone.cpu.packing import pack_linears
from desta.model.backbone.decoding import (
    DecodingState,
    end_ids,
    generate,
    prefill,
    shared_length,
)
from desta.model.backbone.sampling import Sampling
from desta.model.backbone.writer import Writer
from desta.model.checkpoint import Loaded
from desta.model.config import AUTO, Dtype, Quantization
from desta.model.encoder.whisper import WhisperEncoder
from desta.model.precision import find_device
from desta.records import NO_TRANSCRIPTION, AudioRef, Message, with_audios
from desta.renamed import keywords

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of an engine."""

    max_seconds: float = MAX_SECONDS
    """Longest clip, and longest duration of all clips of a request together."""
    max_samples: float | None = None
    """Most samples of a clip as recorded, before they are resampled; None for no limit."""
    audio_cache_bytes: int = 256 * 2**20
    """Memory of the cache of encoded clips; 0 turns it off."""
    prefix_cache_bytes: int = 512 * 2**20
    """Memory of the cache of the backbone's keys and values; 0 turns it off."""
    num_threads: int = 4
    """Threads that decode recordings."""

    def __post_init__(self) -> None:
        if not self.max_seconds > 0:  # also refuses NaN, which no duration would exceed
            raise ConfigError(
                f"max_seconds = {self.max_seconds:g} allows no clip", fix="give more than 0"
            )


@dataclass(frozen=True)
class Prepared:
    """A request as input of the backbone."""

    tokens: Tokens
    embeddings_SE: Tensor
    symbols: list[Symbol]
    """Identity of each position, for the prefix cache."""
    audios: tuple[AudioRef, ...]
    """Its clips with the transcriptions that are used."""


class Engine:
    """Inference engine of one model; thread-safe."""

    def __init__(
        self,
        loaded: Loaded,
        *,
        language: str | None = None,
        read_again: bool | None = None,
        limits: Limits | None = None,
    ) -> None:
        """Wrap a loaded model.

        Args:
            loaded: model and tokenizer.
            language: spoken language, for transcription; None means that Whisper detects it.
            read_again: transcribe windows with few words for their speech again, in pieces
                (docs/lab/windows.md); None does so in windows of true length, not in those of 30 s,
                which are transcribed as published.
            limits: limits of clip length and memory.
        """
        limits = limits or Limits()
        self.model = loaded.model.eval()
        pack_backbone(self.model.llm_model)
        pack_linears(self.model.encoder.modules())
        pack_linears(  # its compute dtype is the encoder's: AudioEncoder._autocast
            self.model.connector.modules(), next(self.model.encoder.parameters()).dtype
        )
        self.tokenizer = loaded.tokenizer
        self.layout = Layout(loaded.tokenizer, **loaded.layout_options)
        self.system_prompt = loaded.system_prompt
        self.parts = loaded.parts
        self.end_ids = end_ids(self.model.llm_model, loaded.tokenizer)
        self.audio_encoder = AudioEncoder(
            self.model,
            self.load_transcriber,
            language=language,
            read_again=self.model.config.window == "tight" if read_again is None else read_again,
            max_seconds=limits.max_seconds,
            max_samples=limits.max_samples,
            cache_bytes=limits.audio_cache_bytes,
            num_threads=limits.num_threads,
        )
        self._max_seconds = limits.max_seconds
        self._prefixes = PrefixCache(self.model.llm_model, max_bytes=limits.prefix_cache_bytes)
        self._transcriber: Transcriber | None = None
        self._loading = threading.Lock()

    @classmethod
    @keywords(quantisation="quantization")
    def load(
        cls,
        name: str | Path,
        *,
        dtype: Dtype | None = None,
        quantization: Quantization | None = None,
        device: str = AUTO,
        language: str | None = None,
        read_again: bool | None = None,
        limits: Limits | None = None,
    ) -> "Engine":
        """Load a model from a directory or Hub id; see `desta.model.checkpoint.load`.

        Raises:
            ConfigError: a number format is unknown, or this machine has no such device.
            CheckpointError: there is no such model, or its weights do not fit.
        """
        for what, value, kind in (
            ("dtype", dtype, Dtype),
            ("quantization", quantization, Quantization),
        ):
            if value is not None and value not in get_args(kind):
                raise ConfigError(
                    f"{what} {value!r} is unknown", fix=suggest(str(value), get_args(kind))
                )
        loaded = checkpoint.load(name, dtype=dtype, quantization=quantization, device=device)
        return cls(loaded, language=language, read_again=read_again, limits=limits)

    def load_transcriber(self) -> Transcriber:
        """Return the Whisper transcriber; it is loaded once.

        Raises:
            ConfigError: the encoder cannot transcribe, and no other Whisper is named.
        """
        part, encoder = self.parts.transcriber, self.model.encoder
        if part is None:
            raise ConfigError(
                f'a clip has no text, and the encoder "{self.model.config.encoder}" cannot '
                "transcribe it",
                fix="give the text of every clip, or name a Whisper model as model.transcriber",
            )
        with self._loading:
            if self._transcriber is None:
                shared = None  # the same Whisper: one copy of its encoder will do
                if part == self.parts.encoder and isinstance(encoder, WhisperEncoder):
                    shared = encoder
                self._transcriber = Transcriber.load(
                    part.place,
                    encoder=shared,
                    device=self.model.device,
                    dtype=next(encoder.parameters()).dtype,
                    window=self.model.config.window,
                )
            return self._transcriber

    def to(self, device: str) -> None:
        """Move the model to a device, and clear the caches.

        Raises:
            ConfigError: this machine has no such device.
        """
        self.model.to(find_device(device))
        self.audio_encoder.clear_cache()
        self._prefixes.clear()
        self._transcriber = None

    def answer(self, conversations: Sequence[Sequence[Message]], sampling: Sampling) -> list[str]:
        """Return the text of the answer to each conversation of a batch."""
        return [answer.text for answer in self.respond(conversations, sampling)]

    def respond(
        self, conversations: Sequence[Sequence[Message]], sampling: Sampling
    ) -> list[Answer]:
        """Return the answer to each conversation of a batch.

        Args:
            conversations: messages whose content holds one locator per clip.
            sampling: sampling settings of all; seed PyTorch beforehand if not greedy.

        Raises:
            DataError: a clip cannot be read, locators and clips differ in number, or a
                conversation does not fit into the backbone's context.
        """
        replies = self.run([Request(messages=c, sampling=sampling) for c in conversations])
        return [reply.unwrap()[0] for reply in replies]

    def transcribe(self, refs: Sequence[AudioRef]) -> list[str]:
        """Return the transcriptions of clips; one space for a clip without speech.

        Raises:
            ConfigError: this model cannot transcribe.
            DataError: a clip cannot be read.
        """
        return [
            NO_TRANSCRIPTION if clip.text is None else clip.text
            for clip in map(
                _unwrap, self.audio_encoder.encode([replace(r, text=None) for r in refs])
            )
        ]

    def digest(self, conversation: Sequence[Message]) -> str:
        """Return a hash of the backbone's input embeddings, audio tokens included.

        Raises:
            DataError: as `respond`.
        """
        request = Request(messages=conversation, sampling=Sampling(max_new_tokens=1))
        embeddings_SE = _unwrap(self.prepare([request])[0]).embeddings_SE
        return hashlib.sha256(embeddings_SE.float().cpu().numpy().tobytes()).hexdigest()

    def run(self, requests: Sequence[Request]) -> list[RequestResult]:
        """Return the answers to each request of a batch, or its error."""
        prepared = self.prepare(requests)
        ready = [
            (request, p)
            for request, p in zip(requests, prepared, strict=True)
            if isinstance(p, Prepared)
        ]
        results = iter(in_halves(self._generate_batch, ready, alone=self._fail) if ready else [])
        return [
            RequestResult(error=p) if isinstance(p, DestaError) else next(results) for p in prepared
        ]

    def _fail(self, asked: tuple[Request, Prepared], error: Exception) -> RequestResult:
        """Return the error of a single request; raise it if the model is the cause."""
        self._check_model(error)
        return RequestResult(error=error_of(error, "the request"))

    def _check_model(self, error: Exception) -> None:
        """Raise the error if the simplest request fails as well."""
        try:
            tokens = self.layout.context([HELLO], [])
            prefill(self.model.llm_model, [self.model.sequence(tokens.ids, [])])
        except Exception:
            raise error from None

    def stream(self, request: Request) -> Stream:
        """Return the answer to one request as a stream.

        Raises:
            ConfigError: several answers are requested.
            DataError: as `respond`.
        """
        if request.num_answers != 1:
            raise ConfigError("a stream is one answer", fix="ask for num_answers = 1")
        prepared = _unwrap(self.prepare([request])[0])
        writer = self.writers(request)[0]

        def pieces() -> Iterator[str]:
            try:
                yield from self._generate_one(prepared, writer)
            except Exception as error:
                self._fail((request, prepared), error).unwrap()

        return Stream(pieces(), prepared.audios, writer)

    def _generate_one(self, prepared: Prepared, writer: Writer) -> Iterator[str]:
        """Generate the answer to one request, using the prefix cache.

        Raises:
            DestaError: the model computes NaN.
        """
        state, _ = self.begin(prepared)
        for pieces in generate(self.model.llm_model, state, [writer]):
            yield pieces[0]
        self.keep(prepared, writer, state.cache)

    def begin(self, prepared: Prepared) -> tuple[DecodingState, int]:
        """Run the backbone on a request, using the prefix cache.

        Returns:
            State before the first token of the answer, and the number of positions found cached.

        Raises:
            NoNumberError: the model computes NaN.
        """
        num_known, cache = self._prefixes.get(prepared.symbols)
        embeddings_SE = prepared.embeddings_SE[num_known:]
        return prefill(self.model.llm_model, [embeddings_SE], cache=cache), num_known

    def keep(self, prepared: Prepared, writer: Writer, cache: Any) -> None:
        """Put a request with its answer into the prefix cache.

        Args:
            prepared: the request.
            writer: its answer so far.
            cache: keys and values of both; must not be used afterwards.
        """
        self._prefixes.put([*prepared.symbols, *writer.ids], cache)

    def _generate_batch(self, asked: Sequence[tuple[Request, Prepared]]) -> list[RequestResult]:
        """Generate the answers to a batch of requests."""
        prepared = [p for _, p in asked]
        writers = [self.writers(request) for request, _ in asked]
        if len(prepared) == len(writers[0]) == 1:
            for _ in self._generate_one(prepared[0], writers[0][0]):
                pass
        else:
            backbone = self.model.llm_model
            beginnings = [
                p.tokens.ids[: p.tokens.spans[0].start] if p.tokens.spans else p.tokens.ids
                for p in prepared
            ]
            state = prefill(
                backbone, [p.embeddings_SE for p in prepared], num_shared=shared_length(beginnings)
            )
            rows = [row for row, copies in enumerate(writers) for _ in copies]
            if len(rows) > len(writers):
                state = state.select(rows)
            for _ in generate(backbone, state, [writer for copies in writers for writer in copies]):
                pass
        return [
            RequestResult(answers=tuple(Answer.of(writer, p.audios) for writer in copies))
            for copies, p in zip(writers, prepared, strict=True)
        ]

    def writers(self, request: Request) -> list[Writer]:
        """Create the writers of the answers to a request."""
        return [
            Writer(
                self.tokenizer,
                request.sampling,
                end_ids=self.end_ids,
                seed=None if request.seed is None else request.seed + number,
                num_logprobs=request.num_logprobs,
            )
            for number in range(request.num_answers)
        ]

    def prepare(self, requests: Sequence[Request]) -> list[Prepared | DestaError]:
        """Encode the clips of all requests together, and lay out each request."""
        refs: list[list[AudioRef] | DestaError] = []
        for request in requests:
            try:
                refs.append(self.clips_of(request))
            except Exception as error:
                refs.append(error_of(error, "the request"))
        wanted = [ref for found in refs if not isinstance(found, DestaError) for ref in found]
        encoded = iter(self.audio_encoder.encode(wanted)) if wanted else iter(())
        prepared: list[Prepared | DestaError] = []
        for request, found in zip(requests, refs, strict=True):
            if isinstance(found, DestaError):
                prepared.append(found)
                continue
            try:
                prepared.append(self.lay_out(request, found, [next(encoded) for _ in found]))
            except Exception as error:
                prepared.append(error_of(error, "the request"))
        return prepared

    def clips_of(self, request: Request) -> list[AudioRef]:
        """Return the clips of a request in order.

        Raises:
            DataError: locators and clips differ in number, or the clips are too long together.
        """
        clips = check_locators(request.messages, self.layout.locator)
        if len(clips) > 1:  # a single clip is checked when it is decoded
            check_clips([clip.audio for clip in clips], self._max_seconds)
        return clips

    @torch.no_grad()
    def lay_out(
        self, request: Request, refs: Sequence[AudioRef], clips: Sequence[EncodedClip | DestaError]
    ) -> Prepared:
        """Lay out a request as input of the backbone.

        Args:
            request: the request.
            refs: its clips, from `clips_of`.
            clips: those, encoded; an error among them is raised.

        Raises:
            DataError: the conversation does not fit into the backbone's context.
        """
        good = [_unwrap(clip) for clip in clips]
        check_total_seconds((clip.seconds for clip in good), self._max_seconds)
        audios = [with_text(ref, clip) for ref, clip in zip(refs, good, strict=True)]
        messages = wrap_locators(with_audios(request.messages, audios), self.layout.locator)
        tokens = self.layout.context(messages, [len(clip.audio_WQE) for clip in good])
        check_context(tokens, request.sampling, self.model.max_positions)
        symbols: list[Symbol] = list(tokens.ids)
        for span, clip in zip(tokens.spans, good, strict=True):
            place = slice(span.start, span.start + span.num_audio_tokens)
            symbols[place] = [f"{clip.content} {n}" for n in range(span.num_audio_tokens)]
        starts = [span.start for span in tokens.spans]
        embeddings_SE = self.model.sequence(
            tokens.ids, list(zip(starts, (clip.audio_WQE for clip in good), strict=True))
        )
        return Prepared(tokens, embeddings_SE, symbols, tuple(audios))


def _unwrap(found: T | DestaError) -> T:
    """Return a value, or raise it if it is an error."""
    if isinstance(found, DestaError):
        raise found
    return found
