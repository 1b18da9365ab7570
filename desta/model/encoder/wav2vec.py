"""Encoders of waveforms: wav2vec 2.0, HuBERT, WavLM, by transformers.

A clip is encoded at its true length; other clips of the batch do not change its frames.

Shape suffixes:
    B windows   S samples (16,000 a second)   T encoder frames (50 a second)
    L target layers   D encoder width
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from desta.model.config import Window
from desta.model.encoder.whisper import Encoded

# WavLM passes two kinds of masks to PyTorch; users cannot do anything about it.
warnings.filterwarnings("ignore", message="Support for mismatched key_padding_mask")

WAVE_FAMILIES = ("wav2vec2", "hubert", "wavlm")
"""`model_type` of the supported encoders."""


@dataclass(frozen=True)
class Waves:
    """Samples of a batch of windows."""

    samples_BS: Tensor
    """float32; zeros beyond the true length."""
    num_samples_B: Tensor


class WaveExtractor:
    """Feature extractor: normalises windows as in the training of the encoder."""

    def __init__(self, *, normalise: bool, min_samples: int) -> None:
        self._normalise = normalise
        self._min_samples = min_samples

    def __call__(self, windows: Sequence[NDArray[np.float32]]) -> Waves:
        """Return a padded batch of audio (float32, 16 kHz)."""
        waves = [torch.from_numpy(self._prepared(window)) for window in windows]
        lengths = torch.tensor([len(wave) for wave in waves])
        return Waves(pad_sequence(waves, batch_first=True), lengths)

    def _prepared(self, window: NDArray[np.float32]) -> NDArray[np.float32]:
        if self._normalise:
            window = (window - window.mean()) / np.sqrt(window.var() + 1e-7)
        missing = self._min_samples - len(window)  # shorter input gives no frame
        return np.pad(window, (0, max(missing, 0))).astype(np.float32)


class WaveEncoder(nn.Module):
    """Frozen waveform encoder: no gradients, always in evaluation mode."""

    transcribes = False

    def __init__(self, model: Any, target_layers: Sequence[int], *, normalise: bool) -> None:
        """Wrap a model of transformers.

        Args:
            model: Wav2Vec2Model, HubertModel or WavLMModel.
            target_layers: 0-based layers that are returned; the last one of a model with a final
                LayerNorm is after that norm, as transformers returns it.
            normalise: bring every clip to mean 0 and variance 1, as in training.
        """
        super().__init__()
        config = model.config
        self.dim: int = config.hidden_size
        self.num_heads: int = config.num_attention_heads
        self.target_layers = tuple(target_layers)
        self.model = model
        self.normalise = normalise
        self._convolutions = list(zip(config.conv_kernel, config.conv_stride, strict=True))
        # A group norm over the time axis of the batch would mix padding into every frame.
        self._one_by_one = config.feat_extract_norm == "group"
        self.requires_grad_(False)
        super().train(False)

    def train(self, mode: bool = True) -> "WaveEncoder":
        """Stay in evaluation mode."""
        return self

    def extractor(self, window: Window) -> WaveExtractor:
        """Return the feature extractor of this encoder; `window` is always `tight`."""
        min_samples = 1
        for kernel, stride in reversed(self._convolutions):
            min_samples = (min_samples - 1) * stride + kernel
        return WaveExtractor(normalise=self.normalise, min_samples=min_samples)

    @torch.no_grad()
    def forward(self, waves: Waves) -> Encoded:
        """Encode a batch of windows; padding changes no frame of any window."""
        weight = next(self.model.parameters())
        samples_BS = waves.samples_BS.to(weight.device, weight.dtype)
        num_samples_B = waves.num_samples_B.to(weight.device)
        num_frames_B = num_samples_B
        for kernel, stride in self._convolutions:
            num_frames_B = (num_frames_B - kernel) // stride + 1
        if self._one_by_one:
            rows_TLD = [
                self._layers(row_S[None, :length], None)[:, 0].transpose(0, 1)
                for row_S, length in zip(samples_BS, num_samples_B.tolist(), strict=True)
            ]
            layers_LBTD = pad_sequence(rows_TLD, batch_first=True).permute(2, 0, 1, 3)
        else:
            places = torch.arange(samples_BS.shape[1], device=weight.device)
            layers_LBTD = self._layers(samples_BS, places < num_samples_B[:, None])
        frames = torch.arange(layers_LBTD.shape[2], device=weight.device)
        mask_BT = frames < num_frames_B[:, None]
        return Encoded(layers_LBTD[:-1], layers_LBTD[-1], None if bool(mask_BT.all()) else mask_BT)

    def _layers(self, samples_BS: Tensor, mask_BS: Tensor | None) -> Tensor:
        """Return the target layers and the last one, (L + 1, B, T, D)."""
        states = self.model(
            samples_BS,
            attention_mask=None if mask_BS is None else mask_BS.long(),
            output_hidden_states=True,
        ).hidden_states  # the first is the input of the layers
        return torch.stack([*(states[index + 1] for index in self.target_layers), states[-1]])
