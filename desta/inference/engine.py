"""Requests about clips -> answers.

Clips are heard (`hearing`), messages laid out in tokens, audio tokens put in their places, and the
backbone continues. A batch is answered in one pass, every request by its own settings; a request
that cannot be answered says why, and the others go on. In float32, greedy answers do not depend
on what else is in the batch (in bfloat16 a tie may fall the other way).

Shape suffixes: S positions   E backbone width
"""

import hashlib
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar, get_args

import torch
from torch import Tensor

from desta import audio
from desta.audio import MAX_SECONDS
from desta.config import suggest
from desta.data.layout import Layout, Tokens, check_locators, wrap_locators
from desta.errors import ConfigError, DataError, DestaError
from desta.generators.base import HELLO
from desta.inference.audio_encoding import Heard, Hearing, check_recording, with_text
from desta.inference.prefix_cache import PrefixCache, Symbol
from desta.inference.requests import Answer, Reply, Request, Stream, with_audios
from desta.inference.transcribe import Transcriber
from desta.isolation import error_of, in_halves
from desta.model import checkpoint
from desta.model.backbone.cpu.layers import pack
from desta.model.backbone.cpu.packing import pack_linears
from desta.model.backbone.decoding import end_ids, read, shared_length, write
from desta.model.backbone.sampling import Sampling
from desta.model.backbone.writer import Writer
from desta.model.checkpoint import Loaded
from desta.model.config import AUTO, Dtype, Quantization
from desta.model.encoder.whisper import WhisperEncoder
from desta.model.precision import find_device
from desta.records import NO_TRANSCRIPTION, AudioRef, Message
from desta.renamed import keywords

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What an engine may use."""

    max_seconds: float = MAX_SECONDS
    """Longest clip, and all clips of a request together."""
    audio_cache_bytes: int = 256 * 2**20
    """Memory for audio tokens of clips that were heard; 0 hears every clip anew."""
    prefix_cache_bytes: int = 512 * 2**20
    """Memory for keys and values of what the backbone has read; 0 reads everything anew."""
    num_threads: int = 4
    """Threads that decode recordings."""

    def __post_init__(self) -> None:
        if not self.max_seconds > 0:  # nor is it NaN, which would take all
            raise ConfigError(
                f"max_seconds = {self.max_seconds:g} leaves nothing to hear", fix="give more than 0"
            )


@dataclass(frozen=True)
class _Prepared:
    """A request that the backbone can continue."""

    tokens: Tokens
    embeddings_SE: Tensor
    symbols: list[Symbol]
    audios: tuple[AudioRef, ...]


class Engine:
    """Answers questions about clips with one model; may be used by several threads at once."""

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
            language: what is spoken, for transcribing; None lets Whisper find out.
            read_again: transcribe windows with few words for their speech once more, in pieces
                (docs/lab/windows.md); None does so in windows of true length, not in those of 30 s,
                which are transcribed as published.
            limits: what it may use.
        """
        limits = limits or Limits()
        self.model = loaded.model.eval()
        pack(self.model.llm_model)
        pack_linears(self.model.encoder.modules())
        pack_linears(  # it computes in the encoder's numbers: Hearing._autocast
            self.model.connector.modules(), next(self.model.encoder.parameters()).dtype
        )
        self.tokenizer = loaded.tokenizer
        self.layout = Layout(loaded.tokenizer, **loaded.layout_options)
        self.system_prompt = loaded.system_prompt
        self.backbone_directory = loaded.backbone_directory
        self.end_ids = end_ids(self.model.llm_model, loaded.tokenizer)
        self.hearing = Hearing(
            self.model,
            self._load_transcriber,
            language=language,
            read_again=self.model.config.window == "tight" if read_again is None else read_again,
            max_seconds=limits.max_seconds,
            cache_bytes=limits.audio_cache_bytes,
            num_threads=limits.num_threads,
        )
        self._max_seconds = limits.max_seconds
        self._prefixes = PrefixCache(self.model.llm_model, max_bytes=limits.prefix_cache_bytes)
        self._encoder_directory = loaded.encoder_directory
        self._transcriber_directory = loaded.transcriber_directory
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
        """Load a model directory or Hub id; see `desta.model.checkpoint.load`.

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

    def _load_transcriber(self) -> Transcriber:
        """Return Whisper with its decoder, the same every time.

        Raises:
            ConfigError: the encoder cannot transcribe, and no other Whisper is named.
        """
        directory, encoder = self._transcriber_directory, self.model.encoder
        if directory is None:
            raise ConfigError(
                f'a clip has no text, and the encoder "{self.model.config.encoder}" writes none',
                fix="give the text of every clip, or name a Whisper model as model.transcriber",
            )
        with self._loading:
            if self._transcriber is None:
                shared = None  # the same Whisper: one copy of its encoder will do
                if directory == self._encoder_directory and isinstance(encoder, WhisperEncoder):
                    shared = encoder
                self._transcriber = Transcriber.load(
                    directory,
                    encoder=shared,
                    device=self.model.device,
                    dtype=next(encoder.parameters()).dtype,
                    window=self.model.config.window,
                )
            return self._transcriber

    def to(self, device: str) -> None:
        """Move the model; what was kept on the old device is forgotten.

        Raises:
            ConfigError: this machine has no such device.
        """
        self.model.to(find_device(device))
        self.hearing.forget()
        self._prefixes.forget()
        self._transcriber = None

    def answer(self, conversations: Sequence[Sequence[Message]], sampling: Sampling) -> list[str]:
        """Answer a batch of conversations and return the texts alone."""
        return [answer.text for answer in self.respond(conversations, sampling)]

    def respond(
        self, conversations: Sequence[Sequence[Message]], sampling: Sampling
    ) -> list[Answer]:
        """Answer a batch of conversations, all alike.

        Args:
            conversations: messages whose content holds one locator per clip.
            sampling: how tokens are chosen; seed PyTorch beforehand if not greedy.

        Raises:
            DataError: a clip cannot be read, locators and clips differ in number, or a
                conversation does not fit into the backbone's context.
        """
        replies = self.run([Request(messages=c, sampling=sampling) for c in conversations])
        return [reply.unwrap()[0] for reply in replies]

    def transcribe(self, refs: Sequence[AudioRef]) -> list[str]:
        """Return what is said in clips; one space where nothing is.

        Raises:
            ConfigError: this model cannot transcribe.
            DataError: a clip cannot be read.
        """
        return [
            NO_TRANSCRIPTION if heard.text is None else heard.text
            for heard in map(_unwrap, self.hearing.hear([replace(r, text=None) for r in refs]))
        ]

    def digest(self, conversation: Sequence[Message]) -> str:
        """Return a hash of what the backbone reads, audio tokens included.

        Raises:
            DataError: as `respond`.
        """
        request = Request(messages=conversation, sampling=Sampling(max_new_tokens=1))
        embeddings_SE = _unwrap(self._prepare([request])[0]).embeddings_SE
        return hashlib.sha256(embeddings_SE.float().cpu().numpy().tobytes()).hexdigest()

    def run(self, requests: Sequence[Request]) -> list[Reply]:
        """Answer a batch of requests, each by its own settings."""
        prepared = self._prepare(requests)
        ready = [
            (request, p)
            for request, p in zip(requests, prepared, strict=True)
            if isinstance(p, _Prepared)
        ]
        written = in_halves(self._write_all, ready, alone=self._lose) if ready else []
        replies = iter(written)
        return [Reply(error=p) if isinstance(p, DestaError) else next(replies) for p in prepared]

    def _lose(self, asked: tuple[Request, _Prepared], error: Exception) -> Reply:
        """Reply to a request that alone cannot be answered; raise what is the model's own fault."""
        self._check_model(error)
        return Reply(error=error_of(error, "the request"))

    def _check_model(self, error: Exception) -> None:
        """Raise an error if the simplest request meets one as well."""
        try:
            tokens = self.layout.context([HELLO], [])
            read(self.model.llm_model, [self.model.sequence(tokens.ids, [])])
        except Exception:
            raise error from None

    def stream(self, request: Request) -> Stream:
        """Start to answer one request, once.

        Raises:
            ConfigError: several answers were asked for.
            DataError: as `respond`.
        """
        if request.num_answers != 1:
            raise ConfigError("a stream is one answer", fix="ask for num_answers = 1")
        prepared = _unwrap(self._prepare([request])[0])
        writer = self._writers(request)[0]

        def pieces() -> Iterator[str]:
            try:
                yield from self._write_one(prepared, writer)
            except Exception as error:
                self._lose((request, prepared), error).unwrap()

        return Stream(pieces(), prepared.audios, writer)

    def _write_one(self, prepared: _Prepared, writer: Writer) -> Iterator[str]:
        """Continue one request, with what was read before in place of its beginning.

        Raises:
            DestaError: it makes the model compute NaN, or the model is damaged.
        """
        backbone = self.model.llm_model
        num_known, cache = self._prefixes.find(prepared.symbols)
        state = read(backbone, [prepared.embeddings_SE[num_known:]], cache=cache)
        for pieces in write(backbone, state, [writer]):
            yield pieces[0]
        self._prefixes.keep([*prepared.symbols, *writer.ids], state.cache)

    def _write_all(self, asked: Sequence[tuple[Request, _Prepared]]) -> list[Reply]:
        """Continue a batch of requests."""
        prepared = [p for _, p in asked]
        writers = [self._writers(request) for request, _ in asked]
        if len(prepared) == len(writers[0]) == 1:
            for _ in self._write_one(prepared[0], writers[0][0]):
                pass
        else:
            backbone = self.model.llm_model
            beginnings = [
                p.tokens.ids[: p.tokens.spans[0].start] if p.tokens.spans else p.tokens.ids
                for p in prepared
            ]
            state = read(
                backbone, [p.embeddings_SE for p in prepared], num_shared=shared_length(beginnings)
            )
            rows = [row for row, copies in enumerate(writers) for _ in copies]
            if len(rows) > len(writers):
                state = state.select(rows)
            for _ in write(backbone, state, [writer for copies in writers for writer in copies]):
                pass
        return [
            Reply(answers=tuple(Answer.of(writer, p.audios) for writer in copies))
            for copies, p in zip(writers, prepared, strict=True)
        ]

    def _writers(self, request: Request) -> list[Writer]:
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

    def _prepare(self, requests: Sequence[Request]) -> list[_Prepared | DestaError]:
        """Hear the clips of all requests together, and lay out each."""
        refs: list[list[AudioRef] | DestaError] = []
        for request in requests:
            try:
                clips = check_locators(request.messages, self.layout.locator)
                if len(clips) > 1:  # of one clip, reading it tells
                    for clip in clips:
                        check_recording(clip.audio)
                    self._check_together([ref.audio for ref in clips])
                refs.append(clips)
            except Exception as error:
                refs.append(error_of(error, "the request"))
        wanted = [ref for found in refs if not isinstance(found, DestaError) for ref in found]
        heard = iter(self.hearing.hear(wanted)) if wanted else iter(())
        prepared: list[_Prepared | DestaError] = []
        for request, found in zip(requests, refs, strict=True):
            if isinstance(found, DestaError):
                prepared.append(found)
                continue
            try:
                prepared.append(self._lay_out(request, found, [next(heard) for _ in found]))
            except Exception as error:
                prepared.append(error_of(error, "the request"))
        return prepared

    @torch.no_grad()
    def _lay_out(
        self, request: Request, refs: Sequence[AudioRef], clips: Sequence[Heard | DestaError]
    ) -> _Prepared:
        good = [_unwrap(clip) for clip in clips]
        self._check_seconds(clip.seconds for clip in good)
        audios = [with_text(ref, clip) for ref, clip in zip(refs, good, strict=True)]
        told = wrap_locators(with_audios(request.messages, audios), self.layout.locator)
        tokens = self.layout.context(told, [len(clip.audio_WQE) for clip in good])
        self._check_room(tokens, request.sampling)
        symbols: list[Symbol] = list(tokens.ids)
        for span, clip in zip(tokens.spans, good, strict=True):
            place = slice(span.start, span.start + span.num_audio_tokens)
            symbols[place] = [f"{clip.content} {n}" for n in range(span.num_audio_tokens)]
        starts = [span.start for span in tokens.spans]
        embeddings_SE = self.model.sequence(
            tokens.ids, list(zip(starts, (clip.audio_WQE for clip in good), strict=True))
        )
        return _Prepared(tokens, embeddings_SE, symbols, tuple(audios))

    def _check_together(self, clips: Sequence[audio.AudioInput]) -> None:
        """Refuse clips that are too long together before any is heard; a header may be wrong."""
        if sum(map(audio.seconds_stated, clips)) > self._max_seconds:
            self._check_seconds(map(audio.measure_duration, clips))

    def _check_seconds(self, seconds: Iterable[float]) -> None:
        total = sum(seconds)
        if total > self._max_seconds:
            raise DataError(
                f"the clips last {total:.0f} s together, longer than the "
                f"{self._max_seconds:g} s that are taken",
                fix="ask about fewer or shorter clips, or raise max_seconds",
                reason="the clips last too long together",
            )

    def _check_room(self, tokens: Tokens, sampling: Sampling) -> None:
        limit = self.model.max_positions
        if len(tokens.ids) + sampling.max_new_tokens <= limit:
            return
        num_audio = sum(span.num_audio_tokens for span in tokens.spans)
        num_text = sum(span.num_text_tokens for span in tokens.spans)
        num_other = len(tokens.ids) - num_audio - num_text
        clips = (
            "ask about fewer or shorter clips"
            if num_audio >= num_text
            else "shorten the transcriptions of the clips, or ask about fewer"
        )
        shorter = {
            clips: num_audio + num_text,
            "shorten the question, or the messages before it": num_other,
            "lower max_new_tokens": sampling.max_new_tokens,
        }
        raise DataError(
            f"the conversation needs {num_audio} audio tokens, {num_text} for transcriptions, "
            f"{num_other} for the messages and {sampling.max_new_tokens} for the answer, "
            f"but the backbone reads {limit}",
            fix=max(shorter, key=shorter.__getitem__),
            reason="the conversation does not fit into the backbone's context",
        )


def _unwrap(found: T | DestaError) -> T:
    """Return what was found, or raise the error."""
    if isinstance(found, DestaError):
        raise found
    return found
