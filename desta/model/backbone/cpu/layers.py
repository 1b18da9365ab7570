"""Fused layers of Llama-like backbones on the CPU: the same function in a third of the operations.

On a CPU, a small backbone in the layers of transformers spends most of a decoding step on launching
operations, and much of a training step on attention in a layout that suits no kernel. Here products
with the same input are one product, grouped heads are never repeated, and the backward pass is
written out: the weights are frozen, so it needs four products and stores little.

`fuse_layers` replaces the `forward` of every layer of a known class; masks, rotary angles, caches
and the names of all weights stay. `pack_backbone` adds packed copies of the weights of layers and
LM head (`desta.model.backbone.cpu.packing`) for inference.

A layer falls back to its original `forward` on a GPU, when it is quantized, trained or has low-rank
updates, and where its attention scores would fill the memory (docs/decisions/0022).

Shape suffixes: B sequences   S positions   K key positions, cached ones included
    E width   H heads   G key/value heads   D width of a head   C = H + 2 G   F width of the MLP
    N = S x H / G, the positions of all heads that share keys and values   O output of a product
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.models.llama.modeling_llama import LlamaDecoderLayer
from transformers.models.mistral.modeling_mistral import MistralDecoderLayer
from transformers.models.qwen2.modeling_qwen2 import Qwen2DecoderLayer

from desta.model.backbone.cpu.attention import attend_by_kernel, future_mask, kernel_is_fast
from desta.model.backbone.cpu.packing import (
    compute_dtype,
    pack_linears,
    packed,
    packed_linear,
    worth_packing,
)

_KNOWN = (LlamaDecoderLayer, MistralDecoderLayer, Qwen2DecoderLayer)
_MAX_SCORES = 1 << 20  # of one head; above, attention that never stores them all is better


def fuse_layers(backbone: Any) -> int:
    """Replace the `forward` of all layers of known classes; return their number.

    The LM head of any backbone gets a contiguous input: with a slice of positions PyTorch would
    copy the whole head first, which takes longer than the product.
    """
    backbone.get_output_embeddings().register_forward_pre_hook(_contiguous)
    layers = [layer for layer in backbone.modules() if type(layer) in _KNOWN]
    for layer in layers:
        layer.fused = _Fused(layer)
        layer.forward = partial(_forward, layer, layer.forward, layer.fused)
    return len(layers)


def pack_backbone(backbone: Any) -> bool:
    """Pack the weights of a backbone for inference where that pays; return whether it was done."""
    layers: list[Any] = [m for m in backbone.modules() if type(m) in _KNOWN and hasattr(m, "fused")]
    if not layers:
        return pack_linears(backbone.modules())
    wanted = worth_packing(backbone.parameters())
    for layer in layers:
        layer.fused.wants_packed = wanted
    if wanted:
        pack_linears([backbone.get_output_embeddings()])
    return wanted


def _contiguous(_: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
    return (inputs[0].clone(memory_format=torch.contiguous_format),)


@dataclass
class _Weights:
    """Weights of a layer; matrices with the same input are stacked."""

    norm1_E: Tensor
    qkv_OE: Tensor
    qkv_bias_O: Tensor | None
    out_EO: Tensor
    norm2_E: Tensor
    gate_up_OE: Tensor
    down_EF: Tensor
    eps: float
    num_heads: int
    num_groups: int
    head_dim: int
    scaling: float
    packed: tuple[Tensor, ...] | None
    """The four matrices, in the order of their use."""


class _Fused:
    """Fused weights of a layer; the parameters become views of them, so nothing is stored twice."""

    def __init__(self, layer: Any) -> None:
        self._layer = layer
        self._weights: _Weights | None = None
        self.wants_packed = False

    def weights(self) -> _Weights | None:
        """Return the weights, fused again after a move; None if they cannot be fused."""
        attention, mlp = self._layer.self_attn, self._layer.mlp
        linears = [attention.q_proj, attention.k_proj, attention.v_proj, attention.o_proj]
        linears += [mlp.gate_proj, mlp.up_proj, mlp.down_proj]
        if not all(_is_plain(linear) for linear in linears):  # a layer may change after it ran
            self._weights = None
            return None
        found = self._weights
        if found is not None and linears[0].weight.data_ptr() == found.qkv_OE.data_ptr():
            if self.wants_packed and found.packed is None:
                found.packed = tuple(
                    packed(weight)
                    for weight in (found.qkv_OE, found.out_EO, found.gate_up_OE, found.down_EF)
                )
            return found
        self._weights = None
        if _has_bias(linears[3:]):
            return None
        if not isinstance(mlp.act_fn, nn.SiLU) and type(mlp.act_fn).__name__ != "SiLUActivation":
            return None
        norms = self._layer.input_layernorm, self._layer.post_attention_layernorm
        head_dim = attention.head_dim
        self._weights = _Weights(
            norm1_E=norms[0].weight.detach(),
            qkv_OE=_stack([linear.weight for linear in linears[:3]]),
            qkv_bias_O=_stack([x.bias for x in linears[:3]]) if _has_bias(linears[:3]) else None,
            out_EO=attention.o_proj.weight.detach(),
            norm2_E=norms[1].weight.detach(),
            gate_up_OE=_stack([mlp.gate_proj.weight, mlp.up_proj.weight]),
            down_EF=mlp.down_proj.weight.detach(),
            eps=norms[0].variance_epsilon,
            num_heads=attention.q_proj.out_features // head_dim,
            num_groups=attention.k_proj.out_features // head_dim,
            head_dim=head_dim,
            scaling=attention.scaling,
            packed=None,
        )
        return self._weights


def _is_plain(linear: Any) -> bool:
    if type(linear) is not nn.Linear:
        return False
    weight = linear.weight
    return type(weight.data) is Tensor and weight.is_cpu and not weight.requires_grad


def _has_bias(linears: list[Any]) -> bool:
    return any(linear.bias is not None for linear in linears)


def _stack(parts: list[Any]) -> Tensor:
    """Stack parameters, and turn them into views of the result."""
    whole = torch.cat([part.data for part in parts])
    for part, view in zip(parts, whole.split([len(part) for part in parts]), strict=True):
        part.data = view
    return whole


def _forward(
    layer: Any,
    original: Any,
    fused: _Fused,
    hidden_states: Tensor,
    attention_mask: Tensor | None = None,
    position_embeddings: tuple[Tensor, Tensor] | None = None,
    past_key_values: Any = None,
    **options: Any,
) -> Tensor:
    """Run the fused layer, or `original` where it cannot be used; replaces `layer.forward`."""
    weights = fused.weights()
    num_read = hidden_states.shape[1] if attention_mask is None else attention_mask.shape[-1]
    if (
        weights is None
        or position_embeddings is None
        or compute_dtype(hidden_states) != weights.qkv_OE.dtype
        or hidden_states.shape[1] * num_read > _MAX_SCORES
    ):
        return original(
            hidden_states,
            attention_mask=attention_mask,
            position_embeddings=position_embeddings,
            past_key_values=past_key_values,
            **options,
        )
    cache = None if past_key_values is None else (past_key_values, layer.self_attn.layer_idx)
    with torch.autocast("cpu", enabled=False):
        run = _Layer.apply if torch.is_grad_enabled() and hidden_states.requires_grad else _compute
        return run(hidden_states, weights, position_embeddings, attention_mask, cache)


def _products(weights: _Weights, *, learning: bool) -> list[Callable[[Tensor], Tensor]]:
    """Return the four products of a layer, with packed weights where there are any."""
    matrices = (weights.qkv_OE, weights.out_EO, weights.gate_up_OE, weights.down_EF)
    biases = (weights.qkv_bias_O, None, None, None)
    if weights.packed is not None and not learning:
        return [
            partial(packed_linear, weight=weight, bias=bias)
            for weight, bias in zip(weights.packed, biases, strict=True)
        ]
    return [
        partial(functional.linear, weight=weight, bias=bias)
        for weight, bias in zip(matrices, biases, strict=True)
    ]


def _compute(
    x_BSE: Tensor,
    weights: _Weights,
    angles: tuple[Tensor, Tensor],
    mask_B1SK: Tensor | None,
    cache: tuple[Any, int] | None,
    kept: list[Tensor] | None = None,
) -> Tensor:
    """Run the layer; tensors that the backward pass needs are added to `kept`."""
    size_B, size_S, _ = x_BSE.shape
    num_heads, num_groups, head_dim = weights.num_heads, weights.num_groups, weights.head_dim
    qkv, out, gate_up, down = _products(weights, learning=kept is not None)
    qkv_BSO = qkv(_norm(x_BSE, weights.norm1_E, weights.eps))
    qkv_BSCD = qkv_BSO.view(size_B, size_S, num_heads + 2 * num_groups, head_dim)
    qkv_BCSD = qkv_BSCD.transpose(1, 2)
    qk_BCSD = _rotate(qkv_BCSD[:, :-num_groups], *angles)
    q_BHSD, k_BGKD = qk_BCSD[:, :num_heads], qk_BCSD[:, num_heads:]
    v_BGKD = qkv_BCSD[:, -num_groups:]
    if cache is not None:
        k_BGKD, v_BGKD = cache[0].update(k_BGKD, v_BGKD, cache[1])
    if kept is None and kernel_is_fast(x_BSE):
        heard_BHSD = attend_by_kernel(q_BHSD, k_BGKD, v_BGKD, mask_B1SK, weights.scaling)
    else:
        q_BGND = (q_BHSD * weights.scaling).view(size_B, num_groups, -1, head_dim)
        scores_BGNK = q_BGND @ k_BGKD.transpose(2, 3)
        if mask_B1SK is not None or size_S > 1:
            _hide(scores_BGNK.view(size_B, num_heads, size_S, -1), mask_B1SK)
        shares_BGNK = scores_BGNK.softmax(dim=-1)
        heard_BHSD = (shares_BGNK @ v_BGKD).view(size_B, num_heads, size_S, head_dim)
    heard_BSO = heard_BHSD.transpose(1, 2).reshape(size_B, size_S, -1)
    h_BSE = x_BSE + out(heard_BSO)
    gate_up_BSF = gate_up(_norm(h_BSE, weights.norm2_E, weights.eps))
    gate_BSF, up_BSF = gate_up_BSF.chunk(2, dim=-1)
    y_BSE = down(functional.silu(gate_BSF).mul_(up_BSF))
    if kept is not None:
        kept += [x_BSE, h_BSE, gate_up_BSF, q_BGND, k_BGKD, v_BGKD, shares_BGNK]
    return y_BSE.add_(h_BSE)


class _Layer(torch.autograd.Function):
    """The layer, with a backward pass for its input only."""

    @staticmethod
    def forward(
        ctx: Any,
        x_BSE: Tensor,
        weights: _Weights,
        angles: tuple[Tensor, Tensor],
        mask_B1SK: Tensor | None,
        cache: tuple[Any, int] | None,
    ) -> Tensor:
        kept: list[Tensor] = []
        y_BSE = _compute(x_BSE, weights, angles, mask_B1SK, cache, kept)
        ctx.save_for_backward(*kept, *angles)
        ctx.weights = weights
        return y_BSE

    @staticmethod
    def backward(ctx: Any, dy_BSE: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        x_BSE, h_BSE, gate_up_BSF, q_BGND, k_BGKD, v_BGKD, shares_BGNK, cos, sin = ctx.saved_tensors
        weights: _Weights = ctx.weights
        size_B, size_S, _ = x_BSE.shape
        num_heads, num_groups = weights.num_heads, weights.num_groups

        gate_BSF, up_BSF = gate_up_BSF.chunk(2, dim=-1)
        inner_BSF = dy_BSE @ weights.down_EF
        dgate_up_BSF = torch.empty_like(gate_up_BSF)
        dgate_BSF, dup_BSF = dgate_up_BSF.chunk(2, dim=-1)
        torch.mul(functional.silu(gate_BSF), inner_BSF, out=dup_BSF)
        dgate_BSF.copy_(torch.ops.aten.silu_backward(inner_BSF.mul_(up_BSF), gate_BSF))
        dh_BSE = _norm_backward(
            dgate_up_BSF @ weights.gate_up_OE, h_BSE, weights.norm2_E, weights.eps
        ).add_(dy_BSE)

        dheard_BSO = dh_BSE @ weights.out_EO
        dheard_BGND = (
            dheard_BSO.view(size_B, size_S, num_heads, -1)
            .transpose(1, 2)
            .reshape(size_B, num_groups, -1, weights.head_dim)
        )
        dshares_BGNK = dheard_BGND @ v_BGKD.transpose(2, 3)
        dscores_BGNK = torch.ops.aten._softmax_backward_data(
            dshares_BGNK, shares_BGNK, -1, shares_BGNK.dtype
        )
        dqkv_BSCD = dheard_BSO.new_empty(
            size_B, size_S, num_heads + 2 * num_groups, weights.head_dim
        )
        dqkv_BCSD = dqkv_BSCD.transpose(1, 2)
        dv_BGKD = shares_BGNK.transpose(2, 3) @ dheard_BGND
        dqkv_BCSD[:, -num_groups:] = dv_BGKD[:, :, -size_S:]  # cached positions are constant
        dk_BGKD = dscores_BGNK.transpose(2, 3) @ q_BGND
        dq_BHSD = (dscores_BGNK @ k_BGKD).view(size_B, num_heads, size_S, -1)
        dqk_BCSD = torch.cat([dq_BHSD.mul_(weights.scaling), dk_BGKD[:, :, -size_S:]], dim=1)
        _rotate(dqk_BCSD, cos, -sin, out=dqkv_BCSD[:, :-num_groups])
        dx_BSE = _norm_backward(
            dqkv_BSCD.flatten(2) @ weights.qkv_OE, x_BSE, weights.norm1_E, weights.eps
        ).add_(dh_BSE)
        return dx_BSE, None, None, None, None


def _norm(x_BSE: Tensor, weight_E: Tensor, eps: float) -> Tensor:
    """Apply RMSNorm, rounding where transformers rounds."""
    wide_BSE = x_BSE.float()
    return (wide_BSE * _inverse_rms(wide_BSE, eps)).to(x_BSE.dtype).mul_(weight_E)


def _norm_backward(dy_BSE: Tensor, x_BSE: Tensor, weight_E: Tensor, eps: float) -> Tensor:
    wide_BSE = x_BSE.float()
    inverse_BS1 = _inverse_rms(wide_BSE, eps)
    dy_BSE = dy_BSE * weight_E
    mean_BS1 = (dy_BSE * wide_BSE).mean(dim=-1, keepdim=True)
    wide_BSE.mul_(mean_BS1 * inverse_BS1.square()).neg_().add_(dy_BSE).mul_(inverse_BS1)
    return wide_BSE.to(x_BSE.dtype)


def _inverse_rms(wide_BSE: Tensor, eps: float) -> Tensor:
    return torch.rsqrt(wide_BSE.pow(2).mean(dim=-1, keepdim=True) + eps)


def _rotate(x_BCSD: Tensor, cos: Tensor, sin: Tensor, out: Tensor | None = None) -> Tensor:
    """Apply rotary embeddings: rotate the two halves of each head by the angle of its position."""
    half = x_BCSD.shape[-1] // 2
    if out is None:
        out = torch.empty(x_BCSD.shape, dtype=x_BCSD.dtype)
    cos, sin = cos[:, None, :, :half], sin[:, None, :, :half]  # both halves have the same angles
    left, right = x_BCSD[..., :half], x_BCSD[..., half:]
    torch.mul(left, cos, out=out[..., :half]).addcmul_(right, sin, value=-1)
    torch.mul(right, cos, out=out[..., half:]).addcmul_(left, sin)
    return out


def _hide(scores_BHSK: Tensor, mask_B1SK: Tensor | None) -> None:
    """Mask the scores in place; without a mask, causally."""
    if mask_B1SK is None:
        hidden = future_mask(*scores_BHSK.shape[-2:])
    elif mask_B1SK.dtype == torch.bool:
        hidden = mask_B1SK.logical_not()
    else:
        scores_BHSK += mask_B1SK
        return
    scores_BHSK.masked_fill_(hidden, torch.finfo(scores_BHSK.dtype).min)
