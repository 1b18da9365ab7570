"""The loss from a teacher that reads: equal to an independent one, exact gradients, same labels."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from desta.errors import ConfigError
from desta.model.backbone import lm_head
from desta.model.backbone.chat import encode_conversation
from desta.model.checkpoint import Loaded, copy_trained, fresh
from desta.model.config import NO_LABEL, LoraConfig
from desta.records import AudioRef, AudioTextPair, Message
from desta.training.batches import Collator
from desta.training.config import DataConfig, TrainConfig
from desta.training.loop import train
from support.training import losses, run_config

DESCRIPTION = "[00:00-00:02] (Language: French)"


def pair(clip: str, prompt: str, response: str, description: str = DESCRIPTION) -> AudioTextPair:
    content = f"<start_audio><|AUDIO|><end_audio>\n\n{prompt}"
    heard = AudioRef(audio=clip, text=" ")
    return AudioTextPair(
        id=clip + prompt,
        dataset="d",
        seed_description=description,
        prompt=prompt,
        response=response,
        messages=(Message(role="user", content=content, audios=(heard,)),),
    )


PAIRS = [pair("a.wav", "Which language?", "French."), pair("a.wav", "And?", "A longer answer.")]


def collator(tiny: Loaded, root: Path, share: float, **options: object) -> Collator:
    config = DataConfig(train=(Path(),), audio_root=root, **options)  # type: ignore[arg-type]
    return Collator(config, tiny, distillation=share)


@pytest.mark.parametrize("share", [0.25, 1.0])
def test_the_loss_is_that_of_an_independent_computation(tiny: Loaded, share: float) -> None:
    llm = tiny.model.llm_model
    generator = torch.Generator().manual_seed(0)
    width = llm.config.hidden_size
    hidden = torch.randn(5, width, generator=generator, requires_grad=True)
    teacher = torch.randn(5, width, generator=generator)
    targets = torch.arange(5)

    found = lm_head.loss_sum(llm, hidden, targets, teacher_NE=teacher, share=share)
    (gradient,) = torch.autograd.grad(found, hidden)

    heard, read = llm.lm_head(hidden), llm.lm_head(teacher).detach().softmax(-1)
    written = functional.cross_entropy(heard, targets, reduction="sum")
    divergence = (read * (read.log() - heard.log_softmax(-1))).sum()
    expected = (1 - share) * written + share * divergence
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(gradient, torch.autograd.grad(expected, hidden)[0])


def test_a_model_that_hears_what_its_teacher_reads_has_nothing_to_learn(tiny: Loaded) -> None:
    hidden = torch.randn(3, tiny.model.llm_model.config.hidden_size)
    with torch.no_grad():
        found = lm_head.loss_sum(
            tiny.model.llm_model, hidden, torch.arange(3), teacher_NE=hidden, share=1.0
        )
    assert abs(found.item()) < 1e-5


@pytest.mark.parametrize("options", [{}, {"packing": True}, {"grouped": True}])
def test_the_teacher_reads_the_same_labels_in_the_same_order(
    tiny: Loaded, published_tiny: Path, options: dict[str, bool]
) -> None:
    grouped = options.pop("grouped", False)
    join = collator(tiny, published_tiny, 0.5, **options)
    batch = join([PAIRS] if grouped else [[one] for one in PAIRS])

    heard, teacher = batch.batch.labels_BS, batch.teacher
    assert teacher is not None
    read = teacher.labels_TS
    assert heard[heard != NO_LABEL].tolist() == read[read != NO_LABEL].tolist()
    for row, mask, one in zip(teacher.input_ids_TS, teacher.attention_mask_TS, PAIRS, strict=True):
        turn = replace(
            one.messages[0], audios=(replace(one.messages[0].audios[0], text=DESCRIPTION),)
        )
        context = encode_conversation(tiny.tokenizer, [turn])
        assert row[mask.bool()].tolist()[: len(context)] == context


def test_batches_without_a_usable_pair_and_of_silence_have_a_teacher_to_match(
    tiny: Loaded, published_tiny: Path
) -> None:
    join = collator(tiny, published_tiny, 0.5)
    undescribed = pair("a.wav", "What?", "A voice.", description=" ")

    nothing = join([[undescribed]])

    assert [one.reason for one in nothing.skipped] == [
        "has no seed_description of each of its clips"
    ]
    for batch in (nothing, join.silence()):
        assert batch.teacher is not None
        read = batch.teacher.labels_TS
        assert int((read != NO_LABEL).sum()) == batch.batch.num_labels
        with torch.no_grad():
            assert tiny.model(**batch.inputs()).isfinite()


def test_a_run_learns_from_the_reader_alone(tmp_path: Path, published_tiny: Path) -> None:
    config = run_config(tmp_path, published_tiny)
    shard = tmp_path / "data" / "audio-00000.jsonl"
    rows = [json.loads(line) for line in shard.open()]
    for row in rows:
        num_clips = sum(len(message.get("audios", ())) for message in row["messages"])
        row["seed_description"] = "\n".join([DESCRIPTION] * num_clips)
    shard.write_text("".join(json.dumps(row) + "\n" for row in rows))

    train(replace(config, distillation=1.0, steps=30), tmp_path / "run")

    values = [loss for _, loss in losses(tmp_path / "run")]
    assert sum(values[-4:]) < 0.8 * sum(values[:4])


def test_a_teacher_that_would_change_or_is_not_run_is_refused(
    tmp_path: Path, published_tiny: Path
) -> None:
    config: TrainConfig = run_config(tmp_path, published_tiny)
    lora = replace(config.model, lora=LoraConfig())
    for change in ({"model": lora}, {"words": ("Language",)}, {"distillation": 1.5}):
        with pytest.raises(ConfigError, match="distillation"):
            replace(config, **{"distillation": 0.5} | change)  # type: ignore[arg-type]


def test_a_model_with_lora_starts_from_one_without(tmp_path: Path, published_tiny: Path) -> None:
    config = run_config(tmp_path, published_tiny)
    train(replace(config, steps=2), tmp_path / "first")
    lora = LoraConfig(rank=2, targets=("q_proj",))
    loaded = fresh(replace(config.model, lora=lora))

    copy_trained(tmp_path / "first", loaded.model)

    plain = fresh(config.model)
    copy_trained(tmp_path / "first", plain.model)
    for name, tensor in plain.model.trained_state().items():
        assert torch.equal(loaded.model.trained_state()[name], tensor)
    assert all(
        not tensor.any()
        for name, tensor in loaded.model.trained_state().items()
        if "lora_B" in name
    )
