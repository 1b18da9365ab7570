"""Whisper's decoder, with a mask over padded frames: encoder frames -> text tokens.

Weight names are those of `transformers`' WhisperDecoder, which takes no such mask and therefore
cannot batch windows of different true lengths.

Shape suffixes:
    B windows   N new tokens   S tokens so far   T encoder frames   D width   H heads   K head width
    V vocabulary
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import WhisperConfig

from desta.model.backbone.cpu.attention import kernel_is_fast

_KeysValues = tuple[Tensor, Tensor]  # each (B, H, S or T, K)


@dataclass
class DecoderState:
    """Cache of a batch of windows: keys and values of frames and tokens."""

    frames: list[_KeysValues]
    """Keys and values of the encoder frames, for each layer."""
    mask_B11T: Tensor | None
    """True at frames, False at padding, or a term added to the scores; None if all are equal."""
    tokens: list[_KeysValues] = field(default_factory=list)
    """Keys and values of the tokens so far, for each layer; empty before the first."""

    def select(self, rows_B: Tensor) -> "DecoderState":
        """Return these rows."""
        mask_B11T = None if self.mask_B11T is None else self.mask_B11T[rows_B]
        frames, tokens = (
            [(k[rows_B], v[rows_B]) for k, v in pairs] for pairs in (self.frames, self.tokens)
        )
        return DecoderState(frames, mask_B11T, tokens)


class _Attention(nn.Module):
    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q_proj = nn.Linear(dim, dim)
        self.k_proj = nn.Linear(dim, dim, bias=False)
        self.v_proj = nn.Linear(dim, dim)
        self.out_proj = nn.Linear(dim, dim)

    def keys_values(self, x_BTD: Tensor) -> _KeysValues:
        return self._heads(self.k_proj(x_BTD)), self._heads(self.v_proj(x_BTD))

    def forward(
        self, x_BND: Tensor, keys_values: _KeysValues, mask: Tensor | None, *, is_causal: bool
    ) -> Tensor:
        q_BHNK = self._heads(self.q_proj(x_BND))
        if x_BND.is_cpu and x_BND.shape[1] == 1 and not kernel_is_fast(x_BND):
            mixed_BHNK = _attend_once(q_BHNK, *keys_values, mask)
        else:
            mixed_BHNK = functional.scaled_dot_product_attention(
                q_BHNK, *keys_values, attn_mask=mask, is_causal=is_causal
            )
        return self.out_proj(mixed_BHNK.transpose(1, 2).flatten(2))

    def _heads(self, x_BND: Tensor) -> Tensor:
        return x_BND.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)


def _attend_once(
    q_BH1K: Tensor, k_BHTK: Tensor, v_BHTK: Tensor, mask_B11T: Tensor | None
) -> Tensor:
    """Attend from one position without PyTorch's kernel, which can take eight times as long."""
    scores_BH1T = q_BH1K * q_BH1K.shape[-1] ** -0.5 @ k_BHTK.transpose(2, 3)
    if mask_B11T is not None and mask_B11T.dtype == torch.bool:
        scores_BH1T.masked_fill_(~mask_B11T, -torch.inf)
    elif mask_B11T is not None:
        scores_BH1T += mask_B11T
    return scores_BH1T.softmax(dim=-1) @ v_BHTK


class _Layer(nn.Module):
    def __init__(self, dim: int, num_heads: int, ffn_dim: int) -> None:
        super().__init__()
        self.self_attn = _Attention(dim, num_heads)
        self.self_attn_layer_norm = nn.LayerNorm(dim)
        self.encoder_attn = _Attention(dim, num_heads)
        self.encoder_attn_layer_norm = nn.LayerNorm(dim)
        self.fc1 = nn.Linear(dim, ffn_dim)
        self.fc2 = nn.Linear(ffn_dim, dim)
        self.final_layer_norm = nn.LayerNorm(dim)

    def forward(
        self, x_BND: Tensor, past: _KeysValues | None, frames: _KeysValues, mask_B11T: Tensor | None
    ) -> tuple[Tensor, _KeysValues]:
        """Return the hidden states of the new tokens, and keys and values of all tokens so far."""
        normed = self.self_attn_layer_norm(x_BND)
        keys, values = self.self_attn.keys_values(normed)
        if past is not None:
            keys, values = torch.cat([past[0], keys], 2), torch.cat([past[1], values], 2)
        x_BND = x_BND + self.self_attn(normed, (keys, values), None, is_causal=past is None)
        normed = self.encoder_attn_layer_norm(x_BND)
        x_BND = x_BND + self.encoder_attn(normed, frames, mask_B11T, is_causal=False)
        normed = self.final_layer_norm(x_BND)
        return x_BND + self.fc2(functional.gelu(self.fc1(normed))), (keys, values)


class WhisperDecoder(nn.Module):
    """Frozen Whisper decoder: no gradients, always in evaluation mode."""

    def __init__(self, config: WhisperConfig) -> None:
        super().__init__()
        dim, heads = config.d_model, config.decoder_attention_heads
        self.embed_tokens = nn.Embedding(config.vocab_size, dim)
        self.embed_positions = nn.Embedding(config.max_target_positions, dim)
        self.layers = nn.ModuleList(
            _Layer(dim, heads, config.decoder_ffn_dim) for _ in range(config.decoder_layers)
        )
        self.layer_norm = nn.LayerNorm(dim)
        self.proj_out = nn.Linear(dim, config.vocab_size, bias=False)
        self.scale = dim**0.5 if config.scale_embedding else 1.0
        self.requires_grad_(False)
        super().train(False)

    def train(self, mode: bool = True) -> "WhisperDecoder":
        """Stay in evaluation mode."""
        return self

    @torch.no_grad()
    def start(self, frames_BTD: Tensor, mask_BT: Tensor | None) -> DecoderState:
        """Return the state for encoder frames (after the final LayerNorm).

        `mask_BT` is that of `Encoded`.
        """
        dtype = self.layer_norm.weight.dtype
        frames_BTD = frames_BTD.to(dtype)
        if mask_BT is not None and mask_BT.dtype != torch.bool:
            mask_BT = mask_BT.to(dtype)
        frames = []
        for layer in self.layers:
            assert isinstance(layer, _Layer)
            keys, values = layer.encoder_attn.keys_values(frames_BTD)
            frames.append((keys.contiguous(), values.contiguous()))  # used at every step
        return DecoderState(frames, None if mask_BT is None else mask_BT[:, None, None])

    @torch.no_grad()
    def forward(self, ids_BN: Tensor, state: DecoderState) -> Tensor:
        """Append tokens to the state; return the logits after the last one, (B, V)."""
        num_past = state.tokens[0][0].shape[2] if state.tokens else 0
        assert ids_BN.shape[1] == 1 or not num_past, "several tokens only at the beginning"
        positions_ND = self.embed_positions.weight[num_past : num_past + ids_BN.shape[1]]
        x_BND = self.embed_tokens(ids_BN) * self.scale + positions_ND
        past: list[_KeysValues] | list[None] = state.tokens or [None] * len(self.layers)
        state.tokens = []
        for layer, before, frames in zip(self.layers, past, state.frames, strict=True):
            x_BND, tokens = layer(x_BND, before, frames, state.mask_B11T)
            state.tokens.append(tokens)
        return self.proj_out(self.layer_norm(x_BND[:, -1]))
