"""Other measurements on the tiny model, and the README that tells of them."""

import gzip
import json
import math
import shutil
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import soundfile

import data_scale
import method_figure
import readme
import windows
from desta.errors import DataError
from measure.blocks import replace_block

ROOT = Path(__file__).parents[2]
FACTS = {"command": "python x.py", "commit": "0123456789abcdef", "modified": False}


def test_the_measurement_of_scale_leaves_nothing_and_removes_nothing_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine.jsonl").write_text("mine")
    command = f"data_scale.py --rows 60 --out {tmp_path}"
    monkeypatch.setattr(sys, "argv", command.split())

    data_scale.main()

    assert [p.name for p in tmp_path.rglob("*")] == ["data", "mine.jsonl"]
    assert "| resume |" in capsys.readouterr().out


def test_tight_windows_are_held_against_padded_ones(
    tiny_whisper: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    sounds = tmp_path / "usr/share/asterisk/sounds/en_US_f_Allison"
    texts = tmp_path / "usr/share/doc/asterisk-core-sounds-en/core-sounds-en.txt.gz"
    sounds.mkdir(parents=True)
    texts.parent.mkdir(parents=True)
    with gzip.open(texts, "wt", encoding="utf-8") as file:
        file.write("a: please hold the line\nb: try it again later\n")
    for name in "ab":
        noise = 0.1 * np.random.default_rng(0).standard_normal(8000)
        soundfile.write(sounds / f"{name}.wav", noise, 16_000)
    scores = tmp_path / "scores.json"
    estimate = {"value": 0.875, "standard_error": 0.02}
    cell = {"system": "model", "task": "Language", "group": "held-out"}
    scores.write_text(json.dumps({"scores": [cell | {"balanced_accuracy": estimate}]}))
    page = tmp_path / "windows.md"
    shutil.copy(ROOT / "docs/lab/windows.md", page)

    command = f"windows.py --corpus {tmp_path} --whisper {tiny_whisper} --scores {scores} {scores}"
    monkeypatch.setattr(sys, "argv", f"{command} --page {page}".split())
    assert windows.main() == 0

    assert "| padded to 30 s | 100.00% ± 0.00% | - |" in page.read_text()  # it says nothing
    assert (
        "| true length and 0.5 s of silence | 100.00% ± 0.00% | +0.00% ± 0.00% |"
        in page.read_text()
    )
    assert "| Language, held-out | 87.5% ± 2.0% | 87.5% ± 2.0% |" in capsys.readouterr().out


def test_the_error_of_a_difference_is_that_of_the_same_clips() -> None:
    generator = np.random.default_rng(1)
    num_words = generator.integers(3, 20, size=400)
    padded = generator.integers(0, 3, size=400)
    row = windows.rate("tight", padded, padded, num_words)
    assert row.difference == row.difference_error == 0
    worse = windows.rate("tight", padded + 1, padded, num_words)
    assert worse.difference == pytest.approx(400 / num_words.sum())
    # The clips' own errors differ far more from draw to draw than what is added to each.
    assert worse.difference_error < worse.standard_error
    expected = (padded - row.rate * num_words).std() * math.sqrt(400) / num_words.sum()
    assert row.standard_error == pytest.approx(expected, rel=0.1)


@pytest.fixture
def demo(tmp_path: Path) -> Path:
    """What `make demo` leaves behind, as far as the README tells of it."""
    folder = tmp_path / "demo"
    shard = {"shards": [{"rows": 30}], "dropped": {"empty": {"count": 10}}}
    estimate = {"value": 0.87, "standard_error": 0.024}
    line = {"task": "Language", "group": "held-out", "num_examples": 190}
    cells = [
        line | {"system": "chance", "balanced_accuracy": {"value": 0.1, "standard_error": 0.0}},
        line | {"system": "model", "balanced_accuracy": estimate},
        line | {"system": "no_audio"},
    ]
    files = {
        "demo.json": [
            {"command": "desta train x", "seconds": 61.0, "peak_gib": 5.5},
            {"command": "desta eval text", "seconds": 5.0, "peak_gib": 1.0},
        ],
        "run/environment.json": FACTS | {"cpus": 2, "machine": "x86_64"},
        "data/train/manifest.json": shard,
        "data/validation/manifest.json": shard,
        "run/eval/attributes/scores.json": {"scores": cells},
        "run/eval/text/scores.json": {"equal": 10, "total": 10},
    }
    for name, value in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps(value))
    return folder


def test_the_readme_tells_what_the_demo_measured(
    demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(ROOT / "README.md", tmp_path)
    before = (tmp_path / "README.md").read_text()
    command = f"readme.py --demo {demo} --root {tmp_path}"
    monkeypatch.setattr(sys, "argv", command.split())

    assert readme.main() == 0

    after = (tmp_path / "README.md").read_text()
    assert "`make demo`, commit 0123456, 2 processors (x86_64): 1 min 6 s after setting up" in after
    assert "training 61 s, evaluation 5 s; largest process 5.50 GiB" in after
    assert "Kept 60 of 80 responses (75%)" in after
    assert "| Language, held-out | 87.0% ± 2.4% | - | 10.0% ± 0.0% | 190 |" in after
    marks = [line for line in before.splitlines() if line.startswith("<!--")]
    assert [line for line in after.splitlines() if line.startswith("<!--")] == marks
    outside = before.partition("<!-- demo")[0], before.partition("<!-- end of demo")[2]
    assert after.startswith(outside[0])
    assert after.endswith(outside[1])


def test_a_page_without_the_block_is_left_alone(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# By hand\n")
    with pytest.raises(DataError, match="0 blocks 'speed'"):
        replace_block(page, "speed", "1.0")
    assert page.read_text() == "# By hand\n"


def test_the_figure_of_the_method_is_the_one_that_is_drawn() -> None:
    drawn = method_figure.draw()

    assert (ROOT / "docs/assets/method.svg").read_text(encoding="utf-8") == drawn
    assert ElementTree.fromstring(drawn).tag.endswith("svg")
    assert {name for start, end, _ in method_figure.ARROWS for name in (start, end)} == set(
        method_figure.BOXES
    )
