"""An evaluation that takes no time: is a tone high or low?"""

import hashlib
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile

from desta import audio
from desta.config import dump_recipe
from desta.evaluation import runner
from desta.evaluation.benchmarks.attributes import BENCHMARK
from desta.evaluation.benchmarks.attributes.questions import AttributesData, ClipSet
from desta.evaluation.journal import Shard
from desta.evaluation.models import model_fingerprint
from desta.evaluation.recipe import EvalRecipe, load_eval_recipe
from desta.evaluation.systems import Models
from desta.model.backbone.sampling import Sampling
from desta.records import AudioRef, Clip, Message
from support.forks import Fork

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


class Interrupted(PitchAnswerer):
    """Is interrupted once it has answered so much."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.after = after

    def answer(self, conversations: Sequence[Sequence[Message]], sampling: Sampling) -> list[str]:
        if self.num_answered >= self.after:
            raise KeyboardInterrupt
        return super().answer(conversations, sampling)


def pitch_recipe(folder: Path) -> Recipe:
    """Write clips of high and low tones and a model, and return the recipe of an evaluation."""
    lines = []
    for number in range(NUM_CLIPS):
        pitch = ("High", "Low")[number % 2]
        wave = np.sin(np.arange(1600) * 2 * np.pi * {"High": 2000, "Low": 200}[pitch] / 16000)
        soundfile.write(folder / f"{number}.wav", wave, 16000)
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
    (folder / "clips.jsonl").write_text("".join(lines), encoding="utf-8")
    (folder / "model").mkdir()
    (folder / "model" / "model.safetensors").write_bytes(b"weights")
    clips = ClipSet(path=folder / "clips.jsonl", root=folder)
    return EvalRecipe(
        data=AttributesData(clips=(clips,), attributes={"Pitch": ()}),
        model=str(folder / "model"),
        batch_size=3,
    )


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


def start_evaluation(config: Recipe, out: Path, seconds: float) -> Fork:
    """Start an evaluation in a process of its own; each batch takes so many seconds."""
    recipe = out.parent / "recipe.yaml"
    recipe.write_text(dump_recipe(config), encoding="utf-8")
    child = Fork(_evaluate_slowly, recipe, out, seconds)
    child.wait_for_output()
    return child


def _evaluate_slowly(recipe: Path, out: Path, seconds: float) -> None:
    config = load_eval_recipe(recipe, AttributesData)
    sys.stdout.write("begun")
    sys.stdout.flush()
    evaluate(config, PitchAnswerer(seconds), out)


def contents(out: Path) -> dict[str, bytes]:
    return {name: (out / name).read_bytes() for name in FILES}


def balanced(scores: dict, system: str) -> float:
    row = next(row for row in scores["scores"] if row["system"] == system)
    return row["balanced_accuracy"]["value"]


def mend(folder: Path, whole: dict[int, bytes]) -> None:
    for number, content in whole.items():
        (folder / f"{number}.wav").write_bytes(content)
