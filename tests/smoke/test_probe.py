"""`desta probe` on a tiny random backbone, as it is and with its weights in 8 bits."""

import json
from pathlib import Path

import pytest

from desta.errors import CheckpointError, ConfigError, DataError
from desta.generators import lazy
from desta.reports.probe import rank_sentences
from support.commands import desta

FEW = ("--limit", 8, "--descriptions", 5)


def test_two_backbones_are_ranked_and_the_second_call_loads_none(
    published_tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = published_tiny / "backbone"
    out, page = tmp_path / "out", tmp_path / "page.html"
    words = ("probe", model, f"{model}:int8", "--out", out, *FEW, "--json", "--report", page)

    done = desta(*words)

    assert done.exit_code == 0, done.exception
    found = json.loads(done.stdout)
    assert {row["model"] for row in found["models"]} == {str(model), f"{model}:int8"}
    for row in found["models"]:
        assert row["accuracy"]["num_items"] == 8
        assert row["responses"]["num_responses"] == 5
        assert row["speed"]["requests"] == 5
    assert len({row["revision"] for row in found["models"]}) == 2
    html = page.read_text()
    assert rank_sentences(found)[0].split(":")[0] in html.replace("&#x27;", "'")
    assert str(model) in html

    def load(config: object) -> None:
        raise AssertionError("a backbone is loaded")

    monkeypatch.setattr(lazy, "load_generator", load)
    again = desta(*words)
    assert again.exit_code == 0, again.exception
    assert json.loads(again.stdout)["models"] == found["models"]
    assert "640 items" not in desta(*words[:-3]).stdout  # eight were asked


@pytest.mark.parametrize(
    ("words", "kind", "told"),
    [
        (["no/such/model"], CheckpointError, "no/such/model"),
        (["MODEL", "MODEL"], ConfigError, "one folder"),
        (["MODEL", "--questions", "EMPTY"], DataError, "is empty"),
        (["MODEL", "--questions", "nowhere.jsonl"], DataError, "nowhere.jsonl is not a file"),
        (["MODEL", "--limit", "0"], ConfigError, "limit = 0"),
        (["MODEL", "--set", "engin.kind=vllm"], ConfigError, 'unknown key "engin"'),
    ],
)
def test_what_cannot_be_probed_is_told_before_a_model_is_loaded(
    words: list[str], kind: type[Exception], told: str, published_tiny: Path, tmp_path: Path
) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.touch()
    places = {"MODEL": str(published_tiny / "backbone"), "EMPTY": str(empty)}
    out = tmp_path / "out"
    done = desta("probe", *(places.get(word, word) for word in words), "--out", out)
    assert isinstance(done.exception, kind), done.exception
    assert told in str(done.exception)
    assert not out.exists()
