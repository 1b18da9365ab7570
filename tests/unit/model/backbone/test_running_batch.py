"""Sequences that join and leave a running batch get the tokens that each would get alone."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from desta.inference.prefix_cache import PrefixCache
from desta.model.backbone.decoding import generate, prefill
from desta.model.backbone.running_batch import RunningBatch
from desta.model.backbone.sampling import Sampling
from desta.model.backbone.writer import Writer
from support.backbones import FAMILIES, SEPARATE

LENGTHS = [31, 5, 90, 12]  # Gemma's window is 64
TOKENS = [12, 3, 9, 20]
JOINS = {0: [0, 1], 2: [2], 6: [3]}
"""Token before which each sequence joins; the second leaves before the third joins."""


def embeddings(backbone: Any) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    ids = [torch.randint(3, 400, (length,), generator=generator) for length in LENGTHS]
    return [backbone.get_input_embeddings()(row).detach() for row in ids]


def writer(tokenizer: Any, number: int, **options: Any) -> Writer:
    sampling = Sampling(max_new_tokens=TOKENS[number], **options)
    return Writer(tokenizer, sampling, end_ids=frozenset(), seed=number, num_logprobs=0)


def alone(backbone: Any, tokenizer: Any, number: int, **options: Any) -> Writer:
    own = writer(tokenizer, number, **options)
    for _ in generate(backbone, prefill(backbone, [embeddings(backbone)[number]]), [own]):
        pass
    return own


def step(batch: RunningBatch) -> None:
    batch.write()
    batch.remove([row for row, w in enumerate(batch.writers) if w.finish])
    batch.advance()


@pytest.mark.parametrize("kind", [*FAMILIES, *SEPARATE])
def test_rows_that_join_and_leave_are_written_as_alone(
    kind: str, speak: Callable[[str], Any]
) -> None:
    torch.manual_seed(0)
    make = FAMILIES[kind][0] if kind in FAMILIES else SEPARATE[kind]
    backbone = AutoModelForCausalLM.from_config(make()).eval()
    tokenizer = speak("plain")
    batch, writers = RunningBatch(backbone), [writer(tokenizer, n) for n in range(4)]

    for token in range(40):
        for number in JOINS.get(token, []):
            state = prefill(backbone, [embeddings(backbone)[number]])
            batch.add(state, [writers[number]])
        step(batch)

    assert not batch.writers
    for number, together in enumerate(writers):
        own = alone(backbone, tokenizer, number)
        assert together.ids == own.ids
        ours, theirs = ([p for p, _ in w.logprobs] for w in (together, own))
        assert ours == pytest.approx(theirs, abs=1e-4)


@pytest.fixture
def llama() -> Any:
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(FAMILIES["llama"][0]()).eval()


def test_copies_of_a_row_draw_their_own_tokens(llama: Any, speak: Callable[[str], Any]) -> None:
    tokenizer = speak("plain")
    writers = [writer(tokenizer, n, temperature=1.0) for n in (0, 3)]
    batch = RunningBatch(llama)
    batch.add(prefill(llama, [embeddings(llama)[1]]), [writer(tokenizer, 2)])
    batch.add(prefill(llama, [embeddings(llama)[0]]), writers)
    for _ in range(25):
        step(batch)
    assert writers[0].ids == alone(llama, tokenizer, 0, temperature=1.0).ids
    assert writers[1].ids[:12] != writers[0].ids


def test_padding_leaves_with_the_row_that_needed_it(
    llama: Any, speak: Callable[[str], Any]
) -> None:
    batch = RunningBatch(llama)
    for number in (2, 1):
        batch.add(prefill(llama, [embeddings(llama)[number]]), [writer(speak("plain"), number)])
    assert batch.width == 90
    batch.remove([0])
    assert batch.width == 5
    assert batch.cache_of(0).get_seq_length() == 5
    batch.write()
    batch.advance()
    assert batch._cache.get_seq_length() == 6


@pytest.mark.parametrize("kind", ["llama", "gemma3"])
def test_the_cache_of_a_row_continues_its_sequence(kind: str, speak: Callable[[str], Any]) -> None:
    torch.manual_seed(0)
    backbone = AutoModelForCausalLM.from_config(FAMILIES[kind][0]()).eval()
    batch, own = RunningBatch(backbone), writer(speak("plain"), 3)
    rows = embeddings(backbone)
    batch.add(prefill(backbone, [rows[0]]), [writer(speak("plain"), 0)])
    batch.add(prefill(backbone, [rows[3]]), [own])
    for _ in range(2):
        batch.write()
        batch.advance()
    symbols = [f"position {n}" for n in range(LENGTHS[3])]
    prefixes = PrefixCache(backbone, max_bytes=1 << 20)
    prefixes.put([*symbols, *own.ids], batch.cache_of(1))

    known, cache = prefixes.get([*symbols, *own.ids, 9, 9])

    assert known == LENGTHS[3] + 2
    embed = backbone.get_input_embeddings()
    before, more = (embed(torch.tensor(ids)).detach() for ids in (own.ids, [9, 9]))
    expected = prefill(backbone, [torch.cat([rows[3], before, more])]).logits_BV
    continued = prefill(backbone, [more], cache=cache).logits_BV
    torch.testing.assert_close(continued, expected, rtol=0, atol=1e-4)


def test_a_row_that_computes_nan_is_named_and_the_others_go_on(
    llama: Any, speak: Callable[[str], Any]
) -> None:
    batch, tokenizer = RunningBatch(llama), speak("plain")
    assert batch.damaged_rows() == []
    good = writer(tokenizer, 1)
    for number in (0, 1):
        own = good if number else writer(tokenizer, 0)
        batch.add(prefill(llama, [embeddings(llama)[number]]), [own])
    batch._logits_BV[0, 5] = torch.nan
    assert batch.damaged_rows() == [0]
    batch.remove([0])
    for _ in range(3):
        step(batch)
    assert good.ids == alone(llama, tokenizer, 1).ids
