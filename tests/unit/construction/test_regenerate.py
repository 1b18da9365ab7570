"""A data set whose prompts another backbone answers."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from desta.construction.config import NEED_METADATA, ConstructConfig
from desta.construction.filters import FILTERS
from desta.construction.pipeline import construct
from desta.errors import ConfigError
from desta.generators.scripted import ScriptedGenerator
from desta.model.backbone.sampling import Sampling
from desta.records import read_jsonl
from support.construction import read_pairs

SYSTEM = {"role": "system", "content": "Focus on the audio clips."}


def row(number: int, **changes: Any) -> dict[str, Any]:
    question = {
        "role": "user",
        "content": "<start_audio><|AUDIO|><end_audio>\n\nWhat?",
        "audios": [{"audio": f"{number}.wav", "text": "Hi"}],
    }
    return {
        "id": f"d/{number}.wav",
        "dataset": f"corpus{number % 2}",
        "seed_description": f"[00:00-00:02] Hi {number} (Duration: 2s)",
        "prompt": "What?",
        "response": "An old answer.",
        "messages": [SYSTEM, question],
    } | changes


def published(directory: Path, rows: list[dict[str, Any]]) -> Path:
    directory.mkdir()
    half = len(rows) // 2
    for name, part in (("audio.0.jsonl", rows[:half]), ("speech.0.jsonl", rows[half:])):
        text = "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in part)
        (directory / name).write_text(text, encoding="utf-8")
    return directory


def config(directory: Path, **changes: Any) -> ConstructConfig:
    return replace(
        ConstructConfig(
            backbone="scripted",
            sampling=Sampling(max_new_tokens=40),
            regenerate=directory,
            batch_size=4,
            shard_rows=7,
        ),
        **changes,
    )


class Counting(ScriptedGenerator):
    """Keeps what it was asked, and may die."""

    def __init__(self, script: Callable[[str], str], *, dies_after: int | None = None) -> None:
        super().__init__(script)
        self.asked: list[Any] = []
        self._left = dies_after

    def complete(self, conversations: Any, *rest: Any, **options: Any) -> Any:
        if self._left is not None:
            if self._left == 0:
                raise KeyboardInterrupt
            self._left -= 1
        self.asked += conversations
        return super().complete(conversations, *rest, **options)


def answer(question: str) -> str:
    return f"It was asked: {question}"


def test_only_the_response_changes_and_it_answers_the_description(tmp_path: Path) -> None:
    rows = [row(n) for n in range(20)]
    generator = Counting(answer)

    manifest = construct(
        config(published(tmp_path / "d", rows), filters=("empty",)), tmp_path / "out", generator
    )

    pairs = [pair.to_json() for pair in read_pairs(tmp_path / "out")]
    expected = [
        r
        | {
            "response": answer(
                f"<start_audio>[00:00-00:02] Hi {n} (Duration: 2s)<end_audio>\n\nWhat?"
            )
        }
        for n, r in enumerate(rows)
    ]
    assert pairs == expected
    assert all(c[0].content == SYSTEM["content"] for c in generator.asked)
    assert manifest.counts["corpus0"] == {"other": {"kept": 10, "dropped": 0}}


def test_rows_that_cannot_be_asked_and_bad_responses_are_counted(tmp_path: Path) -> None:
    two = row(2)["messages"][1] | {"content": "<|AUDIO|><|AUDIO|>"}
    two["audios"] = [{"audio": "a.wav", "text": " "}] * 2
    rows = [
        *(row(n) for n in range(12)),
        row(20, messages=[]),
        row(21, seed_description=""),
        row(22, messages=[two]),
        row(23, messages=[*row(23)["messages"], {"role": "assistant", "content": "Hm."}]),
        row(24, response=None),  # which is why one regenerates
    ]
    manifest = construct(
        config(published(tmp_path / "d", rows)),
        tmp_path / "out",
        Counting(lambda question: "" if "Hi 3 " in question else "Somebody says hi."),
    )
    assert manifest.num_kept == 12
    assert {reason: d.example for reason, d in manifest.dropped.items()} == {
        "empty": "d/3.wav",
        "its row has no messages": "d/20.wav",
        "its row has no seed_description": "d/21.wav",
        "its row has several clips and not one line of description for each": "d/22.wav",
        "its row does not end with a question": "d/23.wav",
    }
    [dropped] = [json.loads(line) for line in (tmp_path / "out" / "dropped.ndjson").open()]
    assert dropped["id"] == "d/3.wav"


def test_several_clips_are_read_as_a_line_of_description_each(tmp_path: Path) -> None:
    block = "<start_audio><|AUDIO|><end_audio>"
    two = {"role": "user", "content": f"{block}\n{block}\n\nCompare them."}
    two["audios"] = [{"audio": "a.wav", "text": "Hi"}, {"audio": "b.wav", "text": " "}]  # type: ignore[assignment]
    pair = row(1, messages=[two], seed_description="[00:00-00:02] Hi\n[00:00-00:03] (Dog)")
    read: list[str] = []

    def script(question: str) -> str:
        read.append(question)
        return "The first speaks."

    construct(config(published(tmp_path / "d", [pair])), tmp_path / "out", Counting(script))

    assert read == [
        "<start_audio>[00:00-00:02] Hi<end_audio>\n<start_audio>[00:00-00:03] (Dog)<end_audio>"
        "\n\nCompare them."
    ]
    [anew] = read_pairs(tmp_path / "out")
    assert anew.response == "The first speaks."
    assert anew.seed_description == pair["seed_description"]
    assert [clip.text for clip in anew.messages[0].audios] == ["Hi", " "]


def test_an_interrupted_run_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    recipe = config(published(tmp_path / "d", [row(n) for n in range(30)]), filters=("empty",))
    construct(recipe, tmp_path / "whole", Counting(answer))
    with pytest.raises(KeyboardInterrupt):
        construct(recipe, tmp_path / "out", Counting(answer, dies_after=3))
    last = Counting(answer)

    construct(recipe, tmp_path / "out", last)

    assert len(last.asked) == 30 - 3 * 4
    for path in (*(tmp_path / "whole").glob("*.jsonl"), tmp_path / "whole" / "manifest.json"):
        assert path.read_bytes() == (tmp_path / "out" / path.name).read_bytes()
    assert sum(len(list(read_jsonl(p))) for p in (tmp_path / "out").glob("*.jsonl")) == 30


def test_changed_rows_are_asked_again_and_no_others(tmp_path: Path) -> None:
    rows = [row(n) for n in range(8)]
    recipe = config(published(tmp_path / "d", rows), filters=("empty",))
    construct(recipe, tmp_path / "out", Counting(answer))
    rows[5]["seed_description"] = "[00:00-00:02] Bye (Duration: 2s)"
    again = Counting(answer)
    published(tmp_path / "e", rows)
    construct(replace(recipe, regenerate=tmp_path / "e"), tmp_path / "out", again)
    assert len(again.asked) == 1


def test_what_regeneration_cannot_do_is_refused(tmp_path: Path) -> None:
    directory = published(tmp_path / "d", [row(0), row(1)])
    assert FILTERS.keys() >= NEED_METADATA
    for name in NEED_METADATA:
        with pytest.raises(ConfigError, match="needs the metadata of clips"):
            config(directory, filters=("empty", name))
    with pytest.raises(ConfigError, match="unknown_share is set"):
        config(directory, unknown_share=0.1)
    with pytest.raises(ConfigError, match="in place"):
        construct(config(directory), directory, Counting(answer))
    assert not (directory / "responses.sqlite").exists()
