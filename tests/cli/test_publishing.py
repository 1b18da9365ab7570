"""`desta inspect` and `desta export`: what they print, write and refuse."""

import errno
import json
import os
import shutil
import sys
from pathlib import Path

import datasets
import pytest

from desta.cli import main
from desta.construction.prompts import load_pool
from desta.records import AudioTextPair
from desta.shards import Manifest, ShardWriter

ROW = {
    "id": "crema-d/1.wav",
    "dataset": "CREMA-D",
    "seed_description": "[00:00-00:02] It's eleven o'clock (Emotion: Anger, Duration: 2s)",
    "prompt": "What?",
    "response": "Somebody says the time.",
    "messages": [
        {
            "role": "user",
            "content": "<start_audio><|AUDIO|><end_audio>\n\nWhat?",
            "audios": [{"audio": "1.wav", "text": "It's eleven o'clock"}],
        }
    ],
}


@pytest.fixture
def published(tmp_path: Path) -> Path:
    directory = tmp_path / "published"
    directory.mkdir()
    rows = [ROW, ROW | {"id": "2", "messages": []}]
    (directory / "speech.0.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    return directory


@pytest.fixture
def constructed(tmp_path: Path) -> Path:
    directory = tmp_path / "constructed"
    directory.mkdir()
    writer = ShardWriter(directory, rows_per_shard=9)
    writer.add(AudioTextPair.from_json(ROW))
    Manifest(
        backbone="b",
        revision="r",
        prompt_pool="p",
        sampling={},
        recipe="x",
        shards=writer.close(),
        counts={
            "CREMA-D": {"ask": {"kept": 1, "dropped": 2}, "describe": {"kept": 0, "dropped": 1}}
        },
        faithfulness={"ask": {"Emotion": {"asked": 3, "right": 2, "kept": 1, "kept_right": 1}}},
    ).write(directory)
    return directory


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    """Give a command in this process; return its exit code."""
    monkeypatch.setattr(sys, "argv", ["desta", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        main()
    return int(end.value.code or 0)


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> None:
    text = capsys.readouterr().err
    last = text[text.rindex("error: ") :]
    assert len(last.strip().splitlines()) == 2, last
    assert "\n  fix: " in last
    for word in words:
        assert word in last, last


def test_inspect_tells_what_is_there_as_text_and_json(
    published: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "inspect", published) == 0
    text = capsys.readouterr().out
    assert "2 rows, 1 of use" in text
    assert "no manifest to verify them by" in text
    assert "has no messages" in text

    assert run(monkeypatch, "inspect", published, "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["counts"] == {"CREMA-D": {"other": 1}}
    assert [row["reason"] for row in facts["odd"]] == ["has a recording that is not there"]


def test_inspect_breaks_no_word_in_80_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kinds = ("ask", "converse", "describe", "format", "reason", "role-play", "transform")
    prompts = [next(p.text for p in load_pool("speech") if p.kind == kind) for kind in kinds]
    rows = [ROW | {"dataset": "Speech Accent Archive", "prompt": text} for text in prompts]
    (tmp_path / "speech.0.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    monkeypatch.setenv("COLUMNS", "80")

    assert run(monkeypatch, "inspect", tmp_path) == 0

    words = capsys.readouterr().out.replace(",", " ").split()
    assert set(kinds) <= set(words)


def test_inspect_writes_card_and_page(
    constructed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "sub" / "page.html"
    assert run(monkeypatch, "inspect", constructed, "--card", "--html", page) == 0
    assert "ODbL-1.0" in (constructed / "README.md").read_text()
    assert "Cannot be played" in page.read_text()


def test_inspect_refuses_what_is_broken(
    constructed: Path,
    published: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shard = constructed / "audio-00000.jsonl"
    shard.write_bytes(shard.read_bytes().replace(b"time", b"hour"))
    cases = {
        constructed: ("was changed", "SHA-256"),
        tmp_path / "nowhere": ("is not a directory",),
        published: ("speech.0.jsonl:3 is not JSON",),
    }
    with (published / "speech.0.jsonl").open("a") as file:
        file.write('{"id": \n')
    for directory, words in cases.items():
        assert run(monkeypatch, "inspect", directory) == 2
        refused(capsys, *words)


def test_export_writes_parquet_with_its_card(
    published: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    assert run(monkeypatch, "export", published, "--parquet", out, "--json") == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["files"], summary["rows"]) == (1, 1)
    assert [row["reason"] for row in summary["left_out"]] == ["has no messages"]
    assert "data/train-*.parquet" in (out / "README.md").read_text()
    shutil.rmtree(published)
    # The card's `configs` lead to the rows, as they do on the Hub.
    [read] = datasets.load_dataset(str(out), split="train", cache_dir=str(tmp_path / "cache"))
    assert AudioTextPair.from_json(read) == AudioTextPair.from_json(ROW)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ("there is no target", "--parquet")),
        (["--audio", "--hub", "me/data"], ("--audio",)),
        (["--hub", "data"], ('"data" names no owner', "OWNER/NAME")),
        (["--hub", "a/b/c"], ("OWNER/NAME",)),
        (["--hub", "me/data"], ("HF_HUB_OFFLINE",)),
    ],
)
def test_export_refuses_what_cannot_be_done(
    constructed: Path,
    arguments: list[str],
    words: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(monkeypatch, "export", constructed, *arguments) == 2
    refused(capsys, *words)


def test_export_to_the_hub_wants_a_token(
    constructed: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "none"))
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    assert run(monkeypatch, "export", constructed, "--hub", "me/data") == 2
    refused(capsys, "token", "hf auth login")
    assert not (constructed / "README.md").exists()


def test_inspect_says_what_was_kept_and_what_of_it_is_right(
    constructed: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "inspect", constructed) == 0
    said = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["CREMA-D", "1", "of", "4", "(25%)"] in said
    assert ["ask", "1", "of", "3", "(33%)"] in said
    assert ["describe", "0", "of", "1", "(0%)"] in said
    assert ["ask", "Emotion", "2", "of", "3", "(67%)", "1", "of", "1", "(100%)"] in said

    assert run(monkeypatch, "inspect", constructed, "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["judged"]["CREMA-D"]["ask"] == {"kept": 1, "dropped": 2}
    assert facts["faithfulness"]["ask"]["Emotion"]["kept_right"] == 1


def test_a_full_disk_leaves_the_page_that_was_there(
    published: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    page = tmp_path / "page.html"
    page.write_text("before")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    assert run(monkeypatch, "inspect", published, "--html", page) == 2
    refused(capsys, "No space left", "make room")
    assert page.read_text() == "before"


def test_a_data_set_that_is_not_there_leaves_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "export", tmp_path / "gone", "--parquet", tmp_path / "out") == 2
    refused(capsys, "is not a directory")
    assert not (tmp_path / "out").exists()
