"""One bad pair among good ones in training and validation: counted, and the run goes on."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from desta import audio
from desta.data.dataset import Example, ExampleReader, PairDataset, SkippedPair
from desta.data.layout import Layout
from desta.errors import ConfigError, DataError
from desta.isolation import HALF
from desta.model.checkpoint import Loaded
from desta.model.desta import DestaModel
from desta.training.config import TrainConfig
from desta.training.faults import NO_LOSS
from desta.training.loop import train
from support.training import losses, run_config, validations

BAD = "pair-5"


@pytest.fixture
def config(tmp_path: Path, published_tiny: Path) -> TrainConfig:
    found = run_config(tmp_path, published_tiny)
    return replace(found, data=replace(found.data, max_skipped_share=0.2), validation_rows=6)


@pytest.fixture
def shard(config: TrainConfig) -> Path:
    return config.data.train[0] / "audio-00000.jsonl"


def change(shard: Path, **fields: Any) -> None:
    rows = [json.loads(line) for line in shard.open()]
    rows[5] |= fields
    shard.write_text("".join(f"{json.dumps(row)}\n" for row in rows))


def make_loud(shard: Path, monkeypatch: pytest.MonkeyPatch, level: float) -> None:
    """Let one pair be about samples of a level that every decoder lets through."""
    rows = [json.loads(line) for line in shard.open()]
    messages = json.loads(json.dumps(rows[5]["messages"]).replace("b.wav", "loud.wav"))
    messages = json.loads(json.dumps(messages).replace("a.wav", "loud.wav"))
    messages = json.loads(json.dumps(messages).replace("c.wav", "loud.wav"))
    assert "loud.wav" in json.dumps(messages)
    change(shard, messages=messages)
    read = audio.read_audio

    def plain(source: Any, **options: Any) -> audio.Sound:
        if "loud" in str(source):
            noise = np.random.default_rng(0).standard_normal(audio.SAMPLE_RATE)
            return audio.Sound((level * noise).astype(np.float32), ())
        return read(source, **options)

    monkeypatch.setattr(audio, "read_audio", plain)


@pytest.mark.parametrize("way", [{}, {"packing": True}, {"questions_per_clip": 4}])
def test_a_pair_whose_loss_is_no_number_is_left_out_wherever_it_comes(
    config: TrainConfig,
    shard: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    way: dict[str, Any],
) -> None:
    make_loud(shard, monkeypatch, 1e30)
    config = replace(config, data=replace(config.data, **way))
    summary = train(config, tmp_path / "run")

    assert summary["skipped"][NO_LOSS]["example"] == BAD
    assert summary["skipped_in_validation"] == {NO_LOSS: {"count": 1, "example": BAD}}
    assert np.isfinite([loss for _, loss in losses(tmp_path / "run")]).all()
    assert len(losses(tmp_path / "run")) == config.steps
    for found in validations(tmp_path / "run"):
        assert np.isfinite(found["validation_loss"])
        assert BAD not in [sample["id"] for sample in found["samples"]]


def test_a_run_without_the_faulty_pair_has_the_loss_of_one_that_left_it_out(
    config: TrainConfig, shard: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the same batches: a pair whose clip is missing is skipped when it is read."""
    once = replace(config, steps=3, validate_every=3)
    make_loud(shard, monkeypatch, 1e30)
    train(once, tmp_path / "found")

    def gone(source: Any, **options: Any) -> audio.Sound:
        if "loud" in str(source):
            raise audio.AudioError("loud.wav", "does not exist", fix="")
        return plain(source, **options)

    plain = audio.read_audio
    monkeypatch.setattr(audio, "read_audio", gone)
    train(once, tmp_path / "missing")
    both = [dict(losses(tmp_path / name)) for name in ("found", "missing")]
    assert both[0] == pytest.approx(both[1], abs=1e-6)


def test_a_model_that_makes_no_number_of_anything_is_told_as_before(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward, calls = DestaModel.forward, []

    def diverge(*args: Any, **inputs: Any) -> torch.Tensor:
        calls.append(args)
        return forward(*args, **inputs) * (float("nan") if len(calls) >= 4 else 1.0)

    monkeypatch.setattr(DestaModel, "forward", diverge)
    with pytest.raises(ConfigError, match="the loss of step 2 is nan") as caught:
        train(config, tmp_path / "run")
    assert "learning_rate" in caught.value.fix


@pytest.mark.parametrize("error", [MemoryError("3 GiB"), RuntimeError("boom"), ValueError("x")])
def test_whatever_is_raised_for_the_clip_of_a_pair_is_counted(
    tiny: Loaded,
    config: TrainConfig,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    def failing(*args: Any, **options: Any) -> Any:
        raise error

    reader = ExampleReader(
        Layout(tiny.tokenizer, **tiny.layout_options), audio_root=config.data.audio_root
    )
    pair = PairDataset(config.data.train)[0]
    assert isinstance(reader.read(pair), Example)
    monkeypatch.setattr(audio, "read_audio", failing)
    monkeypatch.setattr(audio, "probe_duration", failing)
    reader.length(pair)
    found = reader.read(pair)
    assert isinstance(found, SkippedPair)
    assert ("memory" if isinstance(error, MemoryError) else type(error).__name__) in found.reason


GOOD = {"role": "user", "content": "<|AUDIO|>", "audios": [{"audio": "a.wav", "text": "hi"}]}
ROW = {"id": "7", "response": "Noise.", "messages": [GOOD]}
NO_TEXT = "has a message whose role or content is not text"
LINES = {
    "half a response": (json.dumps(ROW | {"response": "a\ud800b"}), HALF),
    "half a message": (json.dumps(ROW | {"messages": [GOOD | {"content": "\udfff"}]}), HALF),
    "half a transcription": (
        json.dumps(ROW | {"messages": [GOOD | {"audios": [{"audio": "a", "text": "\ud800"}]}]}),
        HALF,
    ),
    "half a description": (json.dumps(ROW | {"seed_description": "\ud800"}), HALF),
    "half an id": (json.dumps(ROW | {"id": "\ud800"}), HALF),
    "a number": (json.dumps(ROW | {"response": 5}), 'has something else than text as "response"'),
    "a list": (json.dumps(ROW | {"prompt": ["x"]}), 'has something else than text as "prompt"'),
    "an id that is no text": (
        json.dumps(ROW | {"id": {"a": 1}}),
        'has something else than text as "id"',
    ),
    "another field": (
        json.dumps(ROW | {"x": {"y": 1}}),
        'has the field "x", which is not in the schema',
    ),
    "messages in a word": (
        json.dumps(ROW | {"messages": "hi"}),
        "has messages that are not a list of objects",
    ),
    "parts": (json.dumps(ROW | {"messages": [GOOD | {"content": [{"type": "text"}]}]}), NO_TEXT),
    "no JSON": ('{"id": ', "is not JSON"),
    "no UTF-8": (b"\xff\xfe", "is not JSON"),
    "no object": ("[1]", "is not a JSON object"),
    "deep": ("[" * 20_000 + "]" * 20_000, "is not JSON"),
    "a number without end": ('{"id": ' + "9" * 5000 + "}", "is not JSON"),
    "NaN": ('{"id": "7", "response": NaN}', 'has something else than text as "response"'),
    "a URL": (
        json.dumps(ROW | {"messages": [GOOD | {"audios": [{"audio": "https://x.org/a.wav"}]}]}),
        "is a URL, and URLs are not fetched",
    ),
    "a zero in a path": (
        json.dumps(ROW | {"messages": [GOOD | {"audios": [{"audio": "a\0.wav"}]}]}),
        "is not a possible file name",
    ),
}


@pytest.mark.parametrize("name", LINES)
def test_a_line_of_a_shard_is_lost_alone(
    name: str, tiny: Loaded, tmp_path: Path, published_tiny: Path
) -> None:
    line, reason = LINES[name]
    good = json.dumps(ROW).encode()
    between = line if isinstance(line, bytes) else line.encode()
    shard = tmp_path / "audio.0.jsonl"
    shard.write_bytes(b"\xef\xbb\xbf" + b"\n".join([good, between, good, b""]))
    rows = PairDataset([tmp_path])
    reader = ExampleReader(Layout(tiny.tokenizer, **tiny.layout_options), audio_root=published_tiny)

    read = [reader.read(rows[number]) for number in range(len(rows))]

    assert [type(found) for found in read] == [Example, SkippedPair, Example]
    assert isinstance(read[1], SkippedPair)
    assert read[1].reason == reason
    if name in ("no JSON", "no object", "an id that is no text"):
        assert read[1].id == "row 1"


def test_a_shard_that_is_mended_is_read_anew(tmp_path: Path) -> None:
    shard = tmp_path / "audio.0.jsonl"
    shard.write_text('{"id": \n{"id": \n')
    assert [type(PairDataset([tmp_path])[n]) for n in (0, 1)] == [SkippedPair] * 2
    shard.write_text(f'{{"id": \n{json.dumps(ROW)}\n')
    assert not isinstance(PairDataset([tmp_path])[1], SkippedPair)


def test_a_run_goes_on_beside_a_line_that_is_no_row(
    config: TrainConfig, shard: Path, tmp_path: Path
) -> None:
    change(shard, response="a\ud800b")
    summary = train(config, tmp_path / "run")
    assert summary["skipped"][HALF]["example"] == BAD
    assert summary["skipped_in_validation"] == {HALF: {"count": 1, "example": BAD}}


def test_a_validation_of_which_nothing_is_left_is_one_sentence(
    config: TrainConfig, shard: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_loud(shard, monkeypatch, 1e30)
    held_out = tmp_path / "held out"
    held_out.mkdir()
    (held_out / "a.jsonl").write_text(shard.read_text().splitlines()[5])
    data = replace(config.data, validation=(held_out,))
    with pytest.raises(
        DataError, match="1 of 1 validation pairs are unusable; the first, pair-5: gives a loss"
    ):
        train(replace(config, data=data), tmp_path / "run")
