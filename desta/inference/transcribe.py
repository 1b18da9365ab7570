"""Transcription of windows of audio with Whisper, greedy and in batches.

Shape suffixes:
    B windows   T encoder frames   D encoder width   P ids of the decoder's prompt   V vocabulary
"""

import logging
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import GenerationConfig, WhisperForConditionalGeneration, WhisperTokenizer
from transformers.models.whisper.tokenization_whisper import TO_LANGUAGE_CODE

from desta.audio import SAMPLE_RATE, WINDOW_SAMPLES
from desta.config import suggest
from desta.errors import CheckpointError, ConfigError, DataError
from desta.model.backbone.cpu.packing import pack_linears
from desta.model.config import Window
from desta.model.encoder.control_tokens import COPY_TOKENIZER, ControlTokens, load_whisper_tokenizer
from desta.model.encoder.mel import MelExtractor
from desta.model.encoder.whisper import WhisperEncoder
from desta.model.encoder.whisper_decoder import DecoderState, WhisperDecoder
from desta.model.hub.load import Part

log = logging.getLogger(__name__)

MAX_NEW_TOKENS = 128
"""Tokens per window, as in the published system."""
MIN_REPEATED = 4
"""Tokens of the shortest repetition that is cut."""
MAX_TOKENS_A_SECOND = 6.0
"""Fastest speech: a repetition beyond it was not spoken."""
BATCH_SIZE = 16
"""Windows that are decoded at once."""


class Transcriber:
    """Whisper for transcription."""

    def __init__(
        self,
        encoder: WhisperEncoder,
        decoder: WhisperDecoder,
        tokenizer: WhisperTokenizer,
        generation: GenerationConfig,
        *,
        window: Window = "30s",
    ) -> None:
        """Create a transcriber from built parts.

        Args:
            encoder: the encoder.
            decoder: decoder of the same Whisper.
            tokenizer: its tokenizer.
            generation: its generation configuration, which may be empty.
            window: kind of windows in `transcribe`.
        """
        self.encoder = encoder
        self.decoder = decoder
        pack_linears(decoder.modules())
        self.window = window
        self._tokenizer = tokenizer
        self._generation = generation
        self._mel = MelExtractor(encoder.num_mel_bins, window)

    @classmethod
    def of(
        cls,
        whisper: WhisperForConditionalGeneration,
        tokenizer: WhisperTokenizer,
        *,
        encoder: WhisperEncoder | None = None,
        window: Window = "30s",
    ) -> "Transcriber":
        """Create a transcriber from a Whisper of transformers; `encoder` avoids a second copy."""
        config = whisper.config
        with torch.device("meta"):
            decoder = WhisperDecoder(config)
            own = WhisperEncoder(config, (config.encoder_layers - 1,)) if encoder is None else None
        weights = {**whisper.model.decoder.state_dict(), "proj_out.weight": whisper.proj_out.weight}
        decoder.load_state_dict(weights, assign=True)
        if own is not None:
            own.load_state_dict(whisper.model.encoder.state_dict(), assign=True)
            encoder = own.requires_grad_(False)
        assert encoder is not None
        return cls(
            encoder,
            decoder.requires_grad_(False),
            tokenizer,
            whisper.generation_config,
            window=window,
        )

    @classmethod
    def load(
        cls,
        directory: str | Path,
        *,
        encoder: WhisperEncoder | None = None,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        window: Window = "30s",
    ) -> "Transcriber":
        """Load Whisper from a directory or a Hub id.

        Raises:
            CheckpointError: it cannot be loaded, or is no Whisper model.
        """
        part = Part(str(directory))
        kind = part.config.model_type
        if kind != "whisper":  # transformers would go on, with random weights
            raise CheckpointError(
                f"{part.place} holds a {kind} model, not Whisper",
                fix="name a Whisper directory, or openai/whisper-base",
            )
        whisper = part.load(WhisperForConditionalGeneration, dtype=dtype)
        tokenizer = load_whisper_tokenizer(part)
        return cls.of(whisper.to(device), tokenizer, encoder=encoder, window=window)

    @cached_property
    def control(self) -> ControlTokens:
        """Ids of the control tokens.

        Raises:
            CheckpointError: as `ControlTokens.of`.
        """
        return ControlTokens.of(
            self._generation, self._tokenizer, vocab_size=self.decoder.proj_out.out_features
        )

    def transcribe(
        self, windows: Sequence[NDArray[np.float32]], *, language: str | None = None
    ) -> list[str]:
        """Return the transcription of each window; they are encoded in batches.

        Args:
            windows: float32, mono, 16 kHz, at most 30 s each.
            language: English name or code of the language; None means that Whisper detects it.

        Raises:
            CheckpointError: its files lack control tokens.
            ConfigError: this Whisper does not know the language.
            DataError: a window is too long.
        """
        for window in windows:
            if len(window) > WINDOW_SAMPLES:
                raise DataError(
                    f"a window has {len(window) / SAMPLE_RATE:.2f} s, more than Whisper's 30 s",
                    fix="cut it with desta.audio.split_windows",
                )
        texts: list[str] = []
        for start in range(0, len(windows), BATCH_SIZE):
            tight = self.window == "tight"
            encoded = self.encoder(self._mel(windows[start : start + BATCH_SIZE]), silence=tight)
            seconds = [len(window) / SAMPLE_RATE for window in windows[start : start + BATCH_SIZE]]
            texts += self.transcribe_frames(
                encoded.last_BTD,
                encoded.mask_BT,
                language=language,
                seconds=seconds if tight else None,
            )
        return texts

    @torch.no_grad()
    def transcribe_frames(
        self,
        frames_BTD: Tensor,
        mask_BT: Tensor | None,
        *,
        language: str | None = None,
        seconds: Sequence[float] | None = None,
    ) -> list[str]:
        """Return the transcription of each window that has been encoded already.

        Args:
            frames_BTD: output of the encoder after its final LayerNorm.
            mask_BT: that of `Encoded`.
            language: as in `transcribe`.
            seconds: true lengths of tight windows, in which the decoder may miss the end and repeat
                the text; repetitions are cut. None for windows of 30 s.
        """
        language_id = None if language is None else self._language_id(language)
        state = self.decoder.start(frames_BTD, mask_BT)
        logits_BV = self._begin(state, len(frames_BTD), language_id)
        suppressed = list(self.control.suppressed)
        first = [*suppressed, *self.control.suppressed_first]
        end = self.control.end
        written: list[list[int]] = [[] for _ in range(len(frames_BTD))]
        rows = list(range(len(written)))
        for number in range(MAX_NEW_TOKENS):
            logits_BV[:, suppressed if number else first] = -torch.inf
            tokens_B = logits_BV.argmax(dim=-1)
            keep = []
            for place, token in enumerate(tokens_B.tolist()):
                text = written[rows[place]]
                if token == end:
                    continue
                text.append(token)
                length = None if seconds is None else _repeats(text, seconds[rows[place]])
                if length is None:
                    keep.append(place)
                else:
                    del text[length:]
            if not keep:
                rows = []
                break
            if len(keep) < len(rows):
                index = torch.tensor(keep, device=tokens_B.device)
                state, tokens_B = state.select(index), tokens_B[index]
                rows = [rows[place] for place in keep]
            if number + 1 < MAX_NEW_TOKENS:
                logits_BV = self.decoder(tokens_B[:, None], state)
        if rows:
            log.warning("%d transcriptions were cut off at %d tokens", len(rows), MAX_NEW_TOKENS)
        for row in rows if seconds is not None else ():  # the decoder repeats itself
            if (length := _repeats(written[row], seconds=0.0)) is not None:
                del written[row][length:]
        return [self._text(ids) for ids in written]

    def count_tokens(self, text: str) -> int:
        """Return the number of tokens of a text."""
        return len(self._tokenizer(text, add_special_tokens=False).input_ids)

    def _text(self, ids: Sequence[int]) -> str:
        """Return the text of ids, without control tokens that files of 2022 do not mark."""
        ids = [token for token in ids if self.control.is_text(token)]
        [text] = self._tokenizer.batch_decode([ids], skip_special_tokens=True)
        if ids and not text:  # without files, transformers creates an empty tokenizer
            raise CheckpointError(
                f'the tokenizer of "{self._tokenizer.name_or_path}" has no words for what its '
                "decoder writes",
                fix=COPY_TOKENIZER,
            )
        return str(text).strip()

    def _begin(self, state: DecoderState, num_rows: int, language: int | None) -> Tensor:
        """Prompt the decoder with language and task; return the first logits, (B, V)."""
        control = self.control
        device = self.decoder.layer_norm.weight.device
        start_B = torch.full((num_rows,), control.start, device=device)
        columns = [start_B]
        if control.transcribe is not None:
            if language is None:
                asked = DecoderState(state.frames, state.mask_B11T)
                logits_BV = self.decoder(start_B[:, None], asked)
                ids = torch.tensor(list(control.languages.values()), device=device)
                columns.append(ids[logits_BV[:, ids].argmax(dim=-1)])
            else:
                columns.append(torch.full_like(start_B, language))
            columns.append(torch.full_like(start_B, control.transcribe))
        columns.append(torch.full_like(start_B, control.no_timestamps))
        return self.decoder(torch.stack(columns, dim=1), state)

    def _language_id(self, language: str) -> int | None:
        """Return the id of a language; None for English in an English-only model."""
        code = TO_LANGUAGE_CODE.get(language.lower(), language.lower())
        languages = self.control.languages
        if not languages and code == "en":
            return None
        if code not in languages:
            known = languages or ("en",)
            names = [name for name, code in TO_LANGUAGE_CODE.items() if code in known]
            raise ConfigError(
                f'this Whisper does not know the language "{language}"',
                fix=suggest(language.lower(), names),
            )
        return languages[code]


def _repeats(ids: list[int], seconds: float) -> int | None:
    """Return where a text begins to repeat itself; None if the repetition may have been spoken.

    >>> _repeats([1, 2, 3, 4, 1, 2, 3, 4], seconds=1.0)
    4
    >>> _repeats([1, 2, 3, 4, 1, 2, 3, 4, 1, 2], seconds=1.0)  # in the middle of the third time
    4
    >>> _repeats([1, 2, 3, 4, 1, 2, 3, 4], seconds=2.0)  # slow enough to be spoken twice
    """
    if len(ids) <= MAX_TOKENS_A_SECOND * seconds:
        return None
    for size in range(MIN_REPEATED, len(ids) // 2 + 1):
        if ids[-size:] == ids[-2 * size : -size]:
            start = len(ids) - 2 * size  # of the first occurrence
            while start and ids[start - 1] == ids[start - 1 + size]:
                start -= 1
            return start + size
    return None
