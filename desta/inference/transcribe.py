"""What is said in a clip: voice activity detection, then Whisper's decoder.

Whisper invents words where nobody speaks, so a window in which the detector hears nothing is not
transcribed at all.

Shape suffixes:
    B windows   T encoder frames (1500 = 30 s at 50 Hz)   D encoder width
    P ids of the decoder's prompt   N ids of one step   V vocabulary
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import AutoConfig, WhisperForConditionalGeneration, WhisperTokenizer
from transformers.modeling_outputs import BaseModelOutput
from transformers.models.whisper.tokenization_whisper import TO_LANGUAGE_CODE

from desta.audio import SAMPLE_RATE, WINDOW_SAMPLES
from desta.config import suggest
from desta.errors import CheckpointError, ConfigError, DataError
from desta.model.mel import MelExtractor
from desta.records import NO_TRANSCRIPTION

log = logging.getLogger(__name__)

MAX_NEW_TOKENS = 128
"""Per window, as in the published system."""
MIN_SPEECH_SECONDS = 0.1
"""Less than this in a window is the margin that the detector adds to speech in its neighbour."""

Span = tuple[float, float]
"""Start and end in seconds."""


class Transcriber:
    """Whisper with its decoder, and a voice activity detector; one thread at a time."""

    def __init__(
        self,
        whisper: WhisperForConditionalGeneration,
        tokenizer: WhisperTokenizer,
        *,
        batch_size: int = 16,
    ) -> None:
        """Take a built model.

        Args:
            whisper: the model, on its device and in its dtype.
            tokenizer: its tokenizer.
            batch_size: windows that are decoded at once.
        """
        self._whisper = whisper.train(False).requires_grad_(False)
        self._tokenizer = tokenizer
        self._batch_size = batch_size
        self._mel = MelExtractor(whisper.config.num_mel_bins, "30s")
        self._vad = _load_vad()
        languages = getattr(whisper.generation_config, "lang_to_id", {})  # none: English only
        self._languages = {token.strip("<|>"): number for token, number in languages.items()}

    @classmethod
    def load(
        cls,
        directory: str | Path,
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        batch_size: int = 16,
    ) -> "Transcriber":
        """Read a Whisper directory, or fetch it by its id on the Hub.

        Raises:
            CheckpointError: it cannot be had, or holds no Whisper model.
        """
        fix = "name a Whisper directory, or openai/whisper-base"
        try:
            kind = AutoConfig.from_pretrained(directory).model_type
            if kind != "whisper":  # transformers would go on, with random weights
                raise CheckpointError(f"{directory} holds a {kind} model, not Whisper", fix=fix)
            loaded: Any = WhisperForConditionalGeneration.from_pretrained(
                directory, dtype=dtype, output_loading_info=True
            )
            tokenizer = WhisperTokenizer.from_pretrained(directory)
        except (OSError, ValueError) as error:
            reason = str(error).partition("\n")[0]
            raise CheckpointError(
                f"{directory} holds no Whisper model: {reason}", fix=fix
            ) from error
        whisper, report = loaded
        if missing := sorted(report["missing_keys"]):
            raise CheckpointError(f"{directory} lacks {', '.join(missing[:10])}", fix=fix)
        return cls(whisper.to(device), tokenizer, batch_size=batch_size)

    def speech_seconds(self, audio: NDArray[np.float32]) -> list[Span]:
        """Find where somebody speaks; nothing in silence, tones and most noises.

        Args:
            audio: float32, mono, 16 kHz, (samples,), of any length.
        """
        from silero_vad import get_speech_timestamps

        spans = get_speech_timestamps(torch.from_numpy(audio), self._vad, sampling_rate=SAMPLE_RATE)
        return [(s["start"] / SAMPLE_RATE, s["end"] / SAMPLE_RATE) for s in spans]

    def transcribe(
        self,
        windows: Sequence[NDArray[np.float32]],
        *,
        language: str | None = None,
        encoded: Tensor | None = None,
    ) -> list[str]:
        """Transcribe windows greedily; whether somebody speaks in them is not asked.

        Args:
            windows: float32, mono, 16 kHz, at most 30 s each.
            language: English name or code, for example `French` or `fr`; None lets Whisper tell
                for each window.
            encoded: (B, T, D), the encoder's last output, after its LayerNorm, for the windows
                padded to 30 s; computed here if None.

        Returns:
            The text of each window, without spaces around it.

        Raises:
            DataError: a window is longer than 30 s.
            ConfigError: the model does not know the language.
        """
        for audio in windows:
            if len(audio) > WINDOW_SAMPLES:
                raise DataError(
                    f"a window of {len(audio) / SAMPLE_RATE:.2f} s is too long for Whisper",
                    fix="cut the clip into windows of at most 30 s",
                )
        language_id = None if language is None else self._language_id(language)
        texts: list[str] = []
        for start in range(0, len(windows), self._batch_size):
            batch = slice(start, start + self._batch_size)
            frames_BTD = self._encode(windows[batch]) if encoded is None else encoded[batch]
            texts += self._decode(frames_BTD, language_id)
        return texts

    def transcribe_clip(
        self,
        audio: NDArray[np.float32],
        windows: Sequence[tuple[int, int]],
        *,
        language: str | None = None,
        encoded: Tensor | None = None,
    ) -> str:
        """Transcribe the windows of a clip in which somebody speaks.

        Args:
            audio: the clip: float32, mono, 16 kHz, (samples,).
            windows: first sample and the one after the last of each window, at most 30 s each.
            language: as in `transcribe`.
            encoded: as in `transcribe`, a row for every window.

        Returns:
            The texts, joined by one space; `NO_TRANSCRIPTION` where nothing is spoken.
        """
        speech = self.speech_seconds(audio)
        spoken = [
            i for i, w in enumerate(windows) if _speech_inside(w, speech) >= MIN_SPEECH_SECONDS
        ]
        texts = self.transcribe(
            [audio[slice(*windows[i])] for i in spoken],
            language=language,
            encoded=None if encoded is None else encoded[spoken],
        )
        return " ".join(filter(None, texts)) or NO_TRANSCRIPTION

    @torch.no_grad()
    def _encode(self, windows: Sequence[NDArray[np.float32]]) -> Tensor:
        encoder = self._whisper.get_encoder()
        features = self._mel(windows).features_BMF
        return encoder(features.to(encoder.device, encoder.dtype)).last_hidden_state

    @torch.no_grad()
    def _decode(self, frames_BTD: Tensor, language: int | None) -> list[str]:
        """Write the likeliest token again and again until every window has ended."""
        config = self._whisper.generation_config
        frames_BTD = frames_BTD.to(self._whisper.device, self._whisper.dtype)
        prompt_BP = self._prompt(frames_BTD, language)
        suppressed = list(config.suppress_tokens or ())
        first = [*suppressed, *(config.begin_suppress_tokens or ())]
        written = torch.empty(len(frames_BTD), 0, dtype=torch.long, device=frames_BTD.device)
        ended_B = torch.zeros(len(frames_BTD), dtype=torch.bool, device=frames_BTD.device)
        next_BN, cache = prompt_BP, None
        while not ended_B.all() and written.shape[1] < MAX_NEW_TOKENS:
            output = self._whisper(
                encoder_outputs=BaseModelOutput(last_hidden_state=frames_BTD),
                decoder_input_ids=next_BN,
                past_key_values=cache,
                use_cache=True,
            )
            logits_BV, cache = output.logits[:, -1], output.past_key_values
            logits_BV[:, suppressed if written.shape[1] else first] = -torch.inf
            token_B = logits_BV.argmax(dim=-1).masked_fill(ended_B, config.eos_token_id)
            ended_B |= token_B == config.eos_token_id
            next_BN = token_B[:, None]
            written = torch.cat([written, next_BN], dim=1)
        if cut := int((~ended_B).sum()):
            log.warning("%d transcriptions were cut off at %d tokens", cut, MAX_NEW_TOKENS)
        texts = self._tokenizer.batch_decode(written, skip_special_tokens=True)
        return [text.strip() for text in texts]

    def _prompt(self, frames_BTD: Tensor, language: int | None) -> Tensor:
        """Return the ids (B, P) that tell the decoder language and task."""
        config = self._whisper.generation_config
        start_B1 = torch.full(
            (len(frames_BTD), 1), config.decoder_start_token_id, device=frames_BTD.device
        )
        columns = [start_B1]
        if self._languages:
            if language is None:
                logits_BV = self._whisper(
                    encoder_outputs=BaseModelOutput(last_hidden_state=frames_BTD),
                    decoder_input_ids=start_B1,
                ).logits[:, -1]
                ids = torch.tensor(list(self._languages.values()), device=logits_BV.device)
                columns.append(ids[logits_BV[:, ids].argmax(dim=-1)][:, None])
            else:
                columns.append(torch.full_like(start_B1, language))
            columns.append(torch.full_like(start_B1, config.task_to_id["transcribe"]))
        columns.append(torch.full_like(start_B1, config.no_timestamps_token_id))
        return torch.cat(columns, dim=1)

    def _language_id(self, language: str) -> int:
        code = TO_LANGUAGE_CODE.get(language.lower(), language.lower())
        if code not in self._languages:
            names = [name for name, code in TO_LANGUAGE_CODE.items() if code in self._languages]
            raise ConfigError(
                f'this Whisper does not know the language "{language}"',
                fix=suggest(language.lower(), names),
            )
        return self._languages[code]


def _speech_inside(window: tuple[int, int], speech: Sequence[Span]) -> float:
    start, end = (sample / SAMPLE_RATE for sample in window)
    return sum(max(0.0, min(end, until) - max(start, since)) for since, until in speech)


def _load_vad() -> Any:
    num_threads = torch.get_num_threads()
    from silero_vad import load_silero_vad  # its import sets torch to one thread

    torch.set_num_threads(num_threads)
    return load_silero_vad()
