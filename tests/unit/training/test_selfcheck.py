"""What a training step computes: the same loss and gradients, whatever is shared or packed."""

from typing import Any

import pytest
import torch
from torch.nn import functional
from transformers import (
    AutoModelForCausalLM,
    BloomConfig,
    CohereConfig,
    FalconH1Config,
    Gemma2Config,
    Gemma3Config,
    Gemma3TextConfig,
    GraniteConfig,
    Lfm2Config,
    LlamaConfig,
    MistralConfig,
    Phi3Config,
    Qwen2Config,
)

from desta.data.batching import collate, collate_packed, num_shared
from desta.data.layout import Span, Tokens
from desta.data.trees import Tree, join
from desta.errors import CheckpointError, ConfigError
from desta.model.backbone import lm_head, lora
from desta.model.backbone.cpu.layers import fuse_layers
from desta.model.backbone.layers import recompute
from desta.model.checkpoint import Loaded
from desta.model.config import NO_LABEL, ConnectorConfig, LoraConfig, ModelConfig
from desta.model.desta import DestaModel
from desta.training.selfcheck import can_branch, selfcheck

SMALL = {
    "vocab_size": 96,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
WIDE = 4096  # a window that covers every test
BACKBONES = {
    "llama": LlamaConfig(**SMALL),
    "mistral": MistralConfig(**SMALL, sliding_window=5),
    "gemma2": Gemma2Config(**SMALL, final_logit_softcapping=0.05, sliding_window=WIDE),
    "gemma3": Gemma3Config(
        text_config=Gemma3TextConfig(**SMALL, sliding_window=WIDE).to_dict(),
        vision_config={
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "image_size": 8,
            "patch_size": 4,
        },
        mm_tokens_per_image=4,
    ),
    "cohere": CohereConfig(**SMALL, logit_scale=0.25),
    "granite": GraniteConfig(**SMALL, logits_scaling=7.0, embedding_multiplier=2.0),
}
EXACT = {"rtol": 1e-5, "atol": 1e-5}


def backbone_of(config: Any) -> Any:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.2)  # far from uniform logits
    return model.requires_grad_(False).eval()


def model_of(tiny: Loaded, config: Any) -> DestaModel:
    """Join the tiny encoder, a connector and a random backbone."""
    connector = ConnectorConfig(num_query_tokens=3, num_layers=1, ffn_dim=16, dropout=0.0)
    model_config = ModelConfig(backbone="random", encoder="tiny", connector=connector)
    return DestaModel(model_config, encoder=tiny.model.encoder, backbone=backbone_of(config))


def rows(*lengths: int, num_common: int) -> list[list[int]]:
    draw = torch.Generator().manual_seed(0)
    first = torch.randint(3, 96, (num_common,), generator=draw).tolist()
    return [
        first + torch.randint(3, 96, (n - num_common,), generator=draw).tolist() for n in lengths
    ]


def padded(sequences: list[list[int]], num_labels: int) -> tuple[torch.Tensor, ...]:
    """Return ids, mask and labels, padded on the left."""
    longest = max(map(len, sequences))
    ids = torch.tensor([[0] * (longest - len(s)) + s for s in sequences])
    mask = torch.tensor([[0] * (longest - len(s)) + [1] * len(s) for s in sequences])
    labels = ids.clone()
    labels[:, :-num_labels] = NO_LABEL
    return ids, mask, labels


def loss_and_gradient(
    model: DestaModel, ids: torch.Tensor, mask: torch.Tensor | None, labels: torch.Tensor, **options
) -> tuple[torch.Tensor, torch.Tensor]:
    embeddings = model.embed(ids, None, torch.empty(0, 2)).detach().requires_grad_()
    loss = model.loss_sum(embeddings, mask, labels, **options)
    loss.backward()
    assert embeddings.grad is not None
    return loss.detach(), embeddings.grad


@pytest.mark.parametrize("name", BACKBONES)
def test_the_head_on_labelled_positions_gives_the_loss_of_the_whole_model(
    tiny: Loaded, name: str
) -> None:
    model = model_of(tiny, BACKBONES[name])
    ids, mask, labels = padded(rows(9, 6, num_common=0), num_labels=3)
    loss, gradient = loss_and_gradient(model, ids, mask, labels)

    embeddings = model.embed(ids, None, torch.empty(0, 2)).detach().requires_grad_()
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    logits = model.llm_model(
        inputs_embeds=embeddings, attention_mask=mask, position_ids=positions
    ).logits
    theirs = functional.cross_entropy(
        logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), reduction="sum"
    )
    theirs.backward()

    torch.testing.assert_close(loss, theirs.detach(), **EXACT)
    torch.testing.assert_close(gradient, embeddings.grad, **EXACT)


@pytest.mark.parametrize("name", BACKBONES)
def test_the_head_in_chunks_equals_the_head_in_one(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = backbone_of(BACKBONES[name])
    hidden = torch.randn(11, 32, requires_grad=True)
    targets = torch.randint(96, (11,))
    whole = functional.cross_entropy(lm_head.logits(backbone, hidden), targets, reduction="sum")
    (expected,) = torch.autograd.grad(whole * 0.5, hidden)

    monkeypatch.setattr(lm_head, "_MAX_LOGITS", 3 * 96)
    widest: list[int] = []
    monkeypatch.setattr(
        lm_head, "logits", lambda b, h, f=lm_head.logits: widest.append(len(h)) or f(b, h)
    )
    loss = lm_head.loss_sum(backbone, hidden, targets)
    (found,) = torch.autograd.grad(loss * 0.5, hidden)

    assert widest == [3, 3, 3, 2]
    torch.testing.assert_close(loss.detach(), whole.detach(), **EXACT)
    torch.testing.assert_close(found, expected, **EXACT)
    with torch.no_grad():
        torch.testing.assert_close(lm_head.loss_sum(backbone, hidden, targets), loss, **EXACT)


@pytest.mark.parametrize("name", BACKBONES)
def test_the_head_of_a_known_backbone_passes_the_check(name: str) -> None:
    lm_head.check_logits(backbone_of(BACKBONES[name]), name)


def test_a_backbone_with_a_rule_of_its_own_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = backbone_of(BACKBONES["granite"])
    plain = backbone.get_output_embeddings()
    monkeypatch.setattr(lm_head, "logits", lambda _, hidden: plain(hidden))  # as if it were Llama
    with pytest.raises(CheckpointError, match='backbone "ibm/some" does something to its logits'):
        lm_head.check_logits(backbone, "ibm/some")


@pytest.mark.parametrize("name", BACKBONES)
def test_a_shared_prefix_changes_neither_loss_nor_gradients(tiny: Loaded, name: str) -> None:
    config = BACKBONES[name]
    if name == "mistral":
        config = MistralConfig(**SMALL, sliding_window=WIDE)
    model = model_of(tiny, config)
    assert model.longest_shareable >= 12
    ids, mask, labels = padded(rows(8, 12, 10, num_common=5), num_labels=2)
    calls: list[int] = []
    model.decoder.register_forward_pre_hook(
        lambda m, a, k: calls.append(k["inputs_embeds"].shape[:2].numel()), with_kwargs=True
    )

    loss, gradient = loss_and_gradient(model, ids, mask, labels)
    shared, found = loss_and_gradient(model, ids, mask, labels, num_shared=5)

    assert calls == [3 * 12, 5, 3 * 7]
    torch.testing.assert_close(shared, loss, **EXACT)
    prefix = (mask.cumsum(-1) <= 5).unsqueeze(-1)
    torch.testing.assert_close(found, gradient.masked_fill(prefix, 0), **EXACT)


def test_a_prefix_is_shared_only_where_the_cache_can_be() -> None:
    from desta.model.backbone.prefix import longest_shareable

    assert longest_shareable(BACKBONES["mistral"]) == 5
    assert longest_shareable(BACKBONES["llama"]) == float("inf")
    recurrent = FalconH1Config(**SMALL, mamba_d_ssm=32, mamba_n_heads=4, mamba_d_head=8)
    assert longest_shareable(recurrent) == 0
    stretched = {"rope_type": "longrope", "rope_theta": 1e4, "long_factor": [1.0] * 4}
    phi = Phi3Config(**SMALL, rope_parameters=stretched | {"short_factor": [1.0] * 4})
    assert longest_shareable(phi) == 0


def tokens(ids: list[int], num_labels: int) -> Tokens:
    return Tokens(ids=ids, spans=[], num_context=len(ids) - num_labels)


@pytest.mark.parametrize("name", BACKBONES)
def test_packed_rows_have_the_losses_and_gradients_of_padded_ones(tiny: Loaded, name: str) -> None:
    model = model_of(tiny, BACKBONES[name])  # Mistral's window is shorter than the sequences
    sequences = rows(8, 12, 1 + 2, 10, num_common=1)
    ids, mask, labels = padded(sequences, num_labels=2)
    loss, gradient = loss_and_gradient(model, ids, mask, labels)

    batch = collate_packed([tokens(s, 2) for s in sequences])
    packed, found = loss_and_gradient(
        model, batch.input_ids_BS, None, batch.labels_BS, position_ids_BS=batch.position_ids_BS
    )

    torch.testing.assert_close(packed, loss, **EXACT)
    torch.testing.assert_close(found[0], gradient[mask.bool()], **EXACT)


def test_places_and_labels_follow_the_sequences_of_a_packed_row() -> None:
    first = Tokens(ids=[5, 9, 9, 6, 7], spans=[Span(1, 2, 0)], num_context=4)
    second = Tokens(ids=[9, 8, 3, 4], spans=[Span(0, 1, 1)], num_context=2)
    batch = collate_packed([first, second])
    assert batch.input_ids_BS.tolist() == [[5, 9, 9, 6, 7, 9, 8, 3, 4]]
    assert batch.places_P2.tolist() == [[0, 1], [0, 2], [0, 5]]
    assert batch.labels_BS.tolist() == [[NO_LABEL] * 4 + [7] + [NO_LABEL] * 2 + [3, 4]]
    assert batch.position_ids_BS is not None
    assert batch.position_ids_BS.tolist() == [[0, 1, 2, 3, 4, 0, 1, 2, 3]]


def test_a_prefix_ends_before_audio_labels_and_differences() -> None:
    def shared(*many: Tokens) -> int:
        return num_shared(many)

    plain = Tokens(ids=[1, 2, 3, 4, 5], spans=[], num_context=4)
    assert shared(plain) == shared(plain, plain) == 3, "the last of the context predicts a label"
    assert shared(plain, Tokens(ids=[1, 2, 9, 4, 5], spans=[], num_context=4)) == 2
    assert shared(plain, Tokens(ids=[1, 2, 3, 4], spans=[Span(1, 1, 0)], num_context=4)) == 1


@pytest.mark.parametrize("num_common", [0, 5])
def test_recomputed_layers_give_the_same_loss_and_gradients(tiny: Loaded, num_common: int) -> None:
    ids, mask, labels = padded(rows(8, 12, num_common=5), num_labels=2)
    model = model_of(tiny, BACKBONES["gemma2"])
    inner = model.decoder.layers[1].mlp
    calls: list[bool] = []
    inner.register_forward_hook(lambda *_: calls.append(torch.is_grad_enabled()))
    expected = loss_and_gradient(model, ids, mask, labels, num_shared=num_common)
    once = len(calls)
    recompute(model.decoder)

    found = loss_and_gradient(model, ids, mask, labels, num_shared=num_common)

    assert len(calls) - once == once + 1, "the backward pass has run the layer again"
    assert not any(m.training for m in model.llm_model.modules())
    torch.testing.assert_close(found, expected, **EXACT)


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("packing", [False, True])
def test_known_backbones_pass_the_check_before_training(
    tiny: Loaded, name: str, packing: bool
) -> None:
    model = model_of(tiny, BACKBONES[name])
    selfcheck(model, name, packing=packing, share_prefix=True)


def test_a_backbone_that_mixes_packed_sequences_is_refused(tiny: Loaded) -> None:
    layers = ["conv", "full_attention"]
    recurrent = model_of(tiny, Lfm2Config(**SMALL, layer_types=layers))
    selfcheck(recurrent, "LFM2", packing=False, share_prefix=True)
    with pytest.raises(ConfigError, match='backbone "LFM2" gives a loss of .* with data.packing'):
        selfcheck(recurrent, "LFM2", packing=True, share_prefix=True)


BRANCHING = BACKBONES | {
    "mistral": MistralConfig(**SMALL, sliding_window=WIDE),
    "qwen2": Qwen2Config(**{k: v for k, v in SMALL.items() if k != "head_dim"}),
}


def forest(*stems: int) -> tuple[list[list[Tokens]], list[Tree]]:
    """Return three conversations for each stem, which begin with its tokens, and as trees.

    All trees begin with the same two tokens.
    """
    draw = torch.Generator().manual_seed(1)

    def some(count: int) -> list[int]:
        return torch.randint(3, 96, (count,), generator=draw).tolist()

    groups = []
    for length in stems:
        stem = [1, 2, *some(length - 2)]
        questions = [[number, *some(3 * number)] for number in (3, 4, 5)]
        groups.append([tokens([*stem, *question], 2) for question in questions])
    trees = [join(group, [[]] * len(group))[0] for group in groups]
    assert all(isinstance(tree, Tree) for tree in trees)
    return groups, trees  # type: ignore[return-value]


def separately(
    model: DestaModel, groups: list[list[Tokens]]
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Return the loss of conversations one by one, and the gradients at each tree's tokens."""
    total, gradients = torch.zeros(()), []
    for group in groups:
        stem, branches = torch.zeros(()), []
        num_stem = join(group, [[]] * len(group))[0].num_stem
        for one in group:
            batch = collate([one], pad_id=0)
            loss, gradient = loss_and_gradient(
                model, batch.input_ids_BS, batch.attention_mask_BS, batch.labels_BS
            )
            total = total + loss
            stem = stem + gradient[0, :num_stem]
            branches.append(gradient[0, num_stem:])
        gradients.append(torch.cat([stem, *branches]))
    return total, gradients


@pytest.mark.parametrize("way", ["padded", "packed", "prefix shared", "fused", "recomputed"])
@pytest.mark.parametrize("name", BRANCHING)
def test_trees_have_the_losses_and_gradients_of_separate_rows(
    tiny: Loaded, name: str, way: str
) -> None:
    model = model_of(tiny, BRANCHING[name])
    groups, trees = forest(6, 9)
    expected, gradients = separately(model, groups)
    if way == "fused":
        fuse_layers(model.llm_model)
    if way == "recomputed":
        recompute(model.decoder)
    batch = collate_packed(trees) if way == "packed" else collate(trees, pad_id=0)
    shared = num_shared(trees) if way == "prefix shared" else 0
    assert shared == (2 if way == "prefix shared" else 0)

    embeddings = model.embed(batch.input_ids_BS, None, torch.empty(0, 2)).detach().requires_grad_()
    loss = model.loss_sum(embeddings, **batch.targets(), num_shared=shared)
    (found,) = torch.autograd.grad(loss, embeddings)

    torch.testing.assert_close(loss.detach(), expected, **EXACT)
    found = found[batch.attention_mask_BS.bool()]
    for gradient in gradients:
        gradient[:shared] = 0
    torch.testing.assert_close(found, torch.cat(gradients), **EXACT)


def test_trees_have_the_gradients_of_separate_rows_in_low_rank_updates(tiny: Loaded) -> None:
    model = model_of(tiny, BRANCHING["qwen2"])
    lora.inject(model.decoder, LoraConfig(rank=2, dropout=0.0, targets=("q_proj", "v_proj")))
    updates = [p for p in model.decoder.parameters() if p.requires_grad]
    for update in updates:
        torch.nn.init.normal_(update, std=0.2)
    groups, trees = forest(6, 9)

    separate = collate([one for group in groups for one in group], pad_id=0)
    found = []
    for batch in (separate, collate(trees, pad_id=0)):
        embeddings = model.embed(batch.input_ids_BS, None, torch.empty(0, 2))
        loss = model.loss_sum(embeddings, **batch.targets())
        found.append([loss.detach(), *torch.autograd.grad(loss, updates)])

    assert any(update.abs().max() > 0.1 for update in found[0][1:])
    torch.testing.assert_close(found[1], found[0], **EXACT)


def test_trees_are_read_only_by_backbones_that_give_the_same_loss(tiny: Loaded) -> None:
    for name, config in BRANCHING.items():
        assert can_branch(model_of(tiny, config), max_tokens=64), name
    assert not can_branch(model_of(tiny, BACKBONES["mistral"]), max_tokens=6), "a window of 5"
    assert can_branch(model_of(tiny, BACKBONES["mistral"]), max_tokens=5)
    recurrent = Lfm2Config(**SMALL, layer_types=["conv", "full_attention"])
    assert not can_branch(model_of(tiny, recurrent), max_tokens=64)
    by_columns = BloomConfig(vocab_size=96, hidden_size=32, n_layer=2, n_head=4)
    assert not can_branch(model_of(tiny, by_columns), max_tokens=64), "not by positions"
