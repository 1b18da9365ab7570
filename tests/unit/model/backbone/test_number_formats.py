"""Backbones in fewer bits, and from GGUF files."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    TorchAoConfig,
)

from desta.errors import CheckpointError, ConfigError
from desta.inference.engine import Engine
from desta.model import checkpoint
from support.backbones import GREEDY, SPECIAL, config, conversation
from support.llamas import write_gguf


def test_a_model_trained_in_floats_answers_with_an_int8_backbone(
    build: Callable[[str], Path], published_tiny: Path, tmp_path: Path
) -> None:
    pytest.importorskip("torchao")
    loaded = checkpoint.fresh(config(build("llama"), published_tiny, backbone_dtype="bfloat16"))
    checkpoint.save(loaded.model, tmp_path)
    small = checkpoint.load(tmp_path, quantization="int8")

    weight = small.model.llm_model.model.layers[0].mlp.up_proj.weight
    assert type(weight).__name__ == "Int8Tensor"
    for name, tensor in loaded.model.trained_state().items():
        assert torch.equal(tensor, small.model.trained_state()[name])
    clips = [published_tiny / "a.wav", published_tiny / "c.wav"]
    asked = [conversation("What?", clip) for clip in clips]
    together = [answer.ids for answer in Engine(small).respond(asked, GREEDY)]
    assert together == [Engine(small).respond([c], GREEDY)[0].ids for c in asked]

    ids = torch.arange(3, 40)[None]
    with torch.no_grad():
        exact, rounded = (m.model.llm_model(ids).logits for m in (loaded, small))
    assert 0 < (exact - rounded).abs().max() < 0.1 * exact.std()


def test_an_int8_backbone_answers_in_bfloat16(
    build: Callable[[str], Path], published_tiny: Path, tmp_path: Path
) -> None:
    pytest.importorskip("torchao")  # it says of its weights that they are bfloat16
    loaded = checkpoint.fresh(config(build("llama"), published_tiny, backbone_dtype="bfloat16"))
    checkpoint.save(loaded.model, tmp_path)
    small = checkpoint.load(tmp_path, dtype="bfloat16", quantization="int8")
    engine = Engine(small)
    [answer] = engine.respond([conversation("What?", published_tiny / "a.wav")], GREEDY)
    assert answer.ids


def test_gradients_pass_through_an_int8_backbone(
    build: Callable[[str], Path], published_tiny: Path
) -> None:
    pytest.importorskip("torchao")
    loaded = checkpoint.fresh(config(build("qwen3"), published_tiny, backbone_quantization="int8"))
    embeddings = torch.randn(1, 5, 32, requires_grad=True)
    loaded.model.llm_model(inputs_embeds=embeddings).logits.sum().backward()
    assert embeddings.grad is not None
    assert bool((embeddings.grad != 0).any())


def test_a_directory_that_is_quantized_already_loads_as_it_is(
    build: Callable[[str], Path], published_tiny: Path, tmp_path: Path
) -> None:
    quantization = pytest.importorskip("torchao.quantization")
    directory = build("llama")
    settings = TorchAoConfig(quantization.Int8WeightOnlyConfig())
    stored = AutoModelForCausalLM.from_pretrained(
        directory, dtype=torch.float32, quantization_config=settings, device_map={"": "cpu"}
    )
    stored.save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(directory).save_pretrained(tmp_path)

    loaded = checkpoint.fresh(config(tmp_path, published_tiny))
    ids = torch.arange(3, 40)[None]
    with torch.no_grad():
        torch.testing.assert_close(loaded.model.llm_model(ids).logits, stored(ids).logits)
    with pytest.raises(ConfigError, match="quantized already"):
        checkpoint.fresh(config(tmp_path, published_tiny, backbone_quantization="int8"))


def test_a_way_of_quantizing_that_cannot_be_read_is_one_clear_sentence(
    build: Callable[[str], Path], published_tiny: Path
) -> None:
    pytest.importorskip("accelerate")
    path = build("llama") / "config.json"
    stored = {"quantization_config": {"quant_method": "aqlm"}}  # of a package nobody has here
    path.write_text(json.dumps(json.loads(path.read_text()) | stored))
    with pytest.raises(CheckpointError, match="cannot be read here: .*aqlm"):
        checkpoint.fresh(config(path.parent, published_tiny))


def test_four_bits_need_a_gpu(build: Callable[[str], Path], published_tiny: Path) -> None:
    with pytest.raises(ConfigError, match="nf4 needs a CUDA device"):
        checkpoint.fresh(config(build("llama"), published_tiny, backbone_quantization="nf4"))


@pytest.mark.gpu
@pytest.mark.parametrize("how", ["int8", "nf4"])
def test_a_backbone_is_quantized_on_a_gpu(
    how: Any, build: Callable[[str], Path], published_tiny: Path, tmp_path: Path
) -> None:
    pytest.importorskip("bitsandbytes")
    trained = checkpoint.fresh(config(build("llama"), published_tiny, dtype="bfloat16"))
    checkpoint.save(trained.model, tmp_path)
    loaded = checkpoint.load(tmp_path, quantization=how, device="cuda")
    [answer] = Engine(loaded).respond([conversation("What?", published_tiny / "a.wav")], GREEDY)
    assert answer.ids


def test_a_gguf_file_is_a_backbone(
    build: Callable[[str], Path], published_tiny: Path, tmp_path: Path
) -> None:
    pytest.importorskip("accelerate")
    directory = build("llama")
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32)
    file = tmp_path / "tiny.gguf"
    tokenizer = AutoTokenizer.from_pretrained(directory)
    names = {index: token for token, index in tokenizer.get_vocab().items()}
    merges = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]
    write_gguf(
        file,
        model,
        [names.get(index, f"[PAD{index}]") for index in range(model.config.vocab_size)],
        merges=[" ".join(pair) for pair in merges],
        control=SPECIAL,
        template=tokenizer.chat_template,
    )
    loaded = checkpoint.fresh(config(file, published_tiny))

    ids = torch.arange(3, 40)[None]
    with torch.no_grad():
        torch.testing.assert_close(
            loaded.model.llm_model(ids).logits, model(ids).logits, rtol=1e-4, atol=1e-4
        )
    checkpoint.save(loaded.model, tmp_path / "trained")
    again = checkpoint.load(tmp_path / "trained")
    asked = [conversation("What?", published_tiny / "a.wav")]
    assert Engine(again).answer(asked, GREEDY) == Engine(loaded).answer(asked, GREEDY)
    with pytest.raises(CheckpointError, match="not a file"):
        checkpoint.fresh(config(tmp_path / "none.gguf", published_tiny))
