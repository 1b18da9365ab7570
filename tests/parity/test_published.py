"""Every number that the published implementation gave on the same weights (parity/README.md)."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from desta.audio import load_audio
from desta.data.batching import Batch, collate, collate_packed, num_shared
from desta.data.layout import Layout, wrap_locators
from desta.inference.engine import Engine
from desta.inference.requests import Request
from desta.model.backbone.sampling import Sampling
from desta.model.checkpoint import Loaded, load
from desta.records import Message

CASES = ("single", "two_audios", "multi_turn", "batch")
TOLERANCE = {"rtol": 0.0, "atol": 1e-4}


@pytest.fixture(scope="module")
def expected(published_tiny: Path) -> dict[str, Any]:
    return json.loads((published_tiny / "expected.json").read_text())


@pytest.fixture(scope="module")
def tensors(published_tiny: Path) -> dict[str, torch.Tensor]:
    return load_file(published_tiny / "expected.safetensors")


@pytest.fixture(scope="module")
def layout(tiny: Loaded) -> Layout:
    config = tiny.model.config
    return Layout(
        tiny.tokenizer,
        num_query_tokens=config.connector.num_query_tokens,
        locator=config.audio_locator,
        placeholder_token=config.placeholder_token,
    )


def read(
    case: str, expected: dict[str, Any], layout: Layout, root: Path
) -> tuple[Batch, list[NDArray[np.float32]]]:
    """Lay out a case as we do, and read its clips."""
    sequences, windows = [], []
    for raw in expected[case]["messages"]:
        messages = wrap_locators([Message.from_json(m) for m in raw], layout.locator)
        audios = [a for m in messages for a in m.audios]
        sequences.append(layout.context(messages, [1] * len(audios)))
        windows += [load_audio(root / a.audio) for a in audios]
    return collate(sequences, pad_id=layout.tokenizer.pad_token_id), windows


def with_placeholders(batch: Batch, case: dict[str, Any], placeholder: int) -> torch.Tensor:
    """Hide transcriptions behind placeholders, as the published code does in its ids."""
    ids = batch.input_ids_BS.clone()
    published = torch.tensor(case["input_ids"])
    hidden = published == placeholder
    places = torch.zeros_like(hidden)
    places[batch.places_P2[:, 0], batch.places_P2[:, 1]] = True
    assert bool((hidden | ~places).all()), "an audio token stands where the published has text"
    ids[hidden] = placeholder
    return ids


@pytest.mark.parametrize("case", CASES)
def test_ids_masks_and_start_positions_are_the_published_ones(
    case: str, expected: dict[str, Any], layout: Layout, published_tiny: Path
) -> None:
    batch, _ = read(case, expected, layout, published_tiny)
    ids = with_placeholders(batch, expected[case], layout.placeholder_id)

    assert ids.tolist() == expected[case]["input_ids"]
    assert batch.attention_mask_BS.tolist() == expected[case]["attention_mask"]
    starts = batch.places_P2[:: layout.num_query_tokens].tolist()
    assert starts == expected[case]["start_positions"]


@pytest.mark.parametrize("case", CASES)
def test_features_embeddings_logits_and_greedy_ids_are_the_published_ones(
    case: str,
    expected: dict[str, Any],
    tensors: dict[str, torch.Tensor],
    layout: Layout,
    tiny: Loaded,
    published_tiny: Path,
) -> None:
    model = tiny.model
    batch, windows = read(case, expected, layout, published_tiny)
    with torch.no_grad():
        features = model.audio_tokens(model.encode(model.mel(windows)))
        embeddings = model.embed(batch.input_ids_BS, features, batch.places_P2)
        options = {"inputs_embeds": embeddings, "attention_mask": batch.attention_mask_BS}
        generated = model.llm_model.generate(
            **options,
            do_sample=False,
            max_new_tokens=24,
            return_dict_in_generate=True,
            output_logits=True,
        )

    torch.testing.assert_close(features, tensors[f"{case}.audio_features"], **TOLERANCE)
    real = batch.attention_mask_BS.bool()  # the embedding of padding is nobody's business
    torch.testing.assert_close(
        embeddings[real], tensors[f"{case}.inputs_embeds"][real], **TOLERANCE
    )
    torch.testing.assert_close(generated.logits[0], tensors[f"{case}.last_logits"], **TOLERANCE)
    assert generated.sequences.tolist() == expected[case]["generated_ids"]


@pytest.mark.parametrize("case", CASES)
def test_greedy_ids_are_the_published_ones_in_a_batch_streamed_and_from_caches(
    case: str, expected: dict[str, Any], tiny: Loaded, published_tiny: Path
) -> None:
    engine = Engine(tiny)
    requests = []
    for raw in expected[case]["messages"]:
        messages = [Message.from_json(m) for m in raw]
        placed = [
            replace(m, audios=tuple(replace(a, audio=published_tiny / a.audio) for a in m.audios))
            for m in messages
        ]
        requests.append(Request(messages=placed, sampling=Sampling(max_new_tokens=24)))
    expected_ids = expected[case]["generated_ids"]
    ends = [
        next((i + 1 for i, t in enumerate(row) if t in engine.end_ids), 24) for row in expected_ids
    ]
    wanted = [row[:end] for row, end in zip(expected_ids, ends, strict=True)]

    for _ in range(2):  # the second time, clips are known and what was read is known
        streams = [engine.stream(request) for request in requests]
        for stream in streams:
            assert "".join(stream.pieces).strip() == stream.writer.text
        assert [stream.writer.ids for stream in streams] == wanted
        assert [reply.unwrap()[0].ids for reply in engine.run(requests)] == wanted


@pytest.mark.parametrize("way", ["padded", "prefix shared", "packed"])
def test_training_ids_labels_loss_and_all_gradients_are_the_published_ones(
    way: str,
    expected: dict[str, Any],
    tensors: dict[str, torch.Tensor],
    layout: Layout,
    published_tiny: Path,
) -> None:
    model = load(published_tiny, dtype="float32").model  # its own copy: gradients are left in it
    published = expected["training"]
    sequences, windows = [], []
    for row in published["rows"]:
        messages = [Message.from_json(m) for m in row["messages"]]
        audios = [a for m in messages for a in m.audios]
        sequences.append(layout.training(messages, row["response"], [1] * len(audios)))
        windows += [load_audio(published_tiny / a.audio) for a in audios]
    padded = collate(sequences, pad_id=layout.tokenizer.pad_token_id)
    ids = with_placeholders(padded, published, layout.placeholder_id)
    assert ids.tolist() == published["input_ids"]
    assert padded.labels_BS.tolist() == published["labels"]
    assert padded.attention_mask_BS.tolist() == published["attention_mask"]
    assert padded.places_P2[:: layout.num_query_tokens].tolist() == published["start_positions"]

    batch = collate_packed(sequences) if way == "packed" else padded
    shared = num_shared(sequences) if way == "prefix shared" else 0
    assert (shared > 10) == (way == "prefix shared")
    groups = [[3, 0], [2], [1]] if way == "packed" else [[0, 1, 2, 3]]
    by_window = batch.places_P2.view(len(windows), layout.num_query_tokens, 2)
    loss = model(
        [model.mel([windows[place] for place in group]) for group in groups],
        batch.input_ids_BS,
        None if way == "packed" else batch.attention_mask_BS,
        by_window[[place for group in groups for place in group]].flatten(0, 1),
        batch.labels_BS,
        batch.position_ids_BS,
        shared,
    )
    loss = loss / batch.num_labels
    loss.backward()

    assert abs(loss.item() - published["loss"]) < 1e-4
    gradients = {f"grad.{name}": p.grad for name, p in model.trained_state().items()}
    assert len(gradients) == 61
    assert set(gradients) == {name for name in tensors if name.startswith("grad.")}
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, tensors[name], **TOLERANCE, msg=name)
