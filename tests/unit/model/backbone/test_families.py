"""Any backbone: it trains, it answers alone as in company, it comes back."""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional
from transformers import (
    AutoModelForCausalLM,
    BloomConfig,
)

from desta.audio import load_audio
from desta.data.batching import collate
from desta.data.layout import Layout
from desta.errors import CheckpointError
from desta.inference.engine import Engine
from desta.inference.prefix_cache import PrefixCache
from desta.model import checkpoint
from desta.model.backbone.decoding import generate, prefill
from desta.model.backbone.sampling import Sampling
from desta.model.backbone.writer import Writer
from desta.model.checkpoint import Loaded
from desta.model.config import NO_LABEL
from desta.model.desta import DestaModel
from support.backbones import FAMILIES, GREEDY, SEPARATE, config, conversation


@pytest.mark.parametrize("family", FAMILIES)
def test_a_backbone_trains_answers_and_comes_back(
    family: str, build: Callable[[str], Path], published_tiny: Path, tmp_path: Path
) -> None:
    loaded = checkpoint.fresh(config(build(family), published_tiny))
    a, b = published_tiny / "a.wav", published_tiny / "c.wav"
    loss_reaches_the_connector(loaded, a, b)

    engine = Engine(loaded)
    asked = [conversation("What?", a), conversation("Say much more about it!", b)]
    together = [answer.ids for answer in engine.respond(asked, GREEDY)]
    assert together == [engine.respond([c], GREEDY)[0].ids for c in asked]

    checkpoint.save(loaded.model, tmp_path / "trained")
    again = Engine(checkpoint.load(tmp_path / "trained"))
    assert [answer.ids for answer in again.respond(asked, GREEDY)] == together


def loss_reaches_the_connector(loaded: Loaded, *clips: Path) -> None:
    """The loss is the cross-entropy of the backbone's own logits, and every tensor feels it."""
    model = loaded.model
    lay = Layout(loaded.tokenizer, **loaded.layout_options)
    sequences = [lay.training(conversation("What?", c), "It is a bell.", [1]) for c in clips]
    batch = collate(sequences, pad_id=lay.pad_id)
    mel = model.mel([load_audio(c) for c in clips])

    loss = model(
        [mel], batch.input_ids_BS, batch.attention_mask_BS, batch.places_P2, batch.labels_BS
    )
    loss.backward()

    with torch.no_grad():
        audio = model.audio_tokens(model.encode(mel))
        embeddings = model.embed(batch.input_ids_BS, audio, batch.places_P2)
        logits = model.llm_model(
            inputs_embeds=embeddings, attention_mask=batch.attention_mask_BS
        ).logits
    expected = functional.cross_entropy(
        logits[:, :-1].flatten(0, 1),
        batch.labels_BS[:, 1:].flatten(),
        ignore_index=NO_LABEL,
        reduction="sum",
    )
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-4)
    gradients = {name: p.grad for name, p in model.trained_state().items()}
    for name, gradient in gradients.items():
        assert gradient is not None, name
        assert bool(gradient.isfinite().all()), name
    assert bool((gradients["perception.connector.proj.1.weight"] != 0).any())
    assert all(p.grad is None for p in model.llm_model.parameters())


def test_audio_tokens_start_at_the_scale_that_the_embedding_module_gives_out(
    build: Callable[[str], Path], published_tiny: Path
) -> None:
    model = checkpoint.fresh(config(build("gemma3"), published_tiny)).model
    table = model.llm_model.get_input_embeddings()
    given = table(torch.arange(448)).std()
    assert given > 5 * table.weight.std()  # Gemma multiplies by sqrt(32)
    torch.testing.assert_close(model.connector.proj[0].weight[0], given)


def test_a_backbone_without_a_chat_template_is_refused(
    build: Callable[[str], Path], published_tiny: Path
) -> None:
    directory = build("llama")
    (directory / "chat_template.jinja").unlink()
    with pytest.raises(CheckpointError, match="no chat template"):
        checkpoint.fresh(config(directory, published_tiny))


@pytest.mark.parametrize("family", ["gemma3", "qwen3"])
def test_a_beginning_that_is_shared_changes_no_logits(
    family: str, build: Callable[[str], Path]
) -> None:
    backbone = AutoModelForCausalLM.from_pretrained(build(family), dtype=torch.float32).eval()
    begin, *ends = (torch.randint(3, 400, (length,)) for length in (20, 90, 50))  # Gemma sees 64
    embed = backbone.get_input_embeddings()
    sequences = [embed(torch.cat([begin, end])).detach() for end in ends]
    together = prefill(backbone, sequences, num_shared=20).logits_BV
    for row, sequence in enumerate(sequences):
        alone = backbone(inputs_embeds=sequence[None]).logits[0, -1]
        torch.testing.assert_close(together[row], alone, rtol=0, atol=1e-4)


@pytest.mark.parametrize("kind", SEPARATE)
def test_rows_that_a_backbone_cannot_take_together_are_answered_as_alone(
    kind: str, speak: Callable[[str], Any]
) -> None:
    torch.manual_seed(0)
    backbone = AutoModelForCausalLM.from_config(SEPARATE[kind]()).eval()
    embed, tokenizer = backbone.get_input_embeddings(), speak("plain")
    begin, *ends = (torch.randint(3, 400, (length,)) for length in (9, 31, 3, 19))
    sequences = [embed(torch.cat([begin, end])).detach() for end in ends]

    def answers(model: Any, rows: list[int], copies: list[int], lengths: list[int]) -> Any:
        state = prefill(model, [sequences[row] for row in rows], num_shared=9)
        writers = [
            Writer(tokenizer, Sampling(max_new_tokens=n), end_ids=frozenset(), num_logprobs=0)
            for n in lengths
        ]
        for _ in generate(model, state.select(copies), writers):
            pass
        return [(w.ids, [logprob for logprob, _ in w.logprobs]) for w in writers]

    lengths = [4, 12, 7, 9]  # rows end at different times, and two continue the second sequence
    together = answers(deepcopy(backbone), [0, 1, 2], [0, 1, 1, 2], lengths)
    for (ids, logprobs), row, length in zip(together, [0, 1, 1, 2], lengths, strict=True):
        [(alone, expected)] = answers(deepcopy(backbone), [row], [0], [length])
        assert ids == alone
        assert logprobs == pytest.approx(expected, abs=1e-4)
    several = answers(deepcopy(backbone), [1], [0, 0], [12, 7])
    assert [ids for ids, _ in several] == [ids for ids, _ in together[1:3]]


@pytest.mark.parametrize("kind", SEPARATE)
def test_nothing_is_kept_of_what_cannot_be_continued(kind: str) -> None:
    backbone = AutoModelForCausalLM.from_config(SEPARATE[kind]()).eval()
    prefixes = PrefixCache(backbone, max_bytes=1 << 20)
    ids = list(range(3, 23))
    prefixes.put(ids, prefill(backbone, [backbone.get_input_embeddings()(torch.tensor(ids))]).cache)
    assert prefixes.get([*ids, 30]) == (0, None)


def test_a_backbone_that_names_no_longest_context_has_none(
    tiny: Loaded,
) -> None:
    shape = BloomConfig(vocab_size=448, hidden_size=32, n_layer=1, n_head=4)
    backbone = AutoModelForCausalLM.from_config(shape)
    model = DestaModel(tiny.model.config, encoder=tiny.model.encoder, backbone=backbone)
    assert model.max_positions == float("inf")
