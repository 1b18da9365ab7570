"""Micro-batches of several questions about a clip: the clip once, and the same loss."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from desta import audio
from desta.data.dataset import SkippedPair
from desta.data.words import Words
from desta.model.checkpoint import Loaded, load
from desta.model.config import NO_LABEL
from desta.records import AudioRef, AudioTextPair, Message
from desta.training.batches import Collator, MicroBatch
from desta.training.config import DataConfig

QUESTIONS = {"What?": "A voice.", "Who speaks?": "A man, calmly.", "Noise?": "None at all."}


def ask(clip: str, question: str, response: str, *, text: str = "Hello.") -> AudioTextPair:
    content = f"<start_audio><|AUDIO|><end_audio>\n{question}"
    messages = (
        Message(role="system", content="Focus on the audio."),
        Message(role="user", content=content, audios=(AudioRef(audio=clip, text=text),)),
    )
    return AudioTextPair(
        id=f"{clip}{question}",
        dataset="d",
        seed_description="",
        prompt=question,
        response=response,
        messages=messages,
    )


def about(clip: str, **options: Any) -> list[AudioTextPair]:
    return [ask(clip, question, answer, **options) for question, answer in QUESTIONS.items()]


@pytest.fixture(scope="module")
def loaded(published_tiny: Path) -> Loaded:
    """A model of its own: gradients are left in it."""
    return load(published_tiny, dtype="float32")


def collator(loaded: Loaded, audio_root: Path, **options: Any) -> Collator:
    return Collator(DataConfig(train=(Path(),), audio_root=audio_root, **options), loaded)


def loss_and_gradients(loaded: Loaded, micro_batch: MicroBatch) -> tuple[torch.Tensor, ...]:
    """Return the mean loss of the labelled tokens and its gradients, as a step computes them."""
    model = loaded.model.eval()
    loss = model(**micro_batch.inputs()) / micro_batch.batch.num_labels
    trained = [p for p in model.parameters() if p.requires_grad]
    return loss.detach(), *torch.autograd.grad(loss, trained)


@pytest.mark.parametrize("packing", [False, True])
def test_groups_have_the_loss_and_gradients_of_pairs_alone(
    loaded: Loaded, published_tiny: Path, packing: bool
) -> None:
    first, second = about("a.wav"), about("b.wav")
    first[1] = ask("a.wav", "Who speaks?", "A man.", text=" ")  # withheld
    second[2] = replace(second[2], messages=second[2].messages[1:])  # without a system prompt
    join = collator(loaded, published_tiny, packing=packing)

    alone = join([[pair] for pair in [*first, *second]])
    together = join([first, second])

    num_tokens = [m.batch.attention_mask_BS.sum() for m in (together, alone)]
    assert num_tokens[0] < num_tokens[1]
    assert together.batch.num_labels == alone.batch.num_labels
    assert together.pairs == alone.pairs
    torch.testing.assert_close(
        loss_and_gradients(loaded, together),
        loss_and_gradients(loaded, alone),
        rtol=1e-5,
        atol=1e-5,
    )


def test_groups_have_the_loss_of_pairs_alone_in_half_precision(
    loaded: Loaded, published_tiny: Path
) -> None:
    join, group = collator(loaded, published_tiny), about("a.wav")
    with torch.autocast("cpu", torch.bfloat16):
        alone = loss_and_gradients(loaded, join([[pair] for pair in group]))
        together = loss_and_gradients(loaded, join([group]))
    torch.testing.assert_close(together[0], alone[0], rtol=1e-2, atol=0)
    found, expected = (torch.cat([g.flatten() for g in way[1:]]) for way in (together, alone))
    assert (found - expected).norm() <= 0.05 * expected.norm()


def test_a_clip_is_decoded_and_encoded_once_for_all_its_questions(
    loaded: Loaded, published_tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, calls = audio.read_audio, []
    monkeypatch.setattr(
        audio, "read_audio", lambda path, **options: calls.append(path) or read(path, **options)
    )
    micro_batch = collator(loaded, published_tiny)([about("a.wav"), about("b.wav")])

    assert [path.name for path in calls] == ["a.wav", "b.wav"]
    encoded = [loaded.model.encode(mel).layers_LBTD for mel in micro_batch.mels]
    assert sum(layers.shape[1] for layers in encoded) == 2
    per_clip = loaded.model.config.connector.num_query_tokens
    assert len(micro_batch.batch.places_P2) == 2 * per_clip


def test_a_bad_pair_is_skipped_and_the_rest_of_its_group_goes_on(
    loaded: Loaded, published_tiny: Path
) -> None:
    join = collator(loaded, published_tiny)
    good = about("a.wav")
    bad = replace(good[1], messages=(Message(role="user", content="<|AUDIO|>"),))
    broken = SkippedPair("7", "has no response")

    found = join([[good[0], bad, broken, good[2]], about("gone.wav")])

    assert found.groups == [[good[0], good[2]]]
    reasons = {(item.id, item.reason) for item in found.skipped}
    assert reasons == {
        (bad.id, "has more or fewer locators than clips"),
        ("7", "has no response"),
        *((pair.id, "does not exist") for pair in about("gone.wav")),
    }
    expected = join([[good[0], good[2]]])
    assert torch.equal(found.batch.input_ids_BS, expected.batch.input_ids_BS)


def test_a_group_is_no_longer_than_was_expected_and_counts_no_bad_pair(
    loaded: Loaded, published_tiny: Path
) -> None:
    join = collator(loaded, published_tiny)
    group = about("a.wav")
    num_tokens = join([group]).batch.input_ids_BS.shape[1]

    assert join.reader.length(*group) == num_tokens
    assert join.reader.length(*group, SkippedPair("7", "has no response")) == num_tokens
    assert join.reader.length(*group) < sum(map(join.reader.length, group))
    with_withheld = [*group, ask("a.wav", "Who?", "A man.", text=" ")]
    assert join.reader.length(*with_withheld) == join([with_withheld]).batch.input_ids_BS.shape[1]


def test_word_labels_stand_at_the_audio_tokens_of_their_clip(
    loaded: Loaded, published_tiny: Path
) -> None:
    languages = {"a.wav": "French", "b.wav": "Greek"}
    groups = [
        [
            replace(pair, seed_description=f"(Language: {languages[clip]}, Duration: 2s)")
            for pair in about(clip)
        ]
        for clip in ("b.wav", "a.wav", "a.wav")
    ]
    num_tokens = collator(loaded, published_tiny).layout.num_query_tokens
    words = Words(
        [pair.seed_description for group in groups for pair in group],
        ["Language"],
        tokenizer=loaded.tokenizer,
        num_tokens=num_tokens,
    )
    config = DataConfig(train=(Path(),), audio_root=published_tiny)

    micro_batch = Collator(config, loaded, words)(groups)

    rows_P, positions_P = micro_batch.batch.places_P2.unbind(1)
    labels_WQ = micro_batch.batch.labels_BS[rows_P, positions_P].view(-1, num_tokens)
    assert micro_batch.batch.num_labels == (labels_WQ != NO_LABEL).sum()
    for row, labels in zip(rows_P[::num_tokens].tolist(), labels_WQ.tolist(), strict=True):
        assert labels == words.labels(groups[row][0].seed_description)
    assert words.labels(groups[0][0].seed_description) != words.labels(
        groups[1][0].seed_description
    )
