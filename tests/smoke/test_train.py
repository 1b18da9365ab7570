"""Training on the tiny model: it learns, and leaves the frozen parts alone."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file

from desta.audio.augment.config import AugmentConfig, Codec, Noise
from desta.config import dump_recipe
from desta.data.dataset import PairDataset
from desta.errors import ConfigError, DataError
from desta.model import checkpoint
from desta.model.config import LoraConfig
from desta.model.desta import DestaModel
from desta.model.verify import verify
from desta.training.batches import Collator
from desta.training.config import TrainConfig
from desta.training.loop import train
from support.commands import desta
from support.training import losses, run_config, validations


@pytest.fixture
def config(tmp_path: Path, published_tiny: Path) -> TrainConfig:
    return run_config(tmp_path, published_tiny)


def test_the_loss_falls_and_frozen_parts_stay_bit_identical(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    fresh = checkpoint.fresh

    def keep(*args, **options):
        loaded = fresh(*args, **options)
        before = {k: v.clone() for k, v in loaded.model.state_dict().items()}
        seen.append((loaded.model, before))
        return loaded

    monkeypatch.setattr(checkpoint, "fresh", keep)  # watch the model that the run builds
    train(replace(config, steps=40, validate_every=20, save_every=20), tmp_path / "run")

    values = [loss for _, loss in losses(tmp_path / "run")]
    assert sum(values[-8:]) / 8 < 0.85 * sum(values[:4]) / 4
    model, before = seen[0]
    trained = set(model.trained_state())
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]) == (name not in trained), name


def test_a_finished_run_can_be_loaded_and_is_not_repeated(
    config: TrainConfig, tmp_path: Path
) -> None:
    first = train(config, tmp_path / "run")
    weights = (tmp_path / "run" / "model.safetensors").read_bytes()

    assert train(config, tmp_path / "run") == first
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == weights
    loaded = checkpoint.load(tmp_path / "run").model.config
    connector = replace(config.model.connector, target_layers=(0, 1, 2, 3))
    assert loaded == replace(config.model, connector=connector)
    assert len(validations(tmp_path / "run")) == 2


def test_a_run_with_augmentation_and_balance_is_found_again_by_its_recipe(
    config: TrainConfig, tmp_path: Path
) -> None:
    shard = tmp_path / "data" / "audio-00000.jsonl"
    rows = [json.loads(line) for line in shard.open()]
    for number, row in enumerate(rows):
        language = "French" if number < 4 else "English"
        row["seed_description"] = f"[00:00-00:02] (Language: {language}, Duration: 2s)"
        row["response"] = f"{language} is spoken, {number}."
    shard.write_text("".join(json.dumps(row) + "\n" for row in rows))
    augment = AugmentConfig(
        noise=Noise(probability=0.5), codec=Codec(probability=0.5), changes={"Bearing": ("noise",)}
    )
    data = replace(config.data, augment=augment, balance=("Language",))
    config = replace(config, data=data, steps=4)

    first = train(config, tmp_path / "run")

    assert not first["skipped"]
    assert train(config, tmp_path / "run") == first
    plain = replace(config, data=replace(config.data, augment=None))
    with pytest.raises(ConfigError, match="another recipe"):
        train(plain, tmp_path / "run")
    train(plain, tmp_path / "plain")
    assert losses(tmp_path / "plain") != losses(tmp_path / "run")


def test_another_recipe_in_the_same_directory_is_refused(
    config: TrainConfig, tmp_path: Path
) -> None:
    config = replace(config, steps=1)
    train(config, tmp_path / "run")
    with pytest.raises(ConfigError, match="another recipe"):
        train(replace(config, steps=2), tmp_path / "run")


def test_a_run_stops_when_too_many_recordings_are_missing(
    config: TrainConfig, tmp_path: Path
) -> None:
    broken = replace(config.data, audio_root=tmp_path, validation=())
    with pytest.raises(DataError, match=r"\d+ pairs on end cannot be used.* does not exist"):
        train(replace(config, data=broken), tmp_path / "run")


def test_unusable_pairs_are_counted_and_the_run_goes_on(
    config: TrainConfig, tmp_path: Path
) -> None:
    shard = tmp_path / "data" / "audio-00000.jsonl"
    rows = [json.loads(line) for line in shard.open()]
    rows[0]["response"] = None
    rows[4]["messages"][1]["audios"][0]["audio"] = "gone.wav"
    shard.write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = replace(config, data=replace(config.data, max_skipped_share=0.1))

    summary = train(config, tmp_path / "run")

    assert summary["steps"] == config.steps
    examples = {"has no response": "pair-0", "does not exist": "pair-4"}
    assert {r: e["example"] for r, e in summary["skipped"].items()} == examples
    counted = {r: {"count": 1, "example": example} for r, example in examples.items()}
    assert summary["skipped_in_validation"] == counted


@pytest.mark.parametrize(("num_gone", "max_share"), [(2, 0.08), (24, 1.0)])
def test_a_validation_that_cannot_be_read_stops_the_run_before_it_trains(
    config: TrainConfig, tmp_path: Path, num_gone: int, max_share: float
) -> None:
    rows = [json.loads(line) for line in (tmp_path / "data" / "audio-00000.jsonl").open()]
    for row in rows[:num_gone]:
        row["messages"][1]["audios"][0]["audio"] = "gone.wav"
    held_out = tmp_path / "held-out"
    held_out.mkdir()
    (held_out / "audio-00000.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = replace(config.data, validation=(held_out,), max_skipped_share=max_share)

    with pytest.raises(
        DataError, match=rf"{num_gone} of 24 validation pairs are unusable; .*: does not exist"
    ):
        train(replace(config, data=data), tmp_path / "run")


def test_what_is_cut_off_is_counted_with_an_example_and_printed(
    config: TrainConfig, tmp_path: Path
) -> None:
    shard = tmp_path / "data" / "audio-00000.jsonl"
    rows = [json.loads(line) for line in shard.open()]
    rows[4]["response"] *= 20
    rows[7]["messages"][1]["audios"][0]["text"] = "many words " * 20
    shard.write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = replace(config.data, validation=(), max_text_tokens=40)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(dump_recipe(replace(config, data=data)))

    told = desta("train", recipe, "--out", tmp_path / "run")

    assert told.exit_code == 0, told.output
    cut = json.loads((tmp_path / "run" / "summary.json").read_text())["cut"]
    examples = {reason: entry["example"] for reason, entry in cut.items()}
    assert examples == {
        "response beyond data.max_tokens": "pair-4",
        "transcription beyond data.max_text_tokens": "pair-7",
    }
    for reason, entry in cut.items():
        assert entry["count"] > 0
        assert reason in " ".join(told.output.split())


def test_lora_is_trained_saved_and_loaded_and_its_backbone_stays(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh = checkpoint.fresh
    seen = []

    def keep(*args, **options):
        loaded = fresh(*args, **options)
        checkpoint.save(loaded.model, tmp_path / "before")
        seen.append(loaded.model)
        return loaded

    monkeypatch.setattr(checkpoint, "fresh", keep)
    lora = LoraConfig(rank=2, dropout=0.5, targets=("q_proj", "v_proj"))
    config = replace(config, model=replace(config.model, lora=lora), gradient_checkpointing=True)
    train(config, tmp_path / "run")

    before = checkpoint.load(tmp_path / "before").model
    after = checkpoint.load(tmp_path / "run").model
    assert after.config.lora == lora
    assert verify(tmp_path / "run").trained_tensors == len(after.trained_state())
    name = "llm_model.model.layers.0.self_attn.q_proj.lora_B.default.weight"
    assert not before.state_dict()[name].any()
    trained = set(after.trained_state())
    assert name in trained
    frozen = seen[0].state_dict()
    for key, tensor in after.state_dict().items():
        changed = not torch.equal(tensor, before.state_dict()[key])
        assert changed == (key in trained), key
        assert torch.equal(tensor, frozen[key]), key
    active = {n.split(".")[-2] for n, m in seen[0].llm_model.named_modules() if m.training}
    assert active == {"q_proj", "v_proj", "lora_dropout"}, "nothing else of the backbone drops out"


def test_other_ways_of_reading_give_the_same_losses(config: TrainConfig, tmp_path: Path) -> None:
    connector = replace(config.model.connector, dropout=0.0)
    data = replace(config.data, validation=(), token_budget=24 * 256)  # all pairs in one batch
    config = replace(config, model=replace(config.model, connector=connector), steps=3)
    for name, changes in {
        "plain": {},
        "packed": {"packing": True},
        "read elsewhere": {"num_workers": 1},
    }.items():
        train(replace(config, data=replace(data, **changes), accumulate=1), tmp_path / name)

    plain, packed, elsewhere = (
        dict(losses(tmp_path / name)) for name in ("plain", "packed", "read elsewhere")
    )
    assert len(plain) == 3
    assert packed == pytest.approx(plain, abs=1e-4)
    assert elsewhere == pytest.approx(plain, abs=1e-6)


def test_a_loss_that_is_no_number_stops_the_run_before_the_weights_move(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward, calls = DestaModel.forward, []

    def break_down(*args, **inputs):
        calls.append(args)
        return forward(*args, **inputs) * (float("nan") if len(calls) == 4 else 1.0)

    monkeypatch.setattr(DestaModel, "forward", break_down)
    with pytest.raises(ConfigError, match="the loss of step 2 is nan") as caught:
        train(replace(config, save_every=1), tmp_path / "run")

    assert "learning_rate" in caught.value.fix
    opened = [str(link.resolve()) for link in Path("/proc/self/fd").glob("*")]  # none elsewhere
    assert [path for path in opened if str(tmp_path) in path] == []
    state = load_file(tmp_path / "run" / "resume" / "step-00000001" / "state.safetensors")
    assert all(torch.isfinite(tensor).all() for tensor in state.values())


def test_clips_encoded_in_groups_give_the_loss_of_one_padded_batch(
    config: TrainConfig, tmp_path: Path
) -> None:
    loaded = checkpoint.fresh(config.model)
    pairs = [PairDataset(config.data.train)[row] for row in range(3)]
    paths = [tmp_path / f"{seconds}.wav" for seconds in (1, 9, 2, 4)]
    for path, seconds in zip(paths, (1, 9, 2, 4), strict=True):
        noise = np.random.default_rng(seconds).standard_normal(seconds * 16_000)
        soundfile.write(path, 0.1 * noise, 16_000)
    rest = iter(paths)
    pairs = [
        replace(
            pair,
            messages=tuple(
                replace(m, audios=tuple(replace(a, audio=str(next(rest))) for a in m.audios))
                for m in pair.messages
            ),
        )
        for pair in pairs
    ]
    losses = []
    for group_windows in (True, False):
        data = replace(config.data, group_windows=group_windows)
        micro_batch = Collator(data, loaded)([[pair] for pair in pairs])
        assert len(micro_batch.mels) == (3 if group_windows else 1)
        losses.append(loaded.model(**micro_batch.inputs()))
    torch.testing.assert_close(*losses, rtol=0, atol=1e-4)
