"""The probe with scripted backbones: counts, ranks, and that nothing is asked twice."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from desta.errors import ConfigError
from desta.evaluation.benchmarks.probe.clips import draw_clips
from desta.evaluation.probing import run
from desta.evaluation.probing.recipe import Backbone, ProbeRecipe
from desta.evaluation.probing.responses import ROWS, read_speed, write_responses
from desta.generators.base import TextGenerator
from desta.generators.config import ScriptedEngine
from desta.generators.scripted import ScriptedGenerator
from desta.records import read_jsonl

ANSWERS = {"honest": "Unknown.", "silent": "<think>What could it be?", "wordy": "It is female."}


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Backbones that always say the same; their names as they are loaded."""
    loaded: list[str] = []

    def load(backbone: Backbone, recipe: ProbeRecipe) -> TextGenerator:
        loaded.append(backbone.name)
        return ScriptedGenerator(lambda _: ANSWERS[backbone.model], revision=backbone.name)

    monkeypatch.setattr(run, "_generator", load)
    return loaded


def recipe(*models: str, **changes: Any) -> ProbeRecipe:
    return ProbeRecipe(
        models=models, engine=ScriptedEngine(), **({"limit": 40, "descriptions": 12} | changes)
    )


def test_backbones_are_ranked_by_the_same_questions(scripted: list[str], tmp_path: Path) -> None:
    found = run.probe(recipe("wordy", "honest"), tmp_path)

    assert json.loads((tmp_path / run.PROBE).read_text()) == found
    first, second = found["models"]
    assert (first["rank"], first["model"]) == (1, "honest")  # a fourth of the questions is absent
    assert first["accuracy"]["num_items"] == second["accuracy"]["num_items"] == 40
    kinds = {
        c["group"]: c["estimate"]
        for c in first["cells"]
        if (c["metric"], c["dimension"]) == ("accuracy", "kind")
    }
    assert kinds["absent"]["value"] == 1.0
    assert kinds["stated"]["value"] == 0.0
    [step] = found["steps"]
    gap = first["accuracy"]["value"] - second["accuracy"]["value"]
    assert step["difference"]["value"] == pytest.approx(gap, abs=1e-5)
    assert (step["above"], step["below"], step["num_items"]) == ("honest", "wordy", 40)
    assert 0 < step["p_value"] <= 1


def test_no_answer_is_a_wrong_one_and_is_counted(scripted: list[str], tmp_path: Path) -> None:
    found = run.probe(recipe("silent", "honest"), tmp_path)

    row = found["models"][1]
    assert row["model"] == "silent"
    assert row["accuracy"]["value"] == 0.0
    [note] = row["unanswered"]
    assert note["count"] == 40
    assert "nothing but reasoning" in note["reason"]
    assert row["responses"]["kept"]["value"] == 0.0
    assert found["steps"][0]["num_items"] == 40


def test_the_same_call_asks_nothing_again(scripted: list[str], tmp_path: Path) -> None:
    first = run.probe(recipe("honest"), tmp_path)
    results = (tmp_path / "honest" / "results.jsonl").read_bytes()
    speed = (tmp_path / "honest" / "speed.jsonl").read_bytes()

    again = run.probe(recipe("honest"), tmp_path)

    assert {**again, "environment": None} == {**first, "environment": None}
    assert (tmp_path / "honest" / "results.jsonl").read_bytes() == results
    assert (tmp_path / "honest" / "speed.jsonl").read_bytes() == speed  # no batch was added


def test_other_questions_in_the_same_folder_are_refused(
    scripted: list[str], tmp_path: Path
) -> None:
    run.probe(recipe("honest"), tmp_path)
    with pytest.raises(ConfigError, match="holds another evaluation"):
        run.probe(recipe("honest", limit=8), tmp_path)


class Stops(ScriptedGenerator):
    """Answers so many batches, and is then interrupted."""

    def __init__(self, batches: int) -> None:
        super().__init__(lambda content: f"I hear {len(content)} dogs.")
        self.left = batches

    def complete(self, conversations: Sequence[Any], *rest: Any, **options: Any) -> Any:
        if not self.left:
            raise KeyboardInterrupt
        self.left -= 1
        return super().complete(conversations, *rest, **options)


def clips(folder: Path, count: int) -> Path:
    path = folder / "clips.jsonl"
    path.write_text("".join(json.dumps(c.to_json()) + "\n" for c in draw_clips(count)))
    return path


def test_interrupted_responses_go_on_and_every_one_is_counted(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("whole", "stopped")]
    for folder in folders:
        folder.mkdir()
    path = clips(tmp_path, 30)
    whole = write_responses(path, Stops(99), folders[0], batch_size=4)
    with pytest.raises(KeyboardInterrupt):
        write_responses(path, Stops(3), folders[1], batch_size=4)

    resumed = write_responses(path, Stops(99), folders[1], batch_size=4)

    assert resumed == whole
    rows = [list(read_jsonl(folder / ROWS)) for folder in folders]
    assert rows[0] == rows[1]
    dropped = [row for row in rows[0] if row["dropped"]]
    assert whole.num_responses == len(rows[0]) == 30
    assert sum(note["count"] for note in whole.dropped) == len(dropped)
    assert whole.kept.value == pytest.approx(1 - len(dropped) / 30)
    for folder in folders:
        speed = read_speed(folder)
        assert speed is not None
        assert speed["requests"] == 30  # the interrupted batch is not counted twice
        assert speed["tokens_per_second"]["value"] > 0


def test_some_prompts_ask_for_what_is_not_stated(tmp_path: Path) -> None:
    invents = ScriptedGenerator(lambda _: "A happy female voice.")
    found = write_responses(clips(tmp_path, 60), invents, tmp_path, batch_size=16)
    reasons = {note["reason"] for note in found.dropped}
    assert {"invents the attribute", "states another value"} <= reasons
    assert 0 < found.num_asked < 60
    assert found.right is not None


def test_one_batch_has_a_speed_and_no_standard_error(tmp_path: Path) -> None:
    assert read_speed(tmp_path) is None
    write_responses(clips(tmp_path, 6), Stops(1), tmp_path, batch_size=6)
    speed = read_speed(tmp_path)
    assert speed is not None
    assert speed["requests_per_second"]["value"] > 0
    assert speed["requests_per_second"]["standard_error"] is None


@pytest.mark.parametrize(
    ("name", "model", "quantization"),
    [
        ("a/b", "a/b", None),
        ("a/b:int8", "a/b", "int8"),
        ("models/x.gguf", "models/x.gguf", None),
        ("C:model", "C:model", None),
    ],
)
def test_a_name_may_say_how_the_weights_are_stored(
    name: str, model: str, quantization: str | None
) -> None:
    found = Backbone.parse(name)
    assert (found.model, found.quantization) == (model, quantization)
    assert "/" not in found.folder


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"models": ()}, "no backbone"),
        ({"models": ("a/b", "a_b")}, "one folder"),
        ({"models": ("a", "a")}, "one folder"),
        ({"limit": 0}, "limit = 0"),
        ({"descriptions": 0}, "descriptions = 0"),
    ],
)
def test_a_recipe_that_asks_nothing_is_refused(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        ProbeRecipe(**({"models": ("a",)} | changes))
