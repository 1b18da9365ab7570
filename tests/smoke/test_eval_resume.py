"""An evaluation that is killed, or asked again: nothing is lost, and nothing answered twice."""

import os
import random
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest

from desta.errors import ConfigError, DataError
from desta.evaluation import runner
from desta.evaluation.benchmarks.attributes import BENCHMARK
from desta.evaluation.models import model_fingerprint
from desta.evaluation.rescore import score_again
from desta.evaluation.scores import score_folder
from desta.evaluation.systems import Models
from support.evaluations import (
    NUM_CLIPS,
    Interrupted,
    PitchAnswerer,
    Recipe,
    contents,
    evaluate,
    mend,
    pitch_recipe,
    start_evaluation,
)


@pytest.fixture
def config(tmp_path: Path) -> Recipe:
    return pitch_recipe(tmp_path)


@pytest.mark.parametrize("num_kills", [8, pytest.param(30, marks=pytest.mark.slow)])
def test_killed_evaluation_continues_to_the_same_bytes(
    config: Recipe, tmp_path: Path, num_kills: int
) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    evaluate(config, PitchAnswerer(), whole)
    rows = (whole / "results.jsonl").read_bytes().splitlines(keepends=True)
    assert len(rows) == 2 * NUM_CLIPS

    draw = random.Random(num_kills)
    journal = killed / "results.jsonl"
    num_killed = 0
    for _ in range(num_kills):
        child = start_evaluation(config, killed, seconds=0.004 * num_kills)
        time.sleep(draw.uniform(0, 0.14))
        child.kill()
        num_killed += child.wait() == -signal.SIGKILL
        there = journal.read_bytes() if journal.exists() else b""
        lines = there[: there.rfind(b"\n") + 1].splitlines(keepends=True)
        assert lines == rows[: len(lines)]  # nothing lost, nothing twice
        if killed.is_dir():  # a kill inside a write leaves whole lines and a part of one
            torn = draw.choice(rows)[:-1]
            more = b"".join(rows[len(lines) : len(lines) + draw.randrange(2)])
            journal.write_bytes(b"".join(lines) + more + torn[: draw.randrange(len(torn))])
    assert num_killed >= num_kills // 2
    answerer = PitchAnswerer()
    evaluate(config, answerer, killed)

    assert contents(killed) == contents(whole)
    assert answerer.num_answered < len(rows)


def test_an_evaluation_with_the_ids_of_before_goes_on(config: Recipe, tmp_path: Path) -> None:
    whole, before = tmp_path / "whole", tmp_path / "before"
    scores = evaluate(config, PitchAnswerer(), whole)
    before.mkdir()
    for name in ("plan.json", "results.jsonl"):
        text = (whole / name).read_text(encoding="utf-8").replace("no_audio", "no audio")
        (before / name).write_text(text, encoding="utf-8")
    with (before / "results.jsonl").open("r+", encoding="utf-8") as journal:
        journal.truncate(journal.seek(0, os.SEEK_END) - 1)  # its last line is torn
    answerer = PitchAnswerer()
    assert evaluate(config, answerer, before) == scores
    assert answerer.num_answered == 1
    assert score_folder(before) == score_again(before) == scores


def test_two_processes_do_not_write_into_one_journal(config: Recipe, tmp_path: Path) -> None:
    evaluate(config, PitchAnswerer(), tmp_path / "whole")
    out = tmp_path / "shared"
    child = start_evaluation(config, out, seconds=0.05)
    try:
        while not ((out / "results.jsonl").exists() or child.poll() is not None):
            time.sleep(0.01)
        child.send_signal(signal.SIGSTOP)  # so that it cannot be done before it is met
        with pytest.raises(DataError, match=r"another process writes .*results\.jsonl"):
            evaluate(config, PitchAnswerer(), out)
    finally:
        child.kill()
        child.wait()

    evaluate(config, PitchAnswerer(), out)  # what is killed keeps no lock

    assert contents(out) == contents(tmp_path / "whole")


def test_finished_evaluation_asks_nothing_again(config: Recipe, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = evaluate(config, PitchAnswerer(), out)

    def load(recipe: Recipe) -> Models:
        raise AssertionError("nobody is loaded, nor any endpoint asked whether it hears")

    weights = model_fingerprint(config.model)
    for retry in (False, True):
        again = runner.evaluate(BENCHMARK, config, load, out, weights=weights, retry=retry)
        assert again == first


def test_only_what_has_no_answer_is_asked_again_once_its_clip_is_mended(
    config: Recipe, tmp_path: Path
) -> None:
    evaluate(config, PitchAnswerer(), tmp_path / "whole")
    whole = {n: (tmp_path / f"{n}.wav").read_bytes() for n in (4, 7, 9)}
    (tmp_path / "4.wav").unlink()
    for number in (7, 9):
        (tmp_path / f"{number}.wav").write_text("no audio", encoding="utf-8")
    out = tmp_path / "out"
    with pytest.raises(DataError, match="3 of 40 questions") as error:
        evaluate(config, PitchAnswerer(), out)
    assert "--retry" in error.value.fix
    before = (out / "results.jsonl").read_bytes().splitlines()

    mend(tmp_path, whole)
    untouched, again, nothing = PitchAnswerer(), PitchAnswerer(), PitchAnswerer()
    with pytest.raises(DataError, match="3 of 40 questions"):
        evaluate(config, untouched, out)
    scores = evaluate(config, again, out, retry=True)
    assert evaluate(config, nothing, out, retry=True) == scores

    assert (untouched.num_answered, again.num_answered, nothing.num_answered) == (0, 3, 0)
    assert scores["skipped"] == []
    after = (out / "results.jsonl").read_bytes().splitlines()
    assert sum(a != b for a, b in zip(before, after, strict=True)) == 3
    assert set(after) == set((tmp_path / "whole/results.jsonl").read_bytes().splitlines())


def test_asking_again_goes_on_where_it_was_cut_off(config: Recipe, tmp_path: Path) -> None:
    config = replace(config, batch_size=1, max_skipped_share=1.0)
    whole = {n: (tmp_path / f"{n}.wav").read_bytes() for n in (1, 2, 3)}
    mend(tmp_path, dict.fromkeys(whole, b"no audio"))
    out = tmp_path / "out"
    evaluate(config, PitchAnswerer(), out)
    mend(tmp_path, whole)
    with pytest.raises(KeyboardInterrupt):
        evaluate(config, Interrupted(after=2), out, retry=True)
    with (out / "results.jsonl.again").open("ab") as file:
        file.write(b'{"system": "model", "id": "torn')

    again = PitchAnswerer()
    scores = evaluate(config, again, out, retry=True)

    assert again.num_answered == 1
    assert scores["skipped"] == []
    assert not [path for path in out.iterdir() if ".again" in path.name]


def test_other_weights_or_recipe_in_the_same_folder_are_an_error(
    config: Recipe, tmp_path: Path
) -> None:
    evaluate(config, PitchAnswerer(), tmp_path / "out")

    with pytest.raises(ConfigError, match="config"):
        evaluate(replace(config, batch_size=4), PitchAnswerer(), tmp_path / "out")
    (tmp_path / "model" / "model.safetensors").write_bytes(b"trained on")
    with pytest.raises(ConfigError, match="weights"):
        evaluate(config, PitchAnswerer(), tmp_path / "out")
