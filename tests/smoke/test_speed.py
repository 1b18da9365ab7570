"""The measurements of speed on the tiny model: they run, and write what they measured."""

import json
import math
import sys
from pathlib import Path

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers import LlamaConfig, WhisperConfig

import neighbour
import readme
import speed
from desta.model.config import ConnectorConfig, ModelConfig
from desta.model.desta import build_model
from desta.model.encoder.mel import Mel
from measure.answering import FIRST_AGAIN
from measure.flops import first_token_flops, training_flops
from measure.settings import ANSWERING, TRAINING, ladder
from measure.table import MEMORY, SAMPLES, SHARE


def test_speed_measures_every_lever_of_both_ladders(
    published_tiny: Path,
    tiny_whisper: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "speed.json"
    command = f"speed.py --quick --rounds 1 --query-tokens 4 --encoder {tiny_whisper}"
    command += f" --backbone {published_tiny / 'backbone'} --json {out}"
    monkeypatch.setattr(sys, "argv", command.split())

    assert speed.main() == 0

    figures = json.loads(out.read_text())
    cpu = figures["devices"]["cpu"]
    values = {(r["settings"], r["measure"]): r["values"] for r in cpu["records"]}
    measures = {measure for _, measure in values}
    assert {SAMPLES, MEMORY, SHARE} < measures
    assert len(measures) == 3 + 4 + 4  # of training, of single requests, of answers a second
    wanted = {(name, SAMPLES) for name, _ in ladder(TRAINING)}
    wanted |= {(name, FIRST_AGAIN) for name, _ in ladder(ANSWERING)}
    assert wanted < set(values)
    assert all(len(v) == 1 and math.isfinite(v[0]) for v in values.values())
    rows = {row["measure"]: row for row in cpu["rows"]}
    assert set(rows) == measures
    row = rows[SAMPLES]
    assert row["ratio"] == pytest.approx(row["ours"] / row["published"])
    assert f"| {SAMPLES} | 2 s | {row['published']:.3g} |" in capsys.readouterr().out
    assert f"{row['published']:.3g}" in readme.speed_block(figures)
    assert "+ head on labelled positions" in readme.speed_page(figures)


def test_a_busy_neighbour_is_measured_beside_an_idle_machine(
    published_tiny: Path,
    tiny_whisper: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "neighbour.json"
    command = f"neighbour.py --quick --rounds 1 --spins 1000 --encoder {tiny_whisper}"
    command += f" --backbone {published_tiny / 'backbone'} --json {out}"
    monkeypatch.setattr(sys, "argv", command.split())

    assert neighbour.main() == 0

    figures = json.loads(out.read_text())
    measures = {neighbour.IDLE: set(), neighbour.BESIDE: set()}
    for row in figures["rows"]:
        assert row["spins"] == 1000
        assert all(seconds > 0 for seconds in row["seconds"])
        measures[row["neighbour"]].add(row["measure"])
    assert measures[neighbour.IDLE] == measures[neighbour.BESIDE]
    assert len(measures[neighbour.IDLE]) == 4
    assert "(100%)" in readme.neighbour_block(figures)


def test_counted_operations_are_those_that_pytorch_counts() -> None:
    whisper = WhisperConfig(
        d_model=64, encoder_layers=3, encoder_attention_heads=4, encoder_ffn_dim=128
    )
    llama = LlamaConfig(
        vocab_size=200,
        hidden_size=48,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    connector = ConnectorConfig(num_query_tokens=8, num_layers=2, dropout=0.0)
    config = ModelConfig(backbone="", encoder="", connector=connector)
    model = build_model(config, encoder_config=whisper, backbone_config=llama).train()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter.data, std=0.02)
    ids = torch.randint(0, 200, (1, 40))
    places = torch.stack([torch.zeros(8, dtype=torch.long), torch.arange(5, 13)], dim=1)
    mel = Mel(torch.randn(1, 80, 100), torch.tensor([100]))

    def count(*, train: bool) -> int:
        counter = FlopCounterMode(display=False)
        with counter, sdpa_kernel(SDPBackend.MATH):  # the only one that it counts on the CPU
            embeddings = model.embed(ids, model.audio_tokens(model.encode(mel)), places)
            options = {"inputs_embeds": embeddings, "use_cache": False}
            logits = model.llm_model(**options, logits_to_keep=0 if train else 1).logits
            if train:
                logits.sum().backward()
        return counter.get_total_flops()

    shapes = {"num_frames": 50, "num_tokens": 40}
    counted = sum(training_flops(model, **shapes, num_labels=40).values())
    assert counted == pytest.approx(count(train=True), rel=0.01)
    assert first_token_flops(model, **shapes) == pytest.approx(count(train=False), rel=0.01)
