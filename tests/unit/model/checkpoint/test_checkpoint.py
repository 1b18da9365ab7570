"""Model directories: what does not fit exactly is refused by name."""

import errno
import json
import os
import resource
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from desta.data.layout import Layout
from desta.errors import CheckpointError, ConfigError, DestaError
from desta.inference.engine import Engine
from desta.model import checkpoint
from desta.model.backbone.sampling import Sampling
from desta.model.checkpoint import WEIGHTS, Loaded
from desta.model.hub import zoo
from desta.model.verify import verify
from desta.records import LOCATOR, AudioRef, Message
from support.checkpoints import change


def test_what_is_saved_loads_to_the_same_tensors_and_fields(tiny: Loaded, copy: Path) -> None:
    published = json.loads((copy / "config.json").read_text())
    checkpoint.save(tiny.model, copy)

    again = checkpoint.load(copy, dtype="float32")
    for name, tensor in tiny.model.trained_state().items():
        assert torch.equal(tensor, again.model.trained_state()[name])
    written = json.loads((copy / "config.json").read_text())
    assert {k: written[k] for k in published} == published
    assert again.model.config.window == "30s"


def test_unknown_fields_and_missing_target_layers_are_tolerated(copy: Path) -> None:
    change(copy, train_id=30678, llm_config={"vocab_size": 1}, info="x", commit=None)
    assert checkpoint.load(copy).model.encoder.target_layers == (0, 1, 2, 3)


def test_a_checkpoint_of_another_size_is_refused_by_ten_names_at_most(copy: Path) -> None:
    change(copy, prompt_size=8)
    with pytest.raises(CheckpointError, match=r"layer_prompts.0 has shape \[1, 16, 32\], not"):
        checkpoint.load(copy)
    change(copy, prompt_size=16, qformer_num_hidden_layers=3)
    with pytest.raises(CheckpointError, match="is missing.* and 16 more") as caught:
        checkpoint.load(copy)
    assert caught.value.message.count(" is missing") == 10


def test_a_missing_and_an_unknown_tensor_are_named(copy: Path) -> None:
    tensors = load_file(copy / "model.safetensors")
    tensors["stranger"] = tensors.pop("perception.connector.proj.1.bias")
    save_file(tensors, copy / "model.safetensors")
    with pytest.raises(CheckpointError) as caught:
        checkpoint.load(copy)
    assert "perception.connector.proj.1.bias is missing" in caught.value.message
    assert "stranger is unknown" in caught.value.message


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"llm_model_id": None}, "lacks llm_model_id"),
        ({"connector_mode": "mlp"}, 'connector_mode "mlp" is unknown'),
        ({"desta_format": 99}, "newer than"),
        ({"llm_model_id": "./nowhere"}, "nowhere"),
        ({"prompt_size": 0}, "too small"),
        ({"prompt_size": "16"}, '"prompt_size" = .16. is not a whole number'),
        ({"target_layer_ids": "0, 1"}, '"target_layer_ids" = .* is not a list'),
        ({"llm_model_id": 5}, '"llm_model_id" = 5 is not text'),
        ({"desta_format": "1"}, "checkpoint format 1"),
        ({"encoder_window": "20s"}, '"encoder_window" = .20s. is not one of 30s, tight'),
        ({"desta_dtype": "bf16"}, '"desta_dtype" = .bf16. is not one of'),
        ({"desta_backbone_quantisation": "int4"}, "not one of int8, nf4"),
        ({"audio_locator": ""}, "audio_locator is empty"),
        ({"use_lora": True, "desta_lora": {"rank": "x"}}, '"lora.rank" = .x. is not'),
        ({"placeholder_token": "<|no such|>"}, None),
    ],
)
def test_broken_configurations_are_one_clear_error(
    copy: Path, fields: dict[str, object], message: str | None
) -> None:
    change(copy, **fields)
    if message is None:  # noticed where tokens are laid out
        loaded = checkpoint.load(copy)
        with pytest.raises(ConfigError, match="not in the vocabulary"):
            Layout(loaded.tokenizer, **loaded.layout_options)
        return
    with pytest.raises(DestaError, match=message):
        checkpoint.load(copy)


@pytest.mark.parametrize("name", ["layer_weights", "proj.0.weight", "proj.1.weight"])
@pytest.mark.parametrize("shape", [(), (2, 2)])
def test_a_tensor_with_another_number_of_axes_is_an_error(
    copy: Path, name: str, shape: tuple[int, ...]
) -> None:
    tensors = load_file(copy / WEIGHTS)
    tensors[f"perception.connector.{name}"] = torch.ones(shape)
    save_file(tensors, copy / WEIGHTS)
    for read in (verify, checkpoint.load):
        with pytest.raises(CheckpointError, match="does not fit|width|hidden size"):
            read(copy)


@pytest.mark.parametrize(
    ("part", "fields", "tensor"),
    [
        ("backbone", {"vocab_size": 10}, r"lm_head\.weight"),
        ("openai/whisper-tiny", {"max_source_positions": 100}, r"embed_positions\.weight"),
    ],
)
def test_a_frozen_part_whose_configuration_is_another_s_is_refused(
    copy: Path, part: str, fields: dict[str, object], tensor: str
) -> None:
    change(copy / part, **fields)
    with pytest.raises(CheckpointError, match=f"another shape in .*{tensor}"):
        checkpoint.load(copy)


@pytest.mark.parametrize("part", ["backbone", "openai/whisper-tiny"])
def test_a_frozen_part_that_is_cut_off_is_refused(copy: Path, part: str) -> None:
    path = copy / part / WEIGHTS
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(CheckpointError, match=part):
        checkpoint.load(copy)


@pytest.mark.parametrize(
    ("part", "tensor"),
    [
        ("backbone", "model.layers.0.self_attn.q_proj.weight"),
        ("openai/whisper-tiny", "model.encoder.layers.0.self_attn.q_proj.weight"),
    ],
)
def test_a_frozen_part_that_computes_no_numbers_gives_no_answer(
    copy: Path, part: str, tensor: str
) -> None:
    tensors = load_file(copy / part / WEIGHTS)
    tensors[tensor][0, 0] = torch.nan
    save_file(tensors, copy / part / WEIGHTS, metadata={"format": "pt"})
    engine = Engine.load(copy, dtype="float32")
    message = Message(
        role="user", content=LOCATOR, audios=(AudioRef(audio=str(copy / "a.wav"), text="a"),)
    )
    with pytest.raises(CheckpointError, match="the model computes NaN"):
        engine.answer([[message]], Sampling(max_new_tokens=3))


def test_weights_in_whole_numbers_are_refused(copy: Path) -> None:
    tensors = load_file(copy / WEIGHTS)
    tensors["perception.connector.proj.1.bias"] = tensors["perception.connector.proj.1.bias"].int()
    save_file(tensors, copy / WEIGHTS)
    for read in (verify, checkpoint.load):
        with pytest.raises(CheckpointError, match=r"no floating-point numbers in .*proj\.1\.bias"):
            read(copy)


@pytest.mark.parametrize("device", ["toaster", "cuda:99"])
def test_a_device_that_is_not_here_is_one_clear_sentence(copy: Path, device: str) -> None:
    with pytest.raises(ConfigError, match=f'device "{device}"'):
        checkpoint.load(copy, device=device)


def test_a_disk_that_takes_no_more_is_an_error_of_the_system_and_leaves_the_model_that_was_there(
    tiny: Loaded, copy: Path
) -> None:
    before = (copy / WEIGHTS).read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large") as caught:
            checkpoint.save(tiny.model, copy)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (caught.value.errno, caught.value.filename) == (errno.EFBIG, str(copy / f".{WEIGHTS}"))
    assert (copy / WEIGHTS).read_bytes() == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_weights_that_may_not_be_read_are_not_said_to_be_missing(copy: Path) -> None:
    (copy / WEIGHTS).chmod(0)
    with pytest.raises(PermissionError, match=WEIGHTS):
        checkpoint.load(copy)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_missing_and_broken_files_are_named(copy: Path, name: str) -> None:
    (copy / name).write_text("{")
    with pytest.raises(CheckpointError, match=name):
        checkpoint.load(copy)
    (copy / name).unlink()
    with pytest.raises(CheckpointError, match=name):
        checkpoint.load(copy)
    with pytest.raises(CheckpointError, match="neither a directory nor"):
        checkpoint.load(copy / "nowhere")


# -- the published form --------------------------------------------------------------------------


def test_a_published_checkpoint_loads_and_is_written_again_with_all_its_fields(
    published: Path, tmp_path: Path
) -> None:
    loaded = checkpoint.load(published, dtype="float32")
    assert (loaded.model.config.window, loaded.model.config.connector.num_layers) == ("30s", 6)
    checkpoint.save(loaded.model, tmp_path / "again")

    before, after = (load_file(p / "model.safetensors") for p in (published, tmp_path / "again"))
    assert list(after) == sorted(before)
    assert all(torch.equal(before[name], after[name]) for name in before)
    fields, written = (
        json.loads((p / "config.json").read_text()) for p in (published, tmp_path / "again")
    )
    assert {name: written[name] for name in fields} == fields
    assert written["target_layer_ids"] == [0, 1, 2, 3]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_weights_are_accepted(published: Path, dtype: torch.dtype) -> None:
    tensors = load_file(published / "model.safetensors")
    save_file({k: t.to(dtype) for k, t in tensors.items()}, published / "model.safetensors")
    weights = checkpoint.load(published).model.trained_state()
    for name, tensor in weights.items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, tensors[name].to(dtype).float())
    assert verify(published).number_formats == {str(dtype).removeprefix("torch."): 165}


def test_names_of_a_trainer_are_refused_with_the_way_out(published: Path) -> None:
    tensors = load_file(published / "model.safetensors")
    save_file({f"model.{k}": t for k, t in tensors.items()}, published / "model.safetensors")
    for read in (checkpoint.load, verify):
        with pytest.raises(CheckpointError, match='begin with "model."') as caught:
            read(published)
        assert "without it" in caught.value.fix


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_tensor_that_is_no_number_is_named(published: Path, value: float) -> None:
    tensors = load_file(published / "model.safetensors")
    tensors["perception.connector.proj.1.bias"][7] = value
    save_file(tensors, published / "model.safetensors")
    for read in (checkpoint.load, verify):
        with pytest.raises(CheckpointError, match=r"NaN or infinity in \S+proj.1.bias\n"):
            read(published)


# -- what it was trained with --------------------------------------------------------------------


def test_another_backbone_of_the_same_shape_is_warned_of_or_refused(
    published: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    backbone = published / "backbone"
    fresh = checkpoint.fresh(
        replace(
            checkpoint.load(published).model.config,
            backbone=str(backbone),
            encoder=str(published / "openai" / "whisper-tiny"),
        )
    )
    checkpoint.save(fresh.model, tmp_path / "run")
    checkpoint.load(tmp_path / "run")
    assert not caplog.records
    assert verify(tmp_path / "run").backbone.same is True

    tensors = load_file(backbone / "model.safetensors")
    tensors["lm_head.weight"] += 0.1  # as after fine-tuning: names, sizes and shapes stay
    save_file(tensors, backbone / "model.safetensors", metadata={"format": "pt"})
    loaded = checkpoint.load(tmp_path / "run")
    assert "not the model that the connector was trained with" in caplog.text
    assert "backbone" in caplog.text
    assert "whisper" not in caplog.text
    found = verify(tmp_path / "run")
    assert (found.backbone.same, found.encoder.same) == (False, True)

    checkpoint.save(loaded.model, tmp_path / "again")  # still trained with the first
    assert verify(tmp_path / "again").backbone.trained_with == found.backbone.trained_with

    monkeypatch.setattr(zoo, "WHEELS", str(tmp_path))  # a part that must be the very same
    with pytest.raises(CheckpointError, match="of this machine is not the one"):
        checkpoint.load(tmp_path / "run")


def test_parts_of_another_width_are_one_clear_sentence(published: Path) -> None:
    tensors = load_file(published / "model.safetensors")
    wide = tensors | {"perception.connector.proj.1.weight": torch.zeros(48, 32)}
    save_file(wide, published / "model.safetensors")
    for read in (checkpoint.load, verify):
        with pytest.raises(CheckpointError, match='hidden size 48, but "backbone" has 32'):
            read(published)
    deep = tensors | {"perception.connector.proj.0.weight": torch.zeros(16)}
    save_file(deep, published / "model.safetensors")
    with pytest.raises(CheckpointError, match='encoder of width 16, but "openai/whisper-tiny"'):
        checkpoint.load(published)
