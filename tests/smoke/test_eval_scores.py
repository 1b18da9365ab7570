"""What an evaluation scores, and what it says of clips and systems that cannot be scored."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from desta import audio
from desta.errors import DataError
from desta.evaluation.scores import score_folder
from support.evaluations import (
    NUM_CLIPS,
    DeafAnswerer,
    PitchAnswerer,
    Recipe,
    balanced,
    evaluate,
    pitch_recipe,
)


@pytest.fixture
def config(tmp_path: Path) -> Recipe:
    return pitch_recipe(tmp_path)


def test_model_that_hears_is_right_and_one_without_audio_is_at_chance(
    config: Recipe, tmp_path: Path
) -> None:
    scores = evaluate(config, PitchAnswerer(), tmp_path / "out")

    assert balanced(scores, "model") == 1.0
    assert balanced(scores, "no_audio") == balanced(scores, "chance") == 0.5


def test_score_needs_the_answers_alone(config: Recipe, tmp_path: Path) -> None:
    out = tmp_path / "out"
    scores = evaluate(config, PitchAnswerer(), out)
    (out / "scores.json").unlink()
    (tmp_path / "model" / "model.safetensors").unlink()

    assert score_folder(out) == scores
    assert json.loads((out / "scores.json").read_text(encoding="utf-8")) == scores


def test_clip_that_cannot_be_heard_is_counted_and_the_others_are_answered(
    config: Recipe, tmp_path: Path
) -> None:
    for number in (4, 7):
        (tmp_path / f"{number}.wav").write_text(f"no audio {number}", encoding="utf-8")

    scores = evaluate(config, PitchAnswerer(), tmp_path / "out")  # the broken ones come first

    (skipped,) = scores["skipped"]
    assert skipped["count"] == 2
    assert skipped["example"] == "held-out/Pitch/tones/4"
    assert str(tmp_path) not in skipped["reason"]
    row = next(row for row in scores["scores"] if row["system"] == "model")
    assert (row["num_examples"], row["num_skipped"]) == (NUM_CLIPS, 2)
    assert balanced(scores, "model") == 1.0


def test_too_many_failing_clips_fail_the_evaluation(config: Recipe, tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.wav").unlink()

    with pytest.raises(DataError, match="3 of 40 questions"):
        evaluate(config, PitchAnswerer(), tmp_path / "out")


def test_a_system_that_hears_every_clip_alike_is_not_scored(config: Recipe, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the audio does not reach it"):
        evaluate(config, DeafAnswerer(), tmp_path / "out")
    assert not (tmp_path / "out" / "results.jsonl").exists()


def test_batches_hold_clips_of_one_length(config: Recipe, tmp_path: Path) -> None:
    for number in range(0, NUM_CLIPS, 4):
        soundfile.write(tmp_path / f"{number}.wav", np.zeros(3200), 16000)

    evaluate(config, PitchAnswerer(), tmp_path / "out")

    lines = (tmp_path / "out" / "results.jsonl").read_text(encoding="utf-8").splitlines()
    seconds = [audio.probe_duration(json.loads(line)["audio"][0]) for line in lines[:NUM_CLIPS]]
    assert seconds == sorted(seconds)
    assert len(set(seconds)) == 2
