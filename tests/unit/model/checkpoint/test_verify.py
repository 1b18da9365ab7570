"""`desta models verify`: what a checkpoint is, and whether it is whole."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import WhisperTokenizer

from desta.errors import CheckpointError, ConfigError
from desta.inference.engine import Engine
from desta.model import checkpoint
from desta.model.checkpoint import BACKBONE_REVISION
from desta.model.hub.weights import weights_fingerprint
from desta.model.verify import verify
from support.checkpoints import change


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


def test_a_whisper_whose_control_tokens_nobody_states_is_not_whole(copy: Path) -> None:
    whisper = copy / "openai" / "whisper-tiny"
    assert any("no tokenizer, and cannot transcribe" in why for why in verify(copy).not_checked)
    for path in (copy / "backbone").glob("tokenizer*"):  # one of another kind
        shutil.copy(path, whisper)
    with pytest.raises(CheckpointError, match=r"lacks <\|startoftranscript\|>"):
        verify(copy)
    tokens = ["<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|transcribe|>"]
    vocab = {token: number for number, token in enumerate([*tokens, "<|notimestamps|>"])}
    WhisperTokenizer(vocab, []).save_pretrained(whisper)
    assert "control tokens of the transcriber" in verify(copy).checked


def test_verify_finds_a_missing_tensor(published: Path) -> None:
    tensors = load_file(published / "model.safetensors")
    del tensors["perception.connector.qformer.layer.5.output.dense.bias"]
    save_file(tensors, published / "model.safetensors")
    with pytest.raises(CheckpointError, match="layer.5.output.dense.bias is missing"):
        verify(published)


def test_a_fingerprint_sees_names_sizes_and_values(tmp_path: Path) -> None:
    save_file({"a": torch.arange(1 << 16).float()}, tmp_path / "model.safetensors")
    first = weights_fingerprint(tmp_path)
    save_file({"a": torch.arange(1 << 16).float() + 1}, tmp_path / "model.safetensors")
    assert weights_fingerprint(tmp_path) != first
    save_file({"a": torch.arange(1 << 16).float()}, tmp_path / "model.safetensors")
    assert weights_fingerprint(tmp_path) == first
    save_file({"b": torch.arange(1 << 16).float()}, tmp_path / "model.safetensors")
    assert weights_fingerprint(tmp_path) != first
    (tmp_path / "model.safetensors").write_bytes(b"nothing of the kind")
    with pytest.raises(CheckpointError, match="not a safetensors file"):
        weights_fingerprint(tmp_path)


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
    assert weights_fingerprint(published / "backbone") is None
    assert verify(tmp_path / "run").backbone.same is None
    with pytest.raises(CheckpointError, match='backbone" cannot be loaded'):
        checkpoint.load(tmp_path / "run")
