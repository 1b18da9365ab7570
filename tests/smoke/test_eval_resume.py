import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from desta import audio
from desta.config import dump_recipe
from desta.errors import ConfigError, DataError
from desta.evaluation.attributes import ClipSet, EvalConfig
from desta.evaluation.runner import evaluate
from desta.evaluation.scores import score
from desta.llm.base import Sampling
from desta.records import Clip, Message

NUM_CLIPS = 40
FILES = ("plan.json", "results.jsonl", "scores.json")


class PitchAnswerer:
    """Hears whether a tone is high or low; without a clip it always says the same."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.num_answered = 0

    def answer(self, conversations: Sequence[Sequence[Message]], sampling: Sampling) -> list[str]:
        answers = [self._answer(conversation) for conversation in conversations]
        time.sleep(self.seconds)
        self.num_answered += len(answers)
        return answers

    def _answer(self, conversation: Sequence[Message]) -> str:
        refs = conversation[-1].audios
        if not refs:
            return "I hear nothing; perhaps it is high."
        samples = audio.load(Path(refs[0].audio))
        crossings = int((np.diff(np.signbit(samples)) != 0).sum())
        return "It is a HIGH tone." if crossings > len(samples) / 16 else "It is a low tone."


@pytest.fixture
def config(tmp_path: Path) -> EvalConfig:
    lines = []
    for number in range(NUM_CLIPS):
        pitch = ("High", "Low")[number % 2]
        wave = np.sin(np.arange(1600) * 2 * np.pi * {"High": 2000, "Low": 200}[pitch] / 16000)
        soundfile.write(tmp_path / f"{number}.wav", wave, 16000)
        clip = Clip(
            id=f"tones/{number}",
            source="tones",
            audio=f"{number}.wav",
            duration=0.1,
            domain="sound",
            attributes={"Pitch": pitch},
            split="test",
        )
        lines.append(json.dumps(clip.to_json()) + "\n")
    (tmp_path / "clips.jsonl").write_text("".join(lines), encoding="utf-8")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.safetensors").write_bytes(b"weights")
    return EvalConfig(
        model=tmp_path / "model",
        clips=(ClipSet(path=tmp_path / "clips.jsonl", root=tmp_path),),
        attributes={"Pitch": ()},
        batch_size=3,
    )


def contents(out: Path) -> dict[str, bytes]:
    return {name: (out / name).read_bytes() for name in FILES}


def balanced(scores: dict, system: str) -> float:
    row = next(row for row in scores["scores"] if row["system"] == system)
    return row["balanced_accuracy"]["value"]


def run_in_child(config: EvalConfig, out: Path) -> subprocess.Popen[bytes]:
    program = (
        "import importlib.util, pathlib, sys\n"
        "from desta.evaluation.attributes import EvalConfig\n"
        "from desta.config import load_recipe\n"
        "from desta.evaluation.runner import evaluate\n"
        "spec = importlib.util.spec_from_file_location('this', sys.argv[1])\n"
        "this = importlib.util.module_from_spec(spec)\n"
        "spec.loader.exec_module(this)\n"
        "config = load_recipe(pathlib.Path(sys.argv[2]), EvalConfig)\n"
        "evaluate(config, this.PitchAnswerer(seconds=0.02), pathlib.Path(sys.argv[3]))\n"
    )
    recipe = config.model.parent / "recipe.yaml"
    recipe.write_text(dump_recipe(config), encoding="utf-8")
    return subprocess.Popen(
        [sys.executable, "-c", program, __file__, str(recipe), str(out)],
        stderr=subprocess.DEVNULL,
    )


def test_killed_evaluation_continues_to_the_same_bytes(config: EvalConfig, tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    evaluate(config, PitchAnswerer(), whole)
    rows = (whole / "results.jsonl").read_bytes().splitlines(keepends=True)
    assert len(rows) == 2 * NUM_CLIPS

    moments = random.Random(0).sample(range(1, len(rows) - 12), 5)
    codes = []
    for moment in sorted(moments):
        child = run_in_child(config, killed)
        journal = killed / "results.jsonl"
        while child.poll() is None:
            if journal.exists() and journal.read_bytes().count(b"\n") >= moment:
                os.kill(child.pid, signal.SIGKILL)
                break
            time.sleep(0.002)
        codes.append(child.wait())
        with journal.open("ab") as file:  # what a kill inside a write leaves
            file.write(rows[-1][: moment % 50])
    assert -signal.SIGKILL in codes
    answerer = PitchAnswerer()
    evaluate(config, answerer, killed)

    assert contents(killed) == contents(whole)
    assert answerer.num_answered < len(rows)


def test_finished_evaluation_asks_nothing_again(config: EvalConfig, tmp_path: Path) -> None:
    first = evaluate(config, PitchAnswerer(), tmp_path / "out")
    again = PitchAnswerer()

    assert evaluate(config, again, tmp_path / "out") == first
    assert again.num_answered == 0


def test_model_that_hears_is_right_and_one_without_audio_is_at_chance(
    config: EvalConfig, tmp_path: Path
) -> None:
    scores = evaluate(config, PitchAnswerer(), tmp_path / "out")

    assert balanced(scores, "model") == 1.0
    assert balanced(scores, "no audio") == balanced(scores, "chance") == 0.5


def test_score_needs_the_answers_alone(config: EvalConfig, tmp_path: Path) -> None:
    out = tmp_path / "out"
    scores = evaluate(config, PitchAnswerer(), out)
    (out / "scores.json").unlink()
    (tmp_path / "model" / "model.safetensors").unlink()

    assert score(out / "results.jsonl") == scores
    assert json.loads((out / "scores.json").read_text(encoding="utf-8")) == scores


def test_clip_that_cannot_be_heard_is_counted_and_the_others_are_answered(
    config: EvalConfig, tmp_path: Path
) -> None:
    for number in (4, 7):
        (tmp_path / f"{number}.wav").write_text("no audio", encoding="utf-8")

    scores = evaluate(config, PitchAnswerer(), tmp_path / "out")

    (skipped,) = scores["skipped"]
    assert skipped["count"] == 2
    assert skipped["example"] == "held-out/Pitch/tones/4"
    assert str(tmp_path) not in skipped["reason"]
    row = next(row for row in scores["scores"] if row["system"] == "model")
    assert (row["num_examples"], row["num_skipped"]) == (NUM_CLIPS, 2)
    assert balanced(scores, "model") == 1.0


def test_too_many_failing_clips_fail_the_evaluation(config: EvalConfig, tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.wav").unlink()

    with pytest.raises(DataError, match="3 of 40 questions"):
        evaluate(config, PitchAnswerer(), tmp_path / "out")


def test_other_weights_or_recipe_in_the_same_folder_are_an_error(
    config: EvalConfig, tmp_path: Path
) -> None:
    evaluate(config, PitchAnswerer(), tmp_path / "out")

    with pytest.raises(ConfigError, match="config"):
        evaluate(replace(config, batch_size=4), PitchAnswerer(), tmp_path / "out")
    (tmp_path / "model" / "model.safetensors").write_bytes(b"trained on")
    with pytest.raises(ConfigError, match="weights"):
        evaluate(config, PitchAnswerer(), tmp_path / "out")
