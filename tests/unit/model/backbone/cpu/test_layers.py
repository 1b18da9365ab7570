"""Layers made for the CPU: the same function, the same gradient, and a way back."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    DynamicCache,
    LlamaConfig,
    MistralConfig,
    Qwen2Config,
    Qwen3Config,
)

from desta.inference.engine import Engine
from desta.model.backbone.cpu import layers, packing
from desta.model.backbone.cpu.attention import attend_by_kernel
from desta.model.backbone.cpu.layers import fuse_layers, pack_backbone
from desta.model.backbone.layers import recompute
from desta.model.backbone.load import load_backbone
from desta.model.backbone.lora import inject
from desta.model.checkpoint import load
from desta.model.config import Dtype, LoraConfig, ModelConfig
from desta.model.hub.load import Part

SIZES: dict[str, Any] = {
    "vocab_size": 64,
    "hidden_size": 48,
    "intermediate_size": 40,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
}
ROUNDING = 3e-6
"""Norms compute in float32, whatever the rest does."""
FAMILIES = {
    "llama": LlamaConfig(**SIZES),
    "no groups": LlamaConfig(**{**SIZES, "num_key_value_heads": 6}),
    "mistral, sliding": MistralConfig(**SIZES, sliding_window=4),
    "qwen2, with bias": Qwen2Config(**SIZES),
}


def build(config: Any, dtype: torch.dtype = torch.float64) -> tuple[Any, Any]:
    torch.manual_seed(0)
    slow = AutoModelForCausalLM.from_config(config).to(dtype).eval().requires_grad_(False)
    for parameter in slow.parameters():  # biases and gains are not to be all alike
        parameter += 0.05 * torch.randn_like(parameter)
    fast = deepcopy(slow)
    assert fuse_layers(fast) == config.num_hidden_layers
    return slow, fast


def run(model: Any, embeddings_BSE: Tensor, mask_BS: Tensor | None) -> tuple[Tensor, Tensor]:
    inputs = embeddings_BSE.clone().requires_grad_()
    hidden = model.get_decoder()(
        inputs_embeds=inputs, attention_mask=mask_BS, use_cache=False
    ).last_hidden_state
    seen = hidden if mask_BS is None else hidden[mask_BS == 1]
    (seen * torch.linspace(-1, 1, seen.shape[-1])).sum().backward()
    return seen.detach(), inputs.grad


@pytest.fixture(params=FAMILIES, name="models")
def _models(request: Any) -> tuple[Any, Any]:
    return build(FAMILIES[request.param])


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one for every layer that ran fast."""
    calls: list[int] = []
    compute = layers._compute

    def counted(*arguments: Any) -> Tensor:
        calls.append(1)
        return compute(*arguments)

    monkeypatch.setattr(layers, "_compute", counted)
    return calls


@pytest.mark.parametrize("padded", [False, True])
def test_outputs_and_gradients_are_those_of_transformers(
    models: Any, used: list[int], padded: bool
) -> None:
    slow, fast = models
    mask = torch.tensor([[1] * 9, [0] * 3 + [1] * 6]) if padded else None
    embeddings = torch.randn(2, 9, 48, dtype=torch.float64)
    expected, found = run(slow, embeddings, mask), run(fast, embeddings, mask)
    for one, other in zip(expected, found, strict=True):
        torch.testing.assert_close(other, one, rtol=0, atol=ROUNDING)
    assert len(used) == 3
    assert expected[1].abs().max() > 1e-3


@pytest.fixture(params=["by hand", "by kernel"])
def _attention(request: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Attend both ways, whatever this processor is better at."""
    monkeypatch.setattr(layers, "kernel_is_fast", lambda x: request.param == "by kernel")


@pytest.mark.usefixtures("_attention")
def test_padded_rows_read_without_gradient(models: Any, used: list[int]) -> None:
    mask = torch.tensor([[1] * 9, [0] * 3 + [1] * 6])
    embeddings = torch.randn(2, 9, 48, dtype=torch.float64)
    with torch.no_grad():
        slow, fast = (
            model.get_decoder()(inputs_embeds=embeddings, attention_mask=mask).last_hidden_state
            for model in models
        )
    torch.testing.assert_close(fast[mask == 1], slow[mask == 1], rtol=0, atol=ROUNDING)
    assert len(used) == 3


@pytest.mark.usefixtures("_attention")
def test_reading_on_from_a_cache(models: Any, used: list[int]) -> None:
    caches = [DynamicCache(config=model.config) for model in models]
    for length in (7, 3, 1, 1):  # a prompt, a later turn, tokens
        embeddings = torch.randn(2, length, 48, dtype=torch.float64)
        with torch.no_grad():
            slow, fast = (
                model(inputs_embeds=embeddings, past_key_values=cache, logits_to_keep=1).logits
                for model, cache in zip(models, caches, strict=True)
            )
        torch.testing.assert_close(fast, slow, rtol=0, atol=ROUNDING)
    assert len(used) == 4 * 3


@pytest.mark.usefixtures("_attention")
def test_packed_rows_do_not_see_each_other(models: Any) -> None:
    embeddings = torch.randn(1, 8, 48, dtype=torch.float64)
    positions = torch.tensor([[0, 1, 2, 3, 4, 0, 1, 2]])
    with torch.no_grad():
        slow, fast = (
            model.get_decoder()(
                inputs_embeds=embeddings, position_ids=positions, use_cache=False
            ).last_hidden_state
            for model in models
        )
    torch.testing.assert_close(fast, slow, rtol=0, atol=ROUNDING)


def test_recomputed_layers_give_the_same_gradient(models: Any, used: list[int]) -> None:
    slow, fast = models
    recompute(fast.get_decoder())
    embeddings = torch.randn(2, 5, 48, dtype=torch.float64)
    torch.testing.assert_close(run(fast, embeddings, None)[1], run(slow, embeddings, None)[1])
    assert len(used) == 6  # once forwards, once backwards


def test_weights_lie_in_memory_once_and_keep_their_names() -> None:
    slow, fast = build(LlamaConfig(**SIZES))
    run(fast, torch.randn(1, 4, 48, dtype=torch.float64), None)
    attention = fast.get_decoder().layers[0].self_attn
    assert attention.q_proj.weight.untyped_storage().data_ptr() == (
        attention.k_proj.weight.untyped_storage().data_ptr()
    )
    for name, tensor in slow.state_dict().items():
        torch.testing.assert_close(fast.state_dict()[name], tensor)


def test_a_model_that_is_converted_later_computes_with_the_converted_weights() -> None:
    slow, fast = build(LlamaConfig(**SIZES))
    embeddings = torch.randn(1, 4, 48, dtype=torch.float64)
    run(fast, embeddings, None)
    slow, fast, embeddings = slow.float(), fast.float(), embeddings.float()
    torch.testing.assert_close(run(fast, embeddings, None)[0], run(slow, embeddings, None)[0])


def test_bfloat16_differs_by_rounding_alone() -> None:
    slow, fast = build(LlamaConfig(**SIZES))
    embeddings = torch.randn(2, 9, 48, dtype=torch.float64)
    exact = run(slow, embeddings, None)
    slow, fast = slow.bfloat16(), fast.bfloat16()
    with torch.autocast("cpu", torch.bfloat16):  # as in training
        theirs = run(slow, embeddings.bfloat16(), None)
        ours = run(fast, embeddings.bfloat16(), None)
    for place in (0, 1):
        errors = [(found[place] - exact[place]).norm() for found in (theirs, ours)]
        assert errors[1] <= 1.2 * errors[0]


@pytest.mark.parametrize("how", ["low rank", "trained", "long", "other format"])
def test_what_cannot_be_done_fast_is_left_to_transformers(
    how: str, used: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, fast = build(LlamaConfig(**SIZES))
    for model in (slow, fast):
        torch.manual_seed(1)
        if how == "low rank":
            inject(model.get_decoder(), LoraConfig(dropout=0.0))
            for name, parameter in model.named_parameters():
                if "lora_B" in name:
                    torch.nn.init.normal_(parameter)
        elif how == "trained":
            model.requires_grad_(True)
    if how == "long":
        monkeypatch.setattr(layers, "_MAX_SCORES", 15)
    embeddings = torch.randn(1, 4, 48, dtype=torch.float64)
    with torch.autocast("cpu", torch.bfloat16, enabled=how == "other format"):
        expected, found = run(slow, embeddings, None), run(fast, embeddings, None)
    torch.testing.assert_close(found, expected)
    assert not used


def test_low_rank_updates_count_also_in_layers_that_have_run(used: list[int]) -> None:
    slow, fast = build(LlamaConfig(**SIZES))
    embeddings = torch.randn(1, 4, 48, dtype=torch.float64)
    run(fast, embeddings, None)
    used.clear()
    for model in (slow, fast):
        torch.manual_seed(1)
        inject(model.get_decoder(), LoraConfig(dropout=0.0))
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter)
    found, expected = run(fast, embeddings, None), run(slow, embeddings, None)
    torch.testing.assert_close(found, expected)
    assert not used


def test_layers_of_other_families_stay_as_they_are() -> None:
    backbone = AutoModelForCausalLM.from_config(Qwen3Config(**SIZES, head_dim=8))
    assert fuse_layers(backbone) == 0
    assert all("forward" not in vars(module) for module in backbone.modules())


def test_the_head_reads_one_position_without_being_copied() -> None:
    _, fast = build(LlamaConfig(**SIZES))
    strides: list[tuple[int, ...]] = []
    fast.get_output_embeddings().register_forward_hook(
        lambda module, inputs, output: strides.append(inputs[0].stride())
    )
    fast(inputs_embeds=torch.randn(1, 9, 48, dtype=torch.float64), logits_to_keep=1)
    assert strides == [(48, 48, 1)]


@pytest.mark.skipif(
    not torch.ops.mkldnn._is_mkldnn_bf16_supported(), reason="no bfloat16 on this processor"
)
@pytest.mark.parametrize("family", ["llama", "qwen2, with bias", "qwen3"])
def test_packed_weights_give_the_same_bits(family: str) -> None:
    if family == "qwen3":  # none of its layers runs fast
        config = Qwen3Config(**SIZES, head_dim=8)
        fast = AutoModelForCausalLM.from_config(config).bfloat16().eval().requires_grad_(False)
    else:
        _, fast = build(FAMILIES[family], torch.bfloat16)
    embeddings = torch.randn(2, 9, 48, dtype=torch.bfloat16)
    with torch.no_grad():
        expected = fast(inputs_embeds=embeddings).logits
        assert pack_backbone(fast)
        assert torch.equal(fast(inputs_embeds=embeddings).logits, expected)
    assert "forward" in vars(fast.get_output_embeddings())
    if family != "qwen3":
        assert fast.get_decoder().layers[0].fused.weights().packed is not None


def test_a_pytorch_whose_private_operators_have_changed_packs_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def gone(*_: object) -> None:
        raise AttributeError("no attribute '_reorder_linear_weight'")

    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: True)
    monkeypatch.setattr(packing, "packed", gone)
    monkeypatch.setattr(packing, "_can_pack", packing._can_pack.__wrapped__)

    assert not packing.pack_linears([torch.nn.Linear(8, 4, dtype=torch.bfloat16)])


def test_packed_layers_that_are_converted_or_differentiated_compute_as_ever() -> None:
    linear = torch.nn.Linear(8, 4, dtype=torch.bfloat16).requires_grad_(False).eval()
    assert packing.pack_linears([linear]) == torch.ops.mkldnn._is_mkldnn_bf16_supported()
    x = torch.randn(3, 8, dtype=torch.bfloat16, requires_grad=True)
    linear(x).sum().backward()
    assert torch.equal(x.grad, linear.weight.sum(0, keepdim=True).expand(3, 8))
    with torch.no_grad():
        linear.float()
        torch.testing.assert_close(linear(x.float()), x.float() @ linear.weight.T + linear.bias)


@pytest.mark.skipif(
    not torch.ops.mkldnn._is_mkldnn_bf16_supported(), reason="no bfloat16 on this processor"
)
@pytest.mark.parametrize("how", ["counted", "fused", "loaded", "copied"])
def test_packed_layers_in_float32_follow_autocast_and_what_becomes_of_their_weights(
    how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    linear = torch.nn.Linear(8, 4).eval()
    x = torch.randn(3, 8)
    calls: list[int] = []
    product = packing.packed_linear
    monkeypatch.setattr(
        packing, "packed_linear", lambda *arguments: calls.append(1) or product(*arguments)
    )

    def outputs() -> list[Tensor]:
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            wide, narrow = linear(x), linear(x.bfloat16())
        return [wide, narrow, linear(x).detach()]

    expected = outputs()
    assert packing.pack_linears([linear], torch.bfloat16)
    for found, wanted in zip(outputs(), expected, strict=True):
        assert torch.equal(found, wanted)
        assert found.dtype == wanted.dtype
    assert len(calls) == 2, "autocast computes two of the three"
    if how == "copied":
        linear = deepcopy(linear)
        with torch.no_grad():
            linear.bias *= 2
    elif how == "loaded":
        linear.load_state_dict({name: value + 1 for name, value in linear.state_dict().items()})
    else:
        optimizer = torch.optim.AdamW(linear.parameters(), lr=0.1, fused=how == "fused")
        linear.train()(x).sum().backward()
        optimizer.step()
        linear.eval()
    changed = outputs()
    assert not torch.equal(changed[0], expected[0])
    assert len(calls) == 4
    del linear.forward
    assert all(map(torch.equal, outputs(), changed))


@pytest.mark.parametrize("mask", ["none", "bool", "added"])
@pytest.mark.parametrize("num_positions", [1, 4, 7])
def test_the_kernel_in_bfloat16_differs_by_rounding_alone(mask: str, num_positions: int) -> None:
    q, k, v = (torch.randn(2, heads, 7, 8, dtype=torch.bfloat16) for heads in (6, 2, 2))
    q = q[:, :, :num_positions].contiguous()
    allowed = torch.ones(7, 7, dtype=torch.bool).tril()[-num_positions:].repeat(2, 1, 1, 1)
    masks = {"none": None, "bool": allowed, "added": torch.zeros(allowed.shape).bfloat16()}
    if mask != "none":
        allowed[1, :, :, :2] = False  # padding in front
        masks["added"].masked_fill_(~allowed, -torch.inf)
    scores = q.double() @ k.double().repeat_interleave(3, 1).transpose(2, 3) * 0.3
    exact = scores.masked_fill(~allowed, -torch.inf).softmax(-1) @ v.double().repeat_interleave(
        3, 1
    )
    found = attend_by_kernel(q, k, v, masks[mask], 0.3)
    read = allowed.any(-1, keepdim=True).expand(exact.shape)
    torch.testing.assert_close(found.double()[read], exact[read], rtol=0, atol=0.03)


@pytest.mark.skipif(
    not torch.ops.mkldnn._is_mkldnn_bf16_supported(), reason="no bfloat16 on this processor"
)
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_an_engine_packs_its_connector_where_the_encoder_is_in_bfloat16(
    published_tiny: Path, dtype: Dtype
) -> None:
    engine = Engine(load(published_tiny, dtype=dtype))
    assert ("forward" in vars(engine.model.connector.proj[1])) == (dtype == "bfloat16")


def test_exact_and_large_backbones_are_not_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not pack_backbone(build(LlamaConfig(**SIZES))[1])
    monkeypatch.setattr(packing, "MAX_BYTES", 1000)
    assert not pack_backbone(build(LlamaConfig(**SIZES), torch.bfloat16)[1])


def test_a_backbone_that_is_loaded_is_frozen_and_runs_fast(
    used: list[int], published_tiny: Path
) -> None:
    backbone, _ = load_backbone(
        Part(str(published_tiny / "backbone")), ModelConfig(backbone="b", encoder="e")
    )
    assert not any(parameter.requires_grad for parameter in backbone.parameters())
    backbone(input_ids=torch.tensor([[1, 2]]))
    assert len(used) == backbone.config.num_hidden_layers
