"""Transcribing: who speaks where, greedy decoding, and what is not transcribed at all."""

import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tokenizers.pre_tokenizers import ByteLevel
from torch import Tensor
from transformers import (
    LlamaConfig,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperTokenizer,
)

from desta.audio import SAMPLE_RATE
from desta.errors import CheckpointError, ConfigError, DataError
from desta.inference.transcribe import MAX_NEW_TOKENS, Transcriber
from desta.model.encoder import whisper_decoder
from desta.model.encoder.mel import MelExtractor
from desta.vad import speech_seconds, spoken_windows

Audio = NDArray[np.float32]
SPECIAL = (
    "<|endoftext|>",
    "<|startoftranscript|>",
    "<|en|>",
    "<|fr|>",
    "<|transcribe|>",
    "<|notimestamps|>",
)


def build(seed: int = 0, *, eos_bias: float = 0.0) -> WhisperForConditionalGeneration:
    """Build a random Whisper of bytes; `eos_bias` makes it end sooner or never."""
    torch.manual_seed(seed)
    size = 256 + len(SPECIAL)
    model = WhisperForConditionalGeneration(
        WhisperConfig(
            vocab_size=size,
            num_mel_bins=80,
            d_model=32,
            encoder_layers=1,
            decoder_layers=2,
            encoder_attention_heads=2,
            decoder_attention_heads=2,
            encoder_ffn_dim=32,
            decoder_ffn_dim=32,
            max_target_positions=200,
            init_std=1.0,  # otherwise every window would get the same text
            pad_token_id=256,
            bos_token_id=256,
            eos_token_id=256,
            decoder_start_token_id=257,
            scale_embedding=False,
        )
    )
    model.proj_out.weight = torch.nn.Parameter(model.proj_out.weight.detach().clone())
    model.proj_out.bias = torch.nn.Parameter(torch.zeros(size))
    model.proj_out.bias.data[256] = eos_bias
    generation = model.generation_config
    generation.no_timestamps_token_id = 261
    generation.lang_to_id = {"<|en|>": 258, "<|fr|>": 259}
    generation.task_to_id = {"transcribe": 260}
    generation.is_multilingual = True
    generation.suppress_tokens = [7, 9, 257, 258, 259, 260, 261]
    generation.begin_suppress_tokens = [32, 256]
    return model.eval()


@pytest.fixture(scope="module")
def tokenizer() -> WhisperTokenizer:
    letters = {letter: number for number, letter in enumerate(sorted(ByteLevel.alphabet()))}
    vocab = {**letters, **{token: 256 + i for i, token in enumerate(SPECIAL)}}
    return WhisperTokenizer(vocab, [], extra_special_tokens=list(SPECIAL[1:]))


def make(model: WhisperForConditionalGeneration, tokenizer: WhisperTokenizer) -> Transcriber:
    """Take the parts over; the bias of the output, which no real Whisper has, by hand."""
    transcriber = Transcriber.of(model, tokenizer)
    transcriber.decoder.proj_out = model.proj_out
    return transcriber


@pytest.fixture(scope="module")
def transcriber(tokenizer: WhisperTokenizer) -> Transcriber:
    return make(build(eos_bias=6.0), tokenizer)


@pytest.fixture(scope="module")
def windows() -> list[Audio]:
    generator = np.random.default_rng(0)
    return [
        (generator.standard_normal(int(seconds * SAMPLE_RATE)) * 0.1).astype(np.float32)
        for seconds in (0.5, 3.0, 30.0, 7.0, 1.0)
    ]


def voice(seconds: float) -> Audio:
    """Synthesise vowels, five a second: enough of a voice for the detector."""
    time = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    formants = np.array([[700, 1200, 2600], [300, 2300, 3000], [500, 1000, 2500], [350, 800, 2300]])
    vowels = formants[np.random.default_rng(0).integers(0, 4, int(seconds * 5) + 2)]
    place, within = np.divmod(time * 5, 1)
    glide = np.clip((within - 0.6) / 0.4, 0, 1)[:, None]
    formant = (1 - glide) * vowels[place.astype(int)] + glide * vowels[place.astype(int) + 1]
    pitch = 110 * (1 + 0.15 * np.sin(np.pi * time) + 0.03 * np.sin(6 * np.pi * time))
    phase = 2 * np.pi * np.cumsum(pitch) / SAMPLE_RATE
    sound = np.zeros_like(time)
    for harmonic in range(1, 36):
        shape = sum(
            level / (1 + ((harmonic * pitch - formant[:, i]) / width) ** 2)
            for i, (level, width) in enumerate(((1, 90), (0.6, 110), (0.3, 160)))
        )
        sound += shape / harmonic * np.sin(harmonic * phase)
    sound *= np.sin(np.pi * within) ** 0.7
    return (0.3 * sound / np.abs(sound).max()).astype(np.float32)


def test_nobody_speaks_in_silence_tones_and_slivers() -> None:
    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(5 * SAMPLE_RATE) / SAMPLE_RATE)

    assert speech_seconds(np.zeros(5 * SAMPLE_RATE, np.float32)) == []
    assert speech_seconds(tone.astype(np.float32)) == []
    assert speech_seconds(np.zeros(10, np.float32)) == []


def test_a_voice_is_heard_where_it_is() -> None:
    silence = np.zeros(3 * SAMPLE_RATE, np.float32)

    spans = speech_seconds(np.concatenate([silence, voice(4.0), silence]))

    assert spans
    assert 2.5 < spans[0][0] < 4.5
    assert 6.0 < spans[-1][1] < 8.5


@pytest.mark.parametrize("loss", [30, 50, 60])
def test_a_voice_is_heard_however_quiet_it_is(loss: float) -> None:
    quiet = voice(4.0) * 10 ** (-loss / 20)
    steps = (np.rint(quiet * 2**15) / 2**15).astype(np.float32)

    assert sum(end - start for start, end in speech_seconds(steps)) > 1


def test_the_detector_leaves_torch_its_threads() -> None:
    code = (
        "import numpy, torch; torch.set_num_threads(2)\n"
        "from desta.vad import speech_seconds\n"
        "speech_seconds(numpy.zeros(16000, 'float32'))\n"
        "assert torch.get_num_threads() == 2"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_only_windows_in_which_somebody_speaks_count() -> None:
    spoken, silence = voice(4.0), np.zeros(8 * SAMPLE_RATE, np.float32)
    clip = np.concatenate([spoken, silence, spoken])
    ends = np.cumsum([0, len(spoken), len(silence), len(spoken)])

    assert spoken_windows(clip, list(zip(ends[:-1], ends[1:], strict=True))) == [0, 2]
    assert spoken_windows(silence, [(0, len(silence))]) == []


def generate(
    model: WhisperForConditionalGeneration, features: Tensor, language: str | None
) -> Tensor:
    """Let transformers transcribe, greedily."""
    ids = model.generate(
        features.to(model.dtype),
        language=language,
        task="transcribe",
        do_sample=False,
        max_new_tokens=MAX_NEW_TOKENS,
    )
    assert isinstance(ids, Tensor)
    return ids


@pytest.fixture(scope="module")
def features(windows: list[Audio]) -> Tensor:
    extract = WhisperFeatureExtractor(80)
    return extract(windows, sampling_rate=SAMPLE_RATE, return_tensors="pt").input_features


@pytest.fixture(params=["by hand", "by kernel"])
def _attention(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Attend both ways, whatever this processor is better at."""
    monkeypatch.setattr(whisper_decoder, "kernel_is_fast", lambda x: request.param == "by kernel")


@pytest.mark.usefixtures("_attention")
@pytest.mark.parametrize("language", [None, "French", "en"])
def test_greedy_text_equals_that_of_transformers(
    tokenizer: WhisperTokenizer, windows: list[Audio], features: Tensor, language: str | None
) -> None:
    model = build(eos_bias=6.0)
    ids = generate(model, features, language)

    texts = make(model, tokenizer).transcribe(windows, language=language)

    expected = [t.strip() for t in tokenizer.batch_decode(ids, skip_special_tokens=True)]
    assert texts == expected
    assert len(set(texts)) > 1  # the audio matters


class Numbers:
    """Writes ids as numbers, from which they can be read again."""

    @staticmethod
    def batch_decode(ids: list[list[int]], skip_special_tokens: bool) -> list[str]:
        return [" ".join(map(str, row)) for row in ids]


@torch.no_grad()
def regret(
    model: WhisperForConditionalGeneration, features: Tensor, texts: list[list[int]]
) -> float:
    """Return by how much a model would have preferred other tokens, in the mean."""
    generation, lost = model.generation_config, []
    for feature, text in zip(features, texts, strict=True):
        ids = torch.tensor([[257, 259, 260, 261, *text]])  # start, French, transcribe, no times
        logits = model(feature[None], decoder_input_ids=ids).logits[0, 3:-1]
        logits[:, generation.suppress_tokens] = -torch.inf
        logits[0, generation.begin_suppress_tokens] = -torch.inf
        lost.append(logits.amax(-1) - logits.gather(1, ids[0, 4:, None])[:, 0])
    return float(torch.cat(lost).mean())


@pytest.mark.usefixtures("_attention")
def test_bfloat16_writes_what_float32_prefers_about_as_well_as_transformers(
    windows: list[Audio], features: Tensor
) -> None:
    exact = build(eos_bias=6.0)
    coarse = build(eos_bias=6.0).bfloat16()  # holds no number above 256: ids must not pass it
    written = make(coarse, Numbers()).transcribe(windows, language="fr")  # type: ignore[arg-type]
    ours = [[int(number) for number in text.split()] for text in written]
    theirs = [[i for i in row if i < 256] for row in generate(coarse, features, "fr").tolist()]
    shuffled = ours[1:] + ours[:1]
    lost = regret(exact, features, ours)
    assert lost < 2 * regret(exact, features, theirs)
    assert lost < 0.1 * regret(exact, features, shuffled)


@pytest.mark.usefixtures("_attention")
def test_a_window_alone_and_in_a_batch_gets_the_same_text(
    transcriber: Transcriber, windows: list[Audio]
) -> None:
    together = transcriber.transcribe(windows)

    assert together == [transcriber.transcribe([window])[0] for window in windows]
    assert transcriber.transcribe([]) == []


def test_frames_beyond_a_tight_window_are_not_read(
    tokenizer: WhisperTokenizer, windows: list[Audio]
) -> None:
    transcriber = make(build(eos_bias=6.0), tokenizer)
    transcriber = Transcriber(
        transcriber.encoder,
        transcriber.decoder,
        tokenizer,
        build().generation_config,
        window="tight",
    )
    together = transcriber.transcribe(windows)

    assert together == [transcriber.transcribe([window])[0] for window in windows]
    assert len(set(together)) > 1


def test_frames_of_an_encoder_that_is_shared_give_the_same_text(
    tokenizer: WhisperTokenizer, windows: list[Audio]
) -> None:
    model = build(eos_bias=6.0)
    alone = make(model, tokenizer)
    shared = Transcriber.of(model, tokenizer, encoder=alone.encoder)
    shared.decoder.proj_out = model.proj_out
    encoded = alone.encoder(MelExtractor(80, "30s")(windows))

    assert shared.encoder is alone.encoder
    assert shared.transcribe_frames(encoded.last_BTD, encoded.mask_BT) == alone.transcribe(windows)


@pytest.mark.parametrize(
    "missing",
    [
        ("lang_to_id",),
        ("task_to_id",),
        ("no_timestamps_token_id",),
        ("lang_to_id", "task_to_id", "no_timestamps_token_id", "is_multilingual"),
    ],
)
@pytest.mark.parametrize("language", [None, "French"])
def test_a_model_whose_files_state_fewer_ids_writes_the_same(
    tokenizer: WhisperTokenizer,
    transcriber: Transcriber,
    windows: list[Audio],
    missing: tuple[str, ...],
    language: str | None,
) -> None:
    reduced = build(eos_bias=6.0)
    for name in missing:
        delattr(reduced.generation_config, name)

    texts = make(reduced, tokenizer).transcribe(windows, language=language)

    assert texts == transcriber.transcribe(windows, language=language)


def test_a_model_of_english_alone_takes_english_and_nothing_else(
    tokenizer: WhisperTokenizer, windows: list[Audio]
) -> None:
    renamed = {"<|en|>": "<|other 1|>", "<|fr|>": "<|other 2|>"}  # English alone has no languages
    vocab = {renamed.get(token, token): id for token, id in tokenizer.get_vocab().items()}
    special = [renamed.get(token, token) for token in SPECIAL[1:]]
    tokenizer = WhisperTokenizer(vocab, [], extra_special_tokens=special)
    model = build(eos_bias=6.0)
    model.generation_config.is_multilingual = False
    del model.generation_config.lang_to_id
    english = make(model, tokenizer)

    assert english.transcribe(windows, language="English") == english.transcribe(windows)
    with pytest.raises(ConfigError, match="French"):
        english.transcribe(windows, language="French")


def test_words_that_the_tokenizer_does_not_have_are_an_error_not_an_empty_text(
    windows: list[Audio],
) -> None:
    with pytest.raises(CheckpointError, match="no words for what its decoder writes"):
        make(build(eos_bias=6.0), WhisperTokenizer()).transcribe(windows)


def test_a_text_without_end_is_cut_off_and_said_so(
    tokenizer: WhisperTokenizer, windows: list[Audio], caplog: pytest.LogCaptureFixture
) -> None:
    transcriber = make(build(eos_bias=-1e4), tokenizer)

    with caplog.at_level(logging.WARNING, logger="desta"):
        texts = transcriber.transcribe(windows[:2])

    assert all(texts)
    assert f"2 transcriptions were cut off at {MAX_NEW_TOKENS} tokens" in caplog.text


def test_a_text_that_repeats_itself_without_end_is_cut_in_a_window_of_true_length(
    tokenizer: WhisperTokenizer,
) -> None:
    model = build(eos_bias=-1e4)
    model.proj_out.bias.data[65] = 1e4  # nothing else is ever written
    transcriber = make(model, tokenizer)
    encoded = transcriber.encoder(MelExtractor(80, "30s")([np.zeros(SAMPLE_RATE, np.float32)]))

    def written(seconds: list[float] | None) -> str:
        return transcriber.transcribe_frames(encoded.last_BTD, None, seconds=seconds)[0]

    assert len(written(None)) == MAX_NEW_TOKENS  # as published
    assert len(written([29.0])) == 4  # slow enough to be said, had it come to an end


def test_a_window_of_more_than_30_seconds_is_refused(transcriber: Transcriber) -> None:
    with pytest.raises(DataError, match=r"30\.50 s"):
        transcriber.transcribe([np.zeros(int(30.5 * SAMPLE_RATE), np.float32)])


def test_an_unknown_language_is_refused_with_a_suggestion(
    transcriber: Transcriber, windows: list[Audio]
) -> None:
    with pytest.raises(ConfigError, match="french"):
        transcriber.transcribe(windows[:1], language="Frensh")
    with pytest.raises(ConfigError, match="German"):  # Whisper's, but not this model's
        transcriber.transcribe(windows[:1], language="German")


def test_a_directory_of_another_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        Transcriber.load(tmp_path)
    LlamaConfig().save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="a llama model, not Whisper"):
        Transcriber.load(tmp_path)
