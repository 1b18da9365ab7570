"""Transcription as in the published code, by silero's detector and transformers."""

from pathlib import Path

import torch
from transformers import WhisperForConditionalGeneration, WhisperProcessor

from desta import audio
from desta.inference.transcribe import MAX_NEW_TOKENS
from desta.records import NO_TRANSCRIPTION


class PublishedTranscriber:
    """silero's detector, and for clips with speech `generate` of transformers' Whisper.

    Whisper computes in float32 on 30 s. Without a language, `generate` encodes the clip to detect
    it and again to transcribe, and for the connector it is encoded once more.
    """

    def __init__(self, directory: Path | str, device: str) -> None:
        num_threads = torch.get_num_threads()
        from silero_vad import get_speech_timestamps, load_silero_vad  # sets torch to one thread

        torch.set_num_threads(num_threads)
        self._detector, self._spans = load_silero_vad(), get_speech_timestamps
        whisper = WhisperForConditionalGeneration.from_pretrained(directory, dtype=torch.float32)
        self._whisper = whisper.eval().to(device)
        self._processor = WhisperProcessor.from_pretrained(directory)
        # OpenAI's checkpoints state this in an older form; not every copy does.
        multilingual = getattr(whisper.generation_config, "is_multilingual", False)
        self._task = {"task": "transcribe"} if multilingual else {}

    @torch.no_grad()
    def text(self, recording: Path | str, given: str | None) -> str:
        """Return the given text, or else the transcription; speech is detected in every clip."""
        samples = audio.load_audio(recording)
        waveform = torch.from_numpy(samples)
        speech = self._spans(waveform, self._detector, sampling_rate=audio.SAMPLE_RATE)
        if given is not None:
            return given
        if not speech:
            return NO_TRANSCRIPTION
        features = self._processor(
            samples, sampling_rate=audio.SAMPLE_RATE, return_tensors="pt"
        ).input_features
        ids = self._whisper.generate(
            features.to(self._whisper.device), max_new_tokens=MAX_NEW_TOKENS, **self._task
        )
        [text] = self._processor.batch_decode(ids, skip_special_tokens=True)
        return text.strip() or NO_TRANSCRIPTION
