"""Model directories: what does not fit exactly is refused by name."""

import errno
import json
import os
import resource
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from desta.data.layout import Layout
from desta.errors import CheckpointError, ConfigError, DestaError
from desta.inference.engine import Engine
from desta.llm.base import Sampling
from desta.model import checkpoint
from desta.model.checkpoint import BACKBONE_REVISION, WEIGHTS, Loaded
from desta.model.verify import verify
from desta.model.weights import fingerprint
from desta.records import LOCATOR, AudioRef, Message


@pytest.fixture
def copy(published_tiny: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(published_tiny, tmp_path / "model"))


def change(directory: Path, **fields: object) -> None:
    path = directory / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


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
    with pytest.raises(ConfigError, match=f'device "{device}" cannot be used'):
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


@pytest.fixture
def published(published_tiny: Path, tmp_path: Path) -> Path:
    """As the published code writes it: six layers, four target layers, more fields than we know."""
    torch.manual_seed(0)
    directory = tmp_path / "published"
    shutil.copytree(published_tiny / "openai", directory / "openai")
    shutil.copytree(published_tiny / "backbone", directory / "backbone")
    fields = json.loads((published_tiny / "config.json").read_text()) | {
        "architectures": ["DeSTA25AudioModel"],
        "qformer_num_hidden_layers": 6,
        "prompt_size": 4,
        "dtype": "float32",
        "transformers_version": "4.53.3",
        "train_id": 30678,
        "info": "Ｄｅｓｔａ",
        "llm_config": {"hidden_size": 4096, "vocab_size": 1},
        "encoder_config": {"d_model": 1280},
    }
    fields.pop("target_layer_ids", None)
    (directory / "config.json").write_text(json.dumps(fields))
    prefix, tensors = "perception.connector.", {}
    tensors[f"{prefix}layer_weights"] = torch.zeros(4, 4)
    for layer in range(4):
        tensors[f"{prefix}layer_prompts.{layer}"] = torch.randn(1, 4, 32)

    def linear(name: str, rows: int, columns: int) -> None:
        tensors[f"{prefix}{name}.weight"] = torch.randn(rows, columns) * 0.1
        tensors[f"{prefix}{name}.bias"] = torch.zeros(rows)

    def norm(name: str) -> None:
        tensors[f"{prefix}{name}.weight"] = torch.ones(32)
        tensors[f"{prefix}{name}.bias"] = torch.zeros(32)

    for layer in range(6):
        for attention in ("attention", "crossattention"):
            at = f"qformer.layer.{layer}.{attention}"
            for kind in ("query", "key", "value"):
                linear(f"{at}.self.{kind}", 32, 32)
            linear(f"{at}.output.dense", 32, 32)
            norm(f"{at}.output.LayerNorm")
        linear(f"qformer.layer.{layer}.intermediate.dense", 3072, 32)
        linear(f"qformer.layer.{layer}.output.dense", 32, 3072)
        norm(f"qformer.layer.{layer}.output.LayerNorm")
    norm("proj.0")
    linear("proj.1", 32, 32)
    assert len(tensors) == 165
    save_file(tensors, directory / "model.safetensors")
    return directory


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


def test_another_backbone_of_the_same_shape_is_warned_of(
    published: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
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


# -- verify --------------------------------------------------------------------------------------


def test_a_whole_checkpoint_says_what_it_is(published: Path, tmp_path: Path) -> None:
    found = verify(published)
    assert (found.written_by, found.format, found.step) == ("the published code", 0, None)
    assert (found.trained_tensors, found.target_layers) == (165, (0, 1, 2, 3))
    assert found.backbone.directory == str(published / "backbone")

    checkpoint.save(checkpoint.load(published).model, tmp_path / "o", extra={"training_steps": 9})
    shutil.copytree(published / "openai", tmp_path / "o" / "openai")
    ours = verify(tmp_path / "o")
    assert ours.written_by.startswith("desta ")
    assert (ours.format, ours.step) == (1, 9)
    assert "SHA-256" in ours.checked
    # "backbone" is the name of nothing here: what cannot be checked is said, not passed over
    assert ours.backbone.directory is None
    assert any("shapes against the backbone" in reason for reason in ours.not_checked)


def test_weights_that_changed_after_they_were_written_are_refused(
    published: Path, tmp_path: Path
) -> None:
    checkpoint.save(checkpoint.load(published).model, published)
    tensors = load_file(published / "model.safetensors")
    tensors["perception.connector.proj.1.bias"] += 1
    save_file(tensors, published / "model.safetensors")
    for read in (checkpoint.load, verify):
        with pytest.raises(CheckpointError, match="was changed after its config.json"):
            read(published)


@pytest.mark.parametrize(
    ("file", "fields", "told"),
    [
        ("preprocessor_config.json", {"feature_size": 128}, "80 mel bins, but preprocessor"),
        ("config.json", {"num_mel_bins": 128}, "128 mel bins, but the weights read 80"),
    ],
)
def test_an_encoder_whose_files_disagree_about_mel_bins_is_refused(
    copy: Path, file: str, fields: dict[str, object], told: str
) -> None:
    assert "mel bins of the encoder" in verify(copy).checked
    path = copy / "openai" / "whisper-tiny" / file
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))
    for read in (verify, checkpoint.load):
        with pytest.raises(CheckpointError, match=told):
            read(copy)


def test_a_preprocessor_that_is_not_json_is_named(copy: Path) -> None:
    (copy / "openai" / "whisper-tiny" / "preprocessor_config.json").write_text("[1")
    for read in (verify, checkpoint.load):
        with pytest.raises(CheckpointError, match=r"preprocessor_config\.json is not JSON"):
            read(copy)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"placeholder_token": "<|nowhere|>"}, r'"<\|nowhere\|>" is not in the vocabulary'),
        ({"audio_locator": "<|im_start|>"}, r'"<\|im_start\|>" marks [23] places'),
        ({"audio_locator": "user"}, '"user" marks 2 places'),
    ],
)
def test_marks_that_the_tokenizer_does_not_know_are_refused(
    copy: Path, fields: dict[str, object], told: str
) -> None:
    assert "marks of clips against the tokenizer" in verify(copy).checked
    change(copy, **fields)
    for use in (verify, lambda path: Engine(checkpoint.load(path))):
        with pytest.raises(ConfigError, match=told):
            use(copy)


def test_a_backbone_without_a_tokenizer_here_is_said_not_passed_over(copy: Path) -> None:
    for path in (copy / "backbone").glob("tokenizer*"):
        path.unlink()
    found = verify(copy)
    assert any("marks of clips" in reason and "has none" in reason for reason in found.not_checked)


def test_verify_finds_a_missing_tensor(published: Path) -> None:
    tensors = load_file(published / "model.safetensors")
    del tensors["perception.connector.qformer.layer.5.output.dense.bias"]
    save_file(tensors, published / "model.safetensors")
    with pytest.raises(CheckpointError, match="layer.5.output.dense.bias is missing"):
        verify(published)


def test_a_fingerprint_sees_names_sizes_and_values(tmp_path: Path) -> None:
    save_file({"a": torch.arange(1 << 16).float()}, tmp_path / "model.safetensors")
    first = fingerprint(tmp_path)
    save_file({"a": torch.arange(1 << 16).float() + 1}, tmp_path / "model.safetensors")
    assert fingerprint(tmp_path) != first
    save_file({"a": torch.arange(1 << 16).float()}, tmp_path / "model.safetensors")
    assert fingerprint(tmp_path) == first
    save_file({"b": torch.arange(1 << 16).float()}, tmp_path / "model.safetensors")
    assert fingerprint(tmp_path) != first
    (tmp_path / "model.safetensors").write_bytes(b"nothing of the kind")
    with pytest.raises(CheckpointError, match="not a safetensors file"):
        fingerprint(tmp_path)


def test_a_part_without_weight_files_is_neither_the_same_nor_another(
    published: Path, tmp_path: Path
) -> None:
    checkpoint.save(checkpoint.load(published).model, tmp_path / "run", extra={"x": 1})
    fields = {BACKBONE_REVISION: "0" * 64, "llm_model_id": str(published / "backbone")}
    change(tmp_path / "run", encoder_model_id=str(published / "openai/whisper-tiny"), **fields)
    assert verify(tmp_path / "run").backbone.same is False
    weights = published / "backbone" / "model.safetensors"
    torch.save(load_file(weights), weights.with_name("pytorch_model.bin"))  # a pickle
    weights.unlink()
    assert fingerprint(published / "backbone") is None
    assert verify(tmp_path / "run").backbone.same is None
    with pytest.raises(CheckpointError, match='backbone" cannot be loaded'):
        checkpoint.load(tmp_path / "run")
