import base64
import io
import json
import re
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import soundfile
from safetensors.numpy import save_file

from desta.errors import DataError
from desta.evaluation.benchmarks.attributes import BENCHMARK
from desta.evaluation.benchmarks.attributes.questions import AttributesData, ClipSet
from desta.evaluation.models import model_fingerprint
from desta.evaluation.recipe import EvalRecipe
from desta.evaluation.runner import evaluate
from desta.evaluation.systems import Models
from desta.model.backbone.sampling import Sampling
from desta.reasons import Count, Reasons
from desta.records import AudioRef, Clip, Message
from desta.reports.attributes import choose_clips
from desta.reports.run import write_run_report
from desta.shards import Manifest, ShardFile

LANGUAGES = ("Danish", "French", "Greek")
HOSTILE = '</td><script>alert("x")</script>'
FETCHED = {"link", "script", "img", "iframe", "object", "embed", "base"}


class Answers:
    """Right about two languages, wrong about the third, and its answers hold markup."""

    def answer(self, conversations: Sequence[Sequence[Message]], sampling: Sampling) -> list[str]:
        return [self._answer(conversation) for conversation in conversations]

    def digest(self, conversation: Sequence[Message]) -> str:
        return repr(conversation)

    def transcribe(self, refs: Sequence[AudioRef]) -> list[str]:
        raise NotImplementedError

    def _answer(self, conversation: Sequence[Message]) -> str:
        if not conversation[-1].audios:
            return "French"
        language = Path(conversation[-1].audios[0].audio).stem.split("-")[0]
        return f"{HOSTILE} {'French' if language == 'Greek' else language}"


class Page(HTMLParser):
    """What a browser would see."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self.open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if "style" not in self.open[-1:]:
            self.words.append(data)

    def players(self) -> list[str]:
        return [attrs["src"] or "" for tag, attrs in self.tags if tag == "audio"]


def write_lines(path: Path, records: list[dict]) -> None:
    path.write_text("".join(json.dumps(r) + "\n" for r in records), encoding="utf-8")


@pytest.fixture
def begun(tmp_path: Path) -> Path:
    """A run that has only just begun."""
    run, data = tmp_path / "demo-run", tmp_path / "data"
    run.mkdir()
    data.mkdir()
    Manifest(
        backbone="small-backbone",
        revision="1",
        prompt_pool="0" * 64,
        sampling={},
        recipe="0" * 64,
        shards=(ShardFile(name="audio-00000.jsonl", rows=750, sha256="0" * 64),),
        dropped=Reasons({"repeats itself": Count(count=250, example=HOSTILE)}),
    ).write(data)
    (run / "recipe.yaml").write_text(
        f"model: {{backbone: small-backbone, encoder: small-encoder}}\ndata: {{train: [{data}]}}\n",
        encoding="utf-8",
    )
    return run


@pytest.fixture
def trained(begun: Path) -> Path:
    steps = [
        {
            "step": n,
            "loss": 4 / n,
            "lr": 1e-3,
            "grad_norm": 1.0,
            "samples_per_second": 3.5,
            "tokens_per_second": 400.0,
            "seconds": 4.0 * n,
        }
        for n in range(1, 61)
    ]
    sample = {"id": "a", "prompt": "What is it?", "target": "It is a dog.", "generated": HOSTILE}
    validations = [{"step": n, "validation_loss": 5 / n, "samples": [sample]} for n in (20, 40, 60)]
    write_lines(begun / "metrics.jsonl", [*steps, *validations])
    weights = np.random.default_rng(0).normal(size=(16, 4)).astype(np.float32)
    save_file({"perception.connector.layer_weights": weights}, begun / "model.safetensors")
    (begun / "config.json").write_text(json.dumps({"target_layer_ids": [2, 3, 4, 5]}))
    (begun / "environment.json").write_text(
        json.dumps({"command": "desta train recipe.yaml", "packages": {"torch": "2.0"}})
    )
    return begun


@pytest.fixture
def evaluated(trained: Path, tmp_path: Path) -> Path:
    clips = []
    for language in LANGUAGES:
        for number in range(8):
            name = f"{language}-{number}.wav"
            tone = 0.3 * np.sin(np.arange(8000) * (0.05 + 0.01 * number))
            soundfile.write(tmp_path / name, tone, 16000)
            clips.append(
                Clip(
                    id=name,
                    source="tones",
                    audio=name,
                    duration=0.5,
                    domain="speech",
                    attributes={"Language": language},
                    split="test",
                ).to_json()
            )
    write_lines(tmp_path / "clips.jsonl", clips)
    clips = ClipSet(path=tmp_path / "clips.jsonl", root=tmp_path)
    data = AttributesData(clips=(clips,), attributes={"Language": ()})
    config = EvalRecipe(data=data, model=str(trained))
    out = trained / "eval" / "attributes"
    weights = model_fingerprint(trained)
    evaluate(BENCHMARK, config, lambda _: Models(model=Answers()), out, weights=weights)
    return trained


def test_report_shows_every_part_of_a_finished_run(evaluated: Path) -> None:
    page = Page(write_run_report(evaluated))

    assert "66.7 % ± 0.0" in page.text  # two of three languages, and no doubt about any
    assert "no audio 33.3 % · chance 33.3 %" in page.text
    assert "750 audio-text pairs, 75.0 % of 1,000 items" in page.text
    assert "repeats itself 250" in page.text
    assert "0.083 nats" in page.text  # the last validation loss, 5 / 60
    assert "desta train recipe.yaml" in page.text
    assert [tag for tag, _ in page.tags].count("svg") == 2
    assert "missing" not in {attrs.get("class") for _, attrs in page.tags}


def test_twelve_clips_can_be_played_and_some_of_them_are_wrong(evaluated: Path) -> None:
    page = Page(write_run_report(evaluated))

    players = page.players()
    assert len(players) == 12
    for source in players:
        data = base64.b64decode(source.removeprefix("data:audio/mpeg;base64,"))
        samples, rate = soundfile.read(io.BytesIO(data))
        assert rate == 16000
        assert len(samples) >= 8000
        assert np.abs(samples).max() > 0.1
    assert page.text.count("held-out · right") == page.text.count("held-out · wrong") == 6


def test_report_asks_for_nothing_outside_itself(evaluated: Path) -> None:
    path = write_run_report(evaluated)
    page = Page(path)

    assert not {tag for tag, _ in page.tags} & FETCHED
    for _, attrs in page.tags:
        for name in ("src", "href", "xlink:href"):
            assert (attrs.get(name) or "#").startswith(("#", "data:"))
    assert not re.search(r"url\((?!#)|@import", path.read_text(encoding="utf-8"))


def test_text_from_models_and_corpora_stays_text(evaluated: Path) -> None:
    page = Page(write_run_report(evaluated))

    assert page.text.count('alert("x")') >= 3  # dropped example, sample, answers: all are shown
    assert "script" not in {tag for tag, _ in page.tags}


def test_same_run_gives_the_same_bytes(evaluated: Path, tmp_path: Path) -> None:
    first = write_run_report(evaluated, tmp_path / "a.html").read_bytes()

    assert write_run_report(evaluated, tmp_path / "b.html").read_bytes() == first


def test_report_says_what_is_not_there_yet(begun: Path, trained: Path) -> None:
    page = Page(write_run_report(trained))
    assert "Not evaluated yet: run `desta eval" in page.text

    for name in ("metrics.jsonl", "model.safetensors", "environment.json"):
        (begun / name).unlink()
    page = Page(write_run_report(begun))
    assert "Not trained yet" in page.text
    assert "No weights yet" in page.text
    assert "No environment.json" in page.text


def test_report_says_when_scores_belong_to_other_weights(evaluated: Path) -> None:
    weights = np.zeros((16, 4), dtype=np.float32)
    save_file({"perception.connector.layer_weights": weights}, evaluated / "model.safetensors")

    assert "These scores are of other weights" in Page(write_run_report(evaluated)).text


def test_clip_that_is_gone_is_said_in_its_place(evaluated: Path, tmp_path: Path) -> None:
    for path in tmp_path.glob("Greek-*.wav"):
        path.unlink()

    page = Page(write_run_report(evaluated))

    assert len(page.players()) == 6
    assert page.text.count("Cannot be played") == 6


def test_folder_that_is_no_run_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no recipe\.yaml"):
        write_run_report(tmp_path)


def test_chosen_clips_spread_over_groups_and_targets() -> None:
    results = [
        {"id": f"{g}{t}{n}", "system": "model", "groups": {"task": "T", "group": g}, "target": t}
        for g in "AB"
        for t in "xyz"
        for n in range(10)
    ]
    named = {r["id"]: "x" for r in results}

    chosen = choose_clips(results, named, count=8)

    cells = {(r["groups"]["group"], r["target"]) for r in chosen}
    assert cells == {(g, t) for g in "AB" for t in "xyz"}
    assert len({r["id"] for r in chosen}) == 8
