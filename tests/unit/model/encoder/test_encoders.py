"""Any encoder: Whisper's sizes and the readers of waveforms, on random weights."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    AutoModel,
    BertConfig,
    BertModel,
    HubertConfig,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    WavLMConfig,
    WhisperConfig,
    WhisperForConditionalGeneration,
)

from desta.audio import SAMPLE_RATE
from desta.data.batching import collate
from desta.data.layout import Layout
from desta.errors import CheckpointError, ConfigError
from desta.inference.conversation import user_message
from desta.inference.engine import Engine
from desta.model import checkpoint
from desta.model.backbone.sampling import Sampling
from desta.model.config import ConnectorConfig, ModelConfig
from desta.model.encoder.load import load_encoder
from desta.model.encoder.wav2vec import WaveEncoder
from desta.model.hub.load import Part
from desta.model.plan import plan
from desta.records import LOCATOR, AudioRef, Message

SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "conv_dim": (16,) * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}
LAYERED = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
KINDS = {
    "wav2vec2": lambda: Wav2Vec2Config(**SIZES),
    "wav2vec2-large": lambda: Wav2Vec2Config(**SIZES, **LAYERED),
    "hubert": lambda: HubertConfig(**SIZES),
    "hubert-large": lambda: HubertConfig(**SIZES, **LAYERED),
    "wavlm": lambda: WavLMConfig(**SIZES),
    "wavlm-large": lambda: WavLMConfig(**SIZES, **LAYERED),
}


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    samples = np.random.default_rng(seed).standard_normal(int(seconds * SAMPLE_RATE))
    return (0.1 * samples + 0.05).astype(np.float32)


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a maker of directories that hold an encoder of a kind."""
    made: dict[str, Path] = {}

    def directory(kind: str) -> Path:
        if kind not in made:
            torch.manual_seed(0)
            made[kind] = tmp_path_factory.mktemp(kind)
            AutoModel.from_config(KINDS[kind]()).save_pretrained(made[kind])
        return made[kind]

    return directory


def config(published_tiny: Path, encoder: Path, **fields: Any) -> ModelConfig:
    return ModelConfig(
        backbone=str(published_tiny / "backbone"),
        encoder=str(encoder),
        connector=ConnectorConfig(num_query_tokens=3, num_layers=1, ffn_dim=16),
        **{"dtype": "float32"} | fields,
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_wave_is_encoded_the_same_alone_in_a_batch_and_by_transformers(
    kind: str, build: Callable[[str], Path], published_tiny: Path
) -> None:
    encoder = load_encoder(
        config(published_tiny, build(kind)), Part(str(build(kind))), dtype=torch.float
    )
    extract = encoder.extractor("tight")
    clips = [noise(1.23), noise(2.5, 1), noise(0.01, 2)]  # the last makes less than one frame
    together = encoder(extract(clips))
    assert together.mask_BT is not None
    assert encoder.target_layers == (0, 1, 2, 3)

    reference = AutoModel.from_pretrained(build(kind)).eval()
    prepare = Wav2Vec2FeatureExtractor(do_normalize=True)
    for index, clip in enumerate(clips):
        alone = encoder(extract([clip]))
        length = int(together.mask_BT[index].sum())
        assert alone.mask_BT is None
        assert alone.last_BTD.shape[1] == length
        torch.testing.assert_close(
            together.layers_LBTD[:, index, :length], alone.layers_LBTD[:, 0], rtol=0, atol=1e-5
        )
        if length > 1:
            inputs = prepare(clip, sampling_rate=SAMPLE_RATE, return_tensors="pt").input_values
            with torch.no_grad():
                states = reference(inputs, output_hidden_states=True).hidden_states
            torch.testing.assert_close(
                alone.layers_LBTD[:, 0], torch.cat(states[1:]), rtol=0, atol=1e-4
            )


@pytest.mark.parametrize("kind", ["wav2vec2", "wavlm-large"])
def test_a_model_on_waves_trains_and_comes_back(
    kind: str, build: Callable[[str], Path], published_tiny: Path, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    loaded = checkpoint.fresh(config(published_tiny, build(kind)))
    assert loaded.parts.transcriber is None
    layout = Layout(loaded.tokenizer, **loaded.layout_options)
    question = Message(role="user", content=LOCATOR, audios=(AudioRef(audio="x", text="hi"),))
    tokens = layout.training([question], "Fine.", [1])
    batch = collate([tokens, tokens], pad_id=layout.pad_id)
    windows = [noise(1.0), noise(0.3)]

    def loss(model: Any) -> torch.Tensor:
        b = batch
        mel = model.mel(windows)
        return model([mel], b.input_ids_BS, b.attention_mask_BS, b.places_P2, b.labels_BS)

    before = loss(loaded.model)
    before.backward()
    assert all(p.grad is not None for p in loaded.model.trained_state().values())
    assert all(p.grad is None for p in loaded.model.encoder.parameters())
    checkpoint.save(loaded.model, tmp_path)
    torch.testing.assert_close(loss(checkpoint.load(tmp_path).model), before)


def test_the_transcriber_is_the_encoder_or_the_one_that_is_named(
    build: Callable[[str], Path], published_tiny: Path
) -> None:
    whisper = published_tiny / "openai" / "whisper-tiny"
    told = config(published_tiny, build("hubert"), transcriber=str(whisper))
    assert checkpoint.fresh(told).parts.transcriber == Part(str(whisper))
    itself = checkpoint.fresh(config(published_tiny, whisper))
    assert itself.parts.transcriber == Part(str(whisper))


def test_clips_are_transcribed_by_the_whisper_that_is_named_or_not_at_all(
    build: Callable[[str], Path], published_tiny: Path
) -> None:
    clip = published_tiny / "a.wav"
    asked = [[user_message("What?", [clip], locator=LOCATOR)]]
    deaf = Engine(checkpoint.fresh(config(published_tiny, build("hubert"))))
    with pytest.raises(ConfigError, match=r'the encoder "\S+" cannot '):
        deaf.audio_encoder._transcriber()
    told = [[user_message("What?", [clip], locator=LOCATOR, texts=["hello"])]]
    assert deaf.answer(told, Sampling(max_new_tokens=2))

    whisper = published_tiny / "openai" / "whisper-tiny"
    engine = Engine(
        checkpoint.fresh(config(published_tiny, build("hubert"), transcriber=str(whisper)))
    )
    assert engine.answer(asked, Sampling(max_new_tokens=2))
    assert engine.audio_encoder._transcriber().encoder is not engine.model.encoder


def test_whisper_with_128_mel_bins_and_few_decoder_layers_is_read(
    published_tiny: Path, tmp_path: Path
) -> None:
    shape = WhisperConfig(  # as large-v3-turbo and distil-whisper, but small
        d_model=32,
        encoder_layers=8,
        decoder_layers=1,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=48,
        decoder_ffn_dim=48,
        num_mel_bins=128,
        vocab_size=60,
        max_target_positions=16,
        pad_token_id=0,
        bos_token_id=0,
        eos_token_id=0,
        decoder_start_token_id=0,
    )
    torch.manual_seed(0)
    whisper = WhisperForConditionalGeneration(shape).eval()
    whisper.save_pretrained(tmp_path)
    encoder = load_encoder(config(published_tiny, tmp_path), Part(str(tmp_path)), dtype=torch.float)
    assert encoder.target_layers == (1, 3, 5, 7)
    mel = encoder.extractor("30s")([noise(1.0)])
    with torch.no_grad():
        expected = whisper.model.encoder(mel.features_BMF).last_hidden_state
    torch.testing.assert_close(encoder(mel).last_BTD, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("file", "field", "who"),
    [
        ("config.json", "num_mel_bins", "the weights read 80"),
        ("preprocessor_config.json", "feature_size", "preprocessor_config.json says 128"),
    ],
)
def test_wrong_mel_bins_are_one_clear_sentence(
    published_tiny: Path, tmp_path: Path, file: str, field: str, who: str
) -> None:
    directory = tmp_path / "whisper"
    shutil.copytree(published_tiny / "openai" / "whisper-tiny", directory)
    path = directory / file
    path.write_text(json.dumps(json.loads(path.read_text()) | {field: 128}))
    with pytest.raises(CheckpointError, match=f"mel bins, but {who}"):
        checkpoint.fresh(config(published_tiny, directory))


@pytest.mark.parametrize("told", [False, None])
def test_a_model_of_the_hub_is_read_with_its_preprocessor(
    told: bool | None,
    build: Callable[[str], Path],
    published_tiny: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    revision = "0" * 40
    cache = tmp_path / "models--some--wavlm"  # as a download leaves it
    snapshot = Path(shutil.copytree(build("wavlm"), cache / "snapshots" / revision))
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text(revision)
    if told is not None:
        (snapshot / "preprocessor_config.json").write_text(json.dumps({"do_normalize": told}))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))

    named = config(published_tiny, Path("some/wavlm"))
    encoder = load_encoder(named, Part("some/wavlm"), dtype=torch.float)
    assert isinstance(encoder, WaveEncoder)
    assert encoder.normalise is (told is None)
    assert ("has no preprocessor_config.json" in caplog.text) is (told is None)


def test_what_cannot_be_read_is_refused(
    build: Callable[[str], Path], published_tiny: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="true length, not in 30 s windows"):
        checkpoint.fresh(config(published_tiny, build("wavlm"), window="30s"))
    BertModel(
        BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, vocab_size=9)
    ).save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="is a bert model, which cannot be read"):
        checkpoint.fresh(config(published_tiny, tmp_path))


def test_models_on_waves_can_be_planned() -> None:
    planned = plan(
        ModelConfig(backbone="Qwen/Qwen3-8B", encoder="facebook/hubert-base-ls960", window="tight")
    )
    assert planned.target_layers == (2, 5, 8, 11)
    assert planned.frozen_parameters == {"encoder": 94_371_712, "backbone": 8_190_735_360}
    assert planned.trained_shapes["perception.connector.proj.1.weight"] == (4096, 768)
