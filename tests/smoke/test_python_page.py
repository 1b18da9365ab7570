"""The Python of README.md and docs/python.md does what is said there, on the tiny model."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def place(published_tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(published_tiny, tmp_path / "demo/run")
    shutil.copy(published_tiny / "a.wav", tmp_path / "clip.wav")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_blocks(page: str) -> dict[str, Any]:
    text = (ROOT / page).read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    blocks = re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert blocks
    for block in blocks:
        exec(compile(block, page, "exec"), names)
    return names


@pytest.mark.usefixtures("place")
def test_the_example_of_the_readme_answers_with_a_published_checkpoint(
    capsys: pytest.CaptureFixture[str],
) -> None:
    run_blocks("README.md")
    assert capsys.readouterr().out.strip()


@pytest.mark.usefixtures("place")
def test_every_block_of_the_page_does_what_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    names = run_blocks("docs/python.md")
    printed = capsys.readouterr().out

    assert names["both"].text == names["output"].text * 2
    first, drawn, told, failed = names["replies"]
    assert len(first.answers) == 1
    assert len(drawn.answers) == 2
    assert all(len(alternatives) == 3 for _, alternatives in told.answers[0].logprobs)
    assert "nowhere.wav does not exist" in str(failed.error)
    assert [message.role for message in names["talk"].messages[1:]] == ["user", "assistant"] * 2
    assert "a message has 0 <|AUDIO|> but 1 audio clips ->" in printed
