"""How the published code comes by the words of a clip: by libraries, each as it comes."""

from pathlib import Path

import torch
from transformers import WhisperForConditionalGeneration, WhisperProcessor

from desta import audio
from desta.inference.transcribe import MAX_NEW_TOKENS
from desta.records import NO_TRANSCRIPTION


class Listener:
    """silero's detector, and where it hears somebody, `generate` of transformers' Whisper.

    Whisper computes in float32 and reads 30 s. `generate` is given no language: it encodes the clip
    to find it out and encodes it again to write, before the connector has it encoded once more.
    """

    def __init__(self, directory: Path | str, device: str) -> None:
        num_threads = torch.get_num_threads()
        from silero_vad import get_speech_timestamps, load_silero_vad  # sets torch to one thread

        torch.set_num_threads(num_threads)
        self._detector, self._spans = load_silero_vad(), get_speech_timestamps
        whisper = WhisperForConditionalGeneration.from_pretrained(directory, dtype=torch.float32)
        self._whisper = whisper.eval().to(device)
        self._processor = WhisperProcessor.from_pretrained(directory)
        # What OpenAI's own checkpoints say in older words; not every copy does.
        multilingual = getattr(whisper.generation_config, "is_multilingual", False)
        self._task = {"task": "transcribe"} if multilingual else {}

    @torch.no_grad()
    def text(self, recording: Path | str, given: str | None) -> str:
        """Return the given text, or else what is said; voice is looked for in every clip."""
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
