"""Whisper's encoder, with access to its intermediate layers.

Weight names are those of `transformers`' WhisperEncoder. The last target layer is taken *before*
the final LayerNorm, as in the published code.

Shape suffixes:
    B windows   M mel bins   F mel frames (100 a second)   T encoder frames (50 a second)
    L target layers   D encoder width   H heads   K head width   S frames that stand for silence
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import WhisperConfig

from desta.model.config import Window
from desta.model.encoder.mel import Mel, MelExtractor

SILENT_FRAMES = 64
"""Frames that stand for the silence between a tight window and 30 s (docs/decisions/0041)."""
_GOLDEN = (5**0.5 - 1) / 2
_BORDER = 2  # last frames of a tight window: their convolutions see the end of it


@dataclass(frozen=True)
class Encoded:
    """Encoder outputs of a batch of windows."""

    layers_LBTD: Tensor
    """Outputs of the target layers."""
    last_BTD: Tensor
    """Output of the encoder after its final LayerNorm: the input of Whisper's decoder."""
    mask_BT: Tensor | None
    """True at frames of the clip, False at padding; None if there is no padding. A term added to
    the scores of attention if some frames stand for several."""


class _Attention(nn.Module):
    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q_proj = nn.Linear(dim, dim)
        self.k_proj = nn.Linear(dim, dim, bias=False)
        self.v_proj = nn.Linear(dim, dim)
        self.out_proj = nn.Linear(dim, dim)

    def forward(self, x_BTD: Tensor, mask_B11T: Tensor | None) -> Tensor:
        q_BHTK, k_BHTK, v_BHTK = (
            proj(x_BTD).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for proj in (self.q_proj, self.k_proj, self.v_proj)
        )
        mixed_BHTK = functional.scaled_dot_product_attention(
            q_BHTK, k_BHTK, v_BHTK, attn_mask=mask_B11T
        )
        return self.out_proj(mixed_BHTK.transpose(1, 2).flatten(2))


class _Layer(nn.Module):
    def __init__(self, dim: int, num_heads: int, ffn_dim: int) -> None:
        super().__init__()
        self.self_attn = _Attention(dim, num_heads)
        self.self_attn_layer_norm = nn.LayerNorm(dim)
        self.fc1 = nn.Linear(dim, ffn_dim)
        self.fc2 = nn.Linear(ffn_dim, dim)
        self.final_layer_norm = nn.LayerNorm(dim)

    def forward(self, x_BTD: Tensor, mask_B11T: Tensor | None) -> Tensor:
        x_BTD = x_BTD + self.self_attn(self.self_attn_layer_norm(x_BTD), mask_B11T)
        hidden = functional.gelu(self.fc1(self.final_layer_norm(x_BTD)))
        return x_BTD + self.fc2(hidden)


class WhisperEncoder(nn.Module):
    """Frozen Whisper encoder: no gradients, always in evaluation mode."""

    transcribes = True

    def __init__(self, config: WhisperConfig, target_layers: Sequence[int]) -> None:
        super().__init__()
        self.dim = config.d_model
        self.num_heads = config.encoder_attention_heads
        self.num_mel_bins = config.num_mel_bins
        self.target_layers = tuple(target_layers)
        self.conv1 = nn.Conv1d(config.num_mel_bins, self.dim, kernel_size=3, padding=1)
        self.conv2 = nn.Conv1d(self.dim, self.dim, kernel_size=3, stride=2, padding=1)
        self.embed_positions = nn.Embedding(config.max_source_positions, self.dim)
        self.layers = nn.ModuleList(
            _Layer(self.dim, self.num_heads, config.encoder_ffn_dim)
            for _ in range(config.encoder_layers)
        )
        self.layer_norm = nn.LayerNorm(self.dim)
        self.requires_grad_(False)
        super().train(False)

    def train(self, mode: bool = True) -> "WhisperEncoder":
        """Stay in evaluation mode."""
        return self

    def extractor(self, window: Window) -> MelExtractor:
        """Return the feature extractor of this encoder."""
        return MelExtractor(self.num_mel_bins, window)

    @torch.no_grad()
    def forward(self, mel: Mel, *, silence: bool = False) -> Encoded:
        """Encode a batch of windows; padding changes no frame of any window.

        Args:
            mel: spectrograms.
            silence: append `SILENT_FRAMES` to tight windows, which stand for the silence up to
                30 s, so that a window is read as if it were padded.
        """
        weight = self.conv1.weight
        x_BDF = functional.gelu(self.conv1(mel.features_BMF.to(weight.device, weight.dtype)))
        mask_BT = None
        if mel.num_frames_B is not None:
            num_frames_B = mel.num_frames_B.to(weight.device)
            frames = torch.arange(x_BDF.shape[-1], device=weight.device)
            # Beyond the end of a window conv2 must see zeros, as without a batch, not conv1's bias.
            x_BDF = x_BDF.masked_fill((frames >= num_frames_B[:, None])[:, None], 0.0)
            num_outputs_B = (num_frames_B + 1) // 2
            mask_BT = torch.arange((len(frames) + 1) // 2, device=weight.device)
            mask_BT = mask_BT < num_outputs_B[:, None]
            if bool(mask_BT.all()):
                mask_BT = None  # attention is fastest without a mask
        x_BTD = functional.gelu(self.conv2(x_BDF)).transpose(1, 2)
        if silence and mel.num_frames_B is not None:
            x_BTD, mask_BT = self._until_30s(x_BTD, num_outputs_B)
        else:
            x_BTD = x_BTD + self.embed_positions.weight[: x_BTD.shape[1]]

        mask_B11T = None if mask_BT is None else mask_BT[:, None, None]
        taken = []
        for index, layer in enumerate(self.layers):
            x_BTD = layer(x_BTD, mask_B11T)
            if index in self.target_layers:
                taken.append(x_BTD)
        return Encoded(torch.stack(taken), self.layer_norm(x_BTD), mask_BT)

    def _until_30s(self, x_BTD: Tensor, num_frames_B: Tensor) -> tuple[Tensor, Tensor]:
        """Add positions, append frames of the silence that follows, and weigh all frames.

        A silent frame stands for its share of the silence: the logarithm of that number is added to
        its scores. Their positions are not even: the waves of the embeddings would fall into step.

        Args:
            x_BTD: outputs of the convolutions.
            num_frames_B: lengths of the windows, the silence at their end included.

        Returns:
            Frames (B, T + S, D), and what is added to their scores (B, T + S).
        """
        positions = self.embed_positions.weight
        num_frames_B = torch.where(
            num_frames_B < len(positions), num_frames_B - _BORDER, num_frames_B
        )
        rest_B = len(positions) - num_frames_B
        numbers_S = torch.arange(SILENT_FRAMES, device=x_BTD.device, dtype=torch.float64)
        places_S = (numbers_S + numbers_S * _GOLDEN % 1) / SILENT_FRAMES
        index_BS = num_frames_B[:, None] + (places_S * rest_B[:, None]).long()
        silent_BD = x_BTD[torch.arange(len(x_BTD)), num_frames_B - 1]
        silent_BSD = silent_BD[:, None] + positions[index_BS.clamp(max=len(positions) - 1)]
        frames_BTD = torch.cat([x_BTD + positions[: x_BTD.shape[1]], silent_BSD], dim=1)

        beyond_BT = torch.arange(x_BTD.shape[1], device=x_BTD.device) >= num_frames_B[:, None]
        scores_BT = torch.zeros_like(beyond_BT, dtype=x_BTD.dtype).masked_fill(
            beyond_BT, -torch.inf
        )
        share_B = (rest_B / SILENT_FRAMES).log().to(x_BTD.dtype)  # -inf where nothing follows
        scores_BS = share_B[:, None].expand(-1, SILENT_FRAMES)
        return frames_BTD, torch.cat([scores_BT, scores_BS], dim=1)
