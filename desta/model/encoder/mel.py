"""Log-mel spectrograms, as Whisper was trained on them.

Shape suffixes: B windows   M mel bins   F mel frames (100 a second)
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import WhisperFeatureExtractor

from desta.audio import SAMPLE_RATE, WINDOW_SAMPLES
from desta.model.config import Window

HOP_LENGTH = 160  # samples from one mel frame to the next
SILENCE_SAMPLES = 8_000
"""Half a second of silence at the end of a tight window: without it Whisper's decoder misses the
end of speech and repeats itself (docs/lab/windows.md)."""
_TAIL = 400  # zeros after a clip: the last frame sees them beyond the end, as in a 30 s window


@dataclass(frozen=True)
class Mel:
    """Spectrograms of a batch of windows."""

    features_BMF: Tensor
    """float32; frames beyond the length of a tight window are 0."""
    num_frames_B: Tensor | None
    """Lengths in frames, silence included; None where every window is a full 30 s window."""


class MelExtractor:
    """Feature extractor for 30-second or tight windows."""

    def __init__(self, num_mel_bins: int, window: Window) -> None:
        self.window = window
        self._extractor = WhisperFeatureExtractor(feature_size=num_mel_bins)

    def __call__(self, windows: Sequence[NDArray[np.float32]]) -> Mel:
        """Return the spectrograms of audio (float32, 16 kHz, at most 30 s each).

        A tight spectrogram is the beginning of the 30-second one, independently of the batch.
        """
        longest = max(len(audio) for audio in windows)
        assert longest <= WINDOW_SAMPLES, "callers cut long clips into windows"
        tight = self.window == "tight"
        with torch.autocast("cpu", enabled=False):  # the extractor is not made for bfloat16
            features = self._extract(windows, tight)
        if not tight:
            return Mel(features, None)
        lengths = [min(len(audio) + SILENCE_SAMPLES, WINDOW_SAMPLES) for audio in windows]
        num_frames = torch.tensor([-(-length // HOP_LENGTH) for length in lengths])
        features = features[:, :, : int(num_frames.max())].contiguous()
        beyond = torch.arange(features.shape[-1]) >= num_frames[:, None]
        return Mel(features.masked_fill_(beyond[:, None], 0.0), num_frames)

    def _extract(self, windows: Sequence[NDArray[np.float32]], tight: bool) -> Tensor:
        return self._extractor(
            [np.pad(audio, (0, SILENCE_SAMPLES + _TAIL)) for audio in windows]
            if tight
            else list(windows),
            sampling_rate=SAMPLE_RATE,
            padding="longest" if tight else "max_length",
            truncation=not tight,
            return_tensors="pt",
        )["input_features"]
