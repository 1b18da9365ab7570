"""Encoder, Q-Former, mel and fusion: equal to independent ones, and indifferent to padding."""

import numpy as np
import pytest
import torch
from transformers import BertConfig, WhisperForConditionalGeneration
from transformers.models.bert.modeling_bert import BertEncoder

from desta.audio import SAMPLE_RATE
from desta.model.checkpoint import Loaded
from desta.model.config import ConnectorConfig, ModelConfig
from desta.model.connector.connector import QFormerConnector
from desta.model.desta import fuse
from desta.model.encoder import whisper as whisper_encoder
from desta.model.encoder.mel import MelExtractor
from desta.model.encoder.whisper import Encoded, WhisperEncoder
from desta.model.plan import plan


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    samples = np.random.default_rng(seed).standard_normal(int(seconds * SAMPLE_RATE))
    return (0.1 * samples).astype(np.float32)


@pytest.fixture(scope="module")
def whisper(published_tiny) -> WhisperForConditionalGeneration:
    directory = published_tiny / "openai" / "whisper-tiny"
    return WhisperForConditionalGeneration.from_pretrained(directory, dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def encoder(whisper: WhisperForConditionalGeneration) -> WhisperEncoder:
    encoder = WhisperEncoder(whisper.config, (0, 1, 3))
    encoder.load_state_dict(whisper.model.encoder.state_dict())  # strict: the names agree
    return encoder


def test_encoder_layers_equal_those_of_transformers(
    encoder: WhisperEncoder, whisper: WhisperForConditionalGeneration
) -> None:
    mel = MelExtractor(80, "30s")([noise(2.0), noise(7.3, 1)])
    with torch.no_grad():
        theirs = whisper.model.encoder(mel.features_BMF, output_hidden_states=True)
    taken: list[torch.Tensor] = []
    hook = whisper.model.encoder.layers[3].register_forward_hook(
        lambda module, args, output: taken.append(
            output[0] if isinstance(output, tuple) else output
        )
    )
    with torch.no_grad():
        whisper.model.encoder(mel.features_BMF)
    hook.remove()

    ours = encoder(mel)

    assert ours.mask_BT is None
    torch.testing.assert_close(ours.last_BTD, theirs.last_hidden_state, rtol=0, atol=1e-5)
    torch.testing.assert_close(ours.layers_LBTD[0], theirs.hidden_states[1], rtol=0, atol=1e-5)
    # the last layer is taken before the final LayerNorm, where hidden_states[-1] is after it
    torch.testing.assert_close(ours.layers_LBTD[2], taken[0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("seconds", [0.01, 0.5, 1.2345, 29.9])
def test_a_tight_spectrogram_is_the_beginning_of_the_30_second_one(seconds: float) -> None:
    clip, other = noise(seconds), noise(3.0, 1)
    whole = MelExtractor(80, "30s")([clip]).features_BMF[0]
    for batch in ([clip], [clip, other]):
        mel = MelExtractor(80, "tight")(batch)
        assert mel.num_frames_B is not None
        frames = int(mel.num_frames_B[0])
        assert abs(frames - min(seconds * 100 + 50, 3000)) <= 1  # half a second of silence
        torch.testing.assert_close(mel.features_BMF[0, :, :frames], whole[:, :frames])
        assert not mel.features_BMF[0, :, frames:].any()


def test_a_tight_window_is_encoded_the_same_alone_and_in_a_batch(encoder: WhisperEncoder) -> None:
    clips = [noise(1.23), noise(4.56, 1), noise(0.4, 2)]
    extract = MelExtractor(80, "tight")
    together = encoder(extract(clips))
    assert together.mask_BT is not None
    for index, clip in enumerate(clips):
        alone = encoder(extract([clip]))
        length = int(together.mask_BT[index].sum())
        assert alone.last_BTD.shape[1] == length
        torch.testing.assert_close(
            together.layers_LBTD[:, index, :length], alone.layers_LBTD[:, 0], rtol=0, atol=1e-5
        )


def test_silence_up_to_30_seconds_is_heard_in_the_frames_that_stand_for_it(
    encoder: WhisperEncoder,
) -> None:
    clip = noise(1.5)
    padded = encoder(MelExtractor(80, "30s")([clip])).last_BTD[:, :75]
    mel = MelExtractor(80, "tight")([clip])

    def distance(encoded: Encoded) -> float:
        return float((encoded.last_BTD[:, :75] - padded).norm() / padded.norm())

    assert distance(encoder(mel, silence=True)) < 0.1 * distance(encoder(mel))


@pytest.mark.parametrize("share", [1, 4])
def test_a_silent_frame_weighs_as_many_frames_as_it_stands_for(
    encoder: WhisperEncoder, share: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    mel = MelExtractor(80, "tight")([noise(1.5)])
    rest = 1500 - 100 + 2  # the last two frames of the window see its end
    monkeypatch.setattr(whisper_encoder, "SILENT_FRAMES", rest // share)

    mask_BT = encoder(mel, silence=True).mask_BT

    assert mask_BT is not None
    assert mask_BT.shape == (1, 100 + rest // share)
    torch.testing.assert_close(mask_BT.exp().sum(), torch.tensor(1500.0))
    assert mask_BT.exp()[0, -1] == pytest.approx(share, rel=0.01)


def test_a_window_with_silence_is_encoded_the_same_alone_and_in_a_batch(
    encoder: WhisperEncoder,
) -> None:
    clips = [noise(1.23), noise(29.7, 1), noise(0.4, 2)]  # after the second one there is none
    extract = MelExtractor(80, "tight")
    together = encoder(extract(clips), silence=True)
    assert together.mask_BT is not None
    for index, clip in enumerate(clips):
        alone = encoder(extract([clip]), silence=True)
        assert alone.mask_BT is not None
        heard, alone_heard = (mask.isfinite() for mask in (together.mask_BT[index], alone.mask_BT))
        torch.testing.assert_close(
            together.last_BTD[index, heard], alone.last_BTD[alone_heard], rtol=0, atol=1e-5
        )


def test_connector_equals_bert_layers_mixed_by_the_paper(tiny: Loaded) -> None:
    config = ConnectorConfig(num_query_tokens=5, num_layers=2, ffn_dim=48, normalise_frames=False)
    ours = QFormerConnector(
        config, num_target_layers=3, encoder_dim=32, num_heads=4, backbone_dim=24
    ).eval()
    ours.initialise(0.1)
    torch.nn.init.normal_(ours.layer_weights)  # zeros would hide a wrong mixing axis
    bert = BertConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=48,
        is_decoder=True,
        add_cross_attention=True,
    )
    bert._attn_implementation = "eager"
    reference = BertEncoder(bert).eval()
    reference.load_state_dict(ours.qformer.state_dict())  # strict: the names agree
    frames = torch.randn(3, 2, 7, 32)

    everywhere = torch.zeros(2, 1, 5, 5)  # BERT as a decoder, yet nothing hidden from a query
    with torch.no_grad():
        answers = torch.stack(
            [
                reference(
                    hidden_states=q.expand(2, -1, -1),
                    attention_mask=everywhere,
                    encoder_hidden_states=x,
                ).last_hidden_state
                for q, x in zip(ours.layer_prompts, frames, strict=True)
            ]
        ).permute(1, 2, 0, 3)  # (B, Q, L, D)
        mixed = (answers * ours.layer_weights.softmax(-1).unsqueeze(-1)).sum(dim=2)
        expected = ours.proj(mixed)
        torch.testing.assert_close(ours(frames, None), expected, rtol=1e-5, atol=1e-5)


def test_every_query_token_sees_every_other(tiny: Loaded) -> None:
    connector = tiny.model.connector
    frames = torch.randn(1, 6, 32)
    queries = torch.randn(1, 16, 32, requires_grad=True)
    connector.qformer(queries, frames, None)[0, 0].sum().backward()
    assert queries.grad is not None
    assert bool((queries.grad[0, -1] != 0).any()), "the first query does not see the last: causal"


def test_frames_beyond_the_end_of_a_clip_change_no_audio_token(tiny: Loaded) -> None:
    connector = tiny.model.connector
    frames = torch.randn(4, 1, 9, 32)
    mask = torch.arange(9)[None] < 5
    with torch.no_grad():
        masked, cut = connector(frames, mask), connector(frames[:, :, :5], None)
    torch.testing.assert_close(masked, cut, rtol=0, atol=1e-5)


def test_fusion_touches_only_its_places_and_passes_gradients_back() -> None:
    embeddings = torch.randn(2, 6, 3)
    audio = torch.randn(1, 2, 3, requires_grad=True)
    fused = fuse(embeddings, audio, torch.tensor([[1, 2], [1, 3]]))

    assert torch.equal(fused[1, 2:4], audio[0])
    untouched = torch.ones(2, 6, dtype=torch.bool)
    untouched[1, 2:4] = False
    assert torch.equal(fused[untouched], embeddings[untouched])
    fused.sum().backward()
    assert audio.grad is not None
    assert bool((audio.grad == 1).all())


def test_the_published_model_has_its_parameters_and_names() -> None:
    config = ModelConfig(
        backbone="DeSTA-ntu/Llama-3.1-8B-Instruct", encoder="openai/whisper-large-v3"
    )
    found = plan(config)
    assert found.trained_parameters == 131_540_224
    assert found.trained_tensors == 165
    assert found.target_layers == (7, 15, 23, 31)
    shapes = found.trained_shapes
    prefix = "perception.connector"
    assert shapes[f"{prefix}.layer_weights"] == (64, 4)
    assert shapes[f"{prefix}.layer_prompts.3"] == (1, 64, 1280)
    assert shapes[f"{prefix}.qformer.layer.5.crossattention.self.key.weight"] == (1280, 1280)
    assert shapes[f"{prefix}.qformer.layer.5.intermediate.dense.weight"] == (3072, 1280)
    assert shapes[f"{prefix}.qformer.layer.0.attention.output.LayerNorm.bias"] == (1280,)
    assert shapes[f"{prefix}.proj.0.weight"] == (1280,)
    assert shapes[f"{prefix}.proj.1.weight"] == (4096, 1280)


@pytest.mark.parametrize(
    ("depth", "layers"),
    [(4, (0, 1, 2, 3)), (6, (1, 2, 4, 5)), (12, (2, 5, 8, 11)), (24, (5, 11, 17, 23))],
)
def test_default_target_layers_are_the_ends_of_the_quarters(
    depth: int, layers: tuple[int, ...]
) -> None:
    assert ConnectorConfig().layers_of(depth) == layers
