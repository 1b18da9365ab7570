import hashlib
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
from desta.evaluation import runner
from desta.evaluation.benchmarks.attributes import BENCHMARK, AttributesData, ClipSet
from desta.evaluation.journal import Shard, lock
from desta.evaluation.merge import merge
from desta.evaluation.models import model_fingerprint
from desta.evaluation.recipe import EvalRecipe
from desta.evaluation.rescore import score_again
from desta.evaluation.scores import score_folder
from desta.evaluation.systems import Models
from desta.model.backbone.sampling import Sampling
from desta.records import AudioRef, Clip, Message

NUM_CLIPS = 40
Recipe = EvalRecipe[AttributesData]
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

    def digest(self, conversation: Sequence[Message]) -> str:
        paths = [Path(ref.audio) for message in conversation for ref in message.audios]
        heard = (audio.load_audio(path).tobytes() for path in paths)
        return hashlib.sha256(b"".join(heard)).hexdigest()

    def transcribe(self, refs: Sequence[AudioRef]) -> list[str]:
        raise NotImplementedError

    def _answer(self, conversation: Sequence[Message]) -> str:
        refs = conversation[-1].audios
        if not refs:
            return "I hear nothing; perhaps it is high."
        samples = audio.load_audio(Path(refs[0].audio))
        crossings = int((np.diff(np.signbit(samples)) != 0).sum())
        return "It is a HIGH tone." if crossings > len(samples) / 16 else "It is a low tone."


class DeafAnswerer(PitchAnswerer):
    """Says that it hears, and is given the same whatever there is to be heard."""

    def digest(self, conversation: Sequence[Message]) -> str:
        return "always the same"


def evaluate(
    config: Recipe,
    answerer: PitchAnswerer,
    out: Path,
    shard: Shard | None = None,
    *,
    retry: bool = False,
) -> dict | None:
    return runner.evaluate(
        BENCHMARK,
        config,
        lambda _: Models(model=answerer),
        out,
        weights=model_fingerprint(config.model),
        shard=shard,
        retry=retry,
    )


@pytest.fixture
def config(tmp_path: Path) -> Recipe:
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
    clips = ClipSet(path=tmp_path / "clips.jsonl", root=tmp_path)
    return EvalRecipe(
        data=AttributesData(clips=(clips,), attributes={"Pitch": ()}),
        model=str(tmp_path / "model"),
        batch_size=3,
    )


def contents(out: Path) -> dict[str, bytes]:
    return {name: (out / name).read_bytes() for name in FILES}


def balanced(scores: dict, system: str) -> float:
    row = next(row for row in scores["scores"] if row["system"] == system)
    return row["balanced_accuracy"]["value"]


def run_in_child(config: Recipe, out: Path, seconds: float) -> subprocess.Popen[bytes]:
    program = (
        "import importlib.util, pathlib, sys\n"
        "from desta.evaluation.benchmarks.attributes import AttributesData\n"
        "from desta.evaluation.recipe import load_eval_recipe\n"
        "spec = importlib.util.spec_from_file_location('this', sys.argv[1])\n"
        "this = importlib.util.module_from_spec(spec)\n"
        "spec.loader.exec_module(this)\n"
        "answerer = this.PitchAnswerer(seconds=float(sys.argv[4]))\n"
        "config = load_eval_recipe(pathlib.Path(sys.argv[2]), AttributesData)\n"
        "print('begun', flush=True)\n"
        "this.evaluate(config, answerer, pathlib.Path(sys.argv[3]))\n"
    )
    recipe = out.parent / "recipe.yaml"
    recipe.write_text(dump_recipe(config), encoding="utf-8")
    return subprocess.Popen(
        [sys.executable, "-c", program, __file__, str(recipe), str(out), str(seconds)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )


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
        child = run_in_child(config, killed, seconds=0.004 * num_kills)
        assert child.stdout is not None
        child.stdout.readline()  # it begins
        time.sleep(draw.uniform(0, 0.14))
        os.kill(child.pid, signal.SIGKILL)
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
    child = run_in_child(config, out, seconds=0.05)
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


@pytest.mark.parametrize("count", [2, 3])
def test_merged_shards_are_one_run(config: Recipe, tmp_path: Path, count: int) -> None:
    evaluate(config, PitchAnswerer(), tmp_path / "whole")
    folders = [tmp_path / "here", *[tmp_path / "there"] * (count - 1)]
    for number in reversed(range(count)):
        shard = Shard(number=number, count=count)
        assert evaluate(config, PitchAnswerer(), folders[number], shard) is None

    assert merge(folders) == folders[0] / "results.jsonl"
    score_folder(folders[0])

    assert contents(folders[0]) == contents(tmp_path / "whole")


def test_more_shards_than_batches_are_merged_as_well(config: Recipe, tmp_path: Path) -> None:
    config = replace(config, systems=("model",), batch_size=NUM_CLIPS)
    out = tmp_path / "out"
    for number in range(2):
        assert evaluate(config, PitchAnswerer(), out, Shard(number=number, count=2)) is None

    evaluate(config, PitchAnswerer(), tmp_path / "whole")
    merge([out])
    assert score_folder(out) == score_folder(tmp_path / "whole")
    evaluate(config, PitchAnswerer(), out, Shard(number=1, count=2))  # again, nothing is left


def test_shards_with_the_names_of_before_and_of_now_are_one_run(
    config: Recipe, tmp_path: Path
) -> None:
    """A recipe had no section `data`, and its baselines apart from the model."""
    evaluate(config, PitchAnswerer(), tmp_path / "whole")
    before, now = tmp_path / "before", tmp_path / "now"
    for number, folder in enumerate((before, now)):
        evaluate(config, PitchAnswerer(), folder, Shard(number=number, count=2))
    plan = json.loads((before / "plan.json").read_text(encoding="utf-8"))
    recipe = plan["config"]
    recipe |= recipe.pop("data")
    recipe["baselines"] = [name.replace("_", " ") for name in recipe.pop("systems")[1:]]
    assert "no audio" in recipe["baselines"]
    (before / "plan.json").write_text(json.dumps(plan), encoding="utf-8")

    merge([before, now])

    assert score_folder(before) == score_folder(tmp_path / "whole")
    assert contents(before)["results.jsonl"] == contents(tmp_path / "whole")["results.jsonl"]


def test_shards_that_are_not_one_evaluation_are_not_merged(config: Recipe, tmp_path: Path) -> None:
    out, other, third = (tmp_path / name for name in ("out", "other", "third"))
    evaluate(config, PitchAnswerer(), out, Shard(number=0, count=2))
    with pytest.raises(DataError, match=r"results-1-of-2\.jsonl is missing"):
        merge([out])
    evaluate(config, PitchAnswerer(), third, Shard(number=1, count=3))
    with pytest.raises(DataError, match=r"different --shard: K/2 and K/3"):
        merge([out, third])
    (third / "results-1-of-3.jsonl").unlink()
    with pytest.raises(DataError, match="holds no journal of a shard"):
        merge([third])
    evaluate(replace(config, batch_size=5), PitchAnswerer(), other, Shard(number=1, count=2))
    with pytest.raises(DataError, match="different evaluations: batch_size, config"):
        merge([out, other])

    evaluate(config, PitchAnswerer(), out, Shard(number=1, count=2))
    half = out / "results-1-of-2.jsonl"
    lines = half.read_bytes().splitlines(keepends=True)
    half.write_bytes(b"".join(lines[:-1]))
    with pytest.raises(DataError, match=f"holds {len(lines) - 1} of {len(lines)} results"):
        merge([out])
    half.write_bytes(b"".join([*lines[:-1], lines[0]]))
    with pytest.raises(DataError, match="not of this plan"):
        merge([out])


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


def test_finished_evaluation_asks_nothing_again(config: Recipe, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = evaluate(config, PitchAnswerer(), out)

    def load(recipe: Recipe) -> Models:
        raise AssertionError("nobody is loaded, nor any endpoint asked whether it hears")

    weights = model_fingerprint(config.model)
    for retry in (False, True):
        again = runner.evaluate(BENCHMARK, config, load, out, weights=weights, retry=retry)
        assert again == first


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


class Interrupted(PitchAnswerer):
    """Is interrupted once it has answered so much."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.after = after

    def answer(self, conversations: Sequence[Sequence[Message]], sampling: Sampling) -> list[str]:
        if self.num_answered >= self.after:
            raise KeyboardInterrupt
        return super().answer(conversations, sampling)


def mend(folder: Path, whole: dict[int, bytes]) -> None:
    for number, content in whole.items():
        (folder / f"{number}.wav").write_bytes(content)


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


def test_merging_keeps_what_was_asked_again(config: Recipe, tmp_path: Path) -> None:
    config = replace(config, batch_size=1, max_skipped_share=1.0)
    evaluate(config, PitchAnswerer(), tmp_path / "whole")
    whole = {n: (tmp_path / f"{n}.wav").read_bytes() for n in (1, 2, 3, 4)}
    mend(tmp_path, dict.fromkeys(whole, b"no audio"))
    out = tmp_path / "out"
    parts = [Shard(number=number, count=2) for number in range(2)]
    for part in parts:
        evaluate(config, PitchAnswerer(), out, part)
    mend(tmp_path, whole)

    with pytest.raises(KeyboardInterrupt):
        evaluate(config, Interrupted(after=1), out, parts[0], retry=True)
    merge([out])
    assert score_folder(out)["skipped"][0]["count"] == 3, (
        "one was asked again, and is not yet in its part"
    )
    evaluate(config, PitchAnswerer(), out, retry=True)  # the merged run, and no part of it
    done = (out / "results.jsonl").read_bytes()
    merge([out])

    assert (out / "results.jsonl").read_bytes() == done
    assert score_folder(out)["skipped"] == []
    assert set(done.splitlines()) == set(
        (tmp_path / "whole/results.jsonl").read_bytes().splitlines()
    )


def test_nobody_scores_or_merges_what_is_being_asked_again(config: Recipe, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for number in range(2):
        evaluate(config, PitchAnswerer(), out, Shard(number=number, count=2))
    results = merge([out])
    with lock(results):
        for work in (score_again, lambda out: merge([out])):
            with pytest.raises(DataError, match="another process writes"):
                work(out)
    score_again(out)
