"""Rows in the published schema, and data sets of them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from desta.reasons import Count, Reasons
from desta.records import AudioTextPair
from desta.shards import Manifest, ShardWriter

BLOCK = "<start_audio><|AUDIO|><end_audio>"


def row(**changes: Any) -> dict[str, Any]:
    """Return a row in the published schema."""
    question = {
        "role": "user",
        "content": f"{BLOCK}\n\nWhat?",
        "audios": [{"audio": "a.wav", "text": "Excuse me?"}],
    }
    return {
        "id": "iemocap/a.wav",
        "dataset": "IEMOCAP",
        "seed_description": "[00:00-00:02] Excuse me? (Emotion: Neutral, Duration: 2s)",
        "prompt": "What?",
        "response": "Someone asks to be excused.",
        "messages": [{"role": "system", "content": "Focus on <start_audio>."}, question],
    } | changes


def asked(**changes: Any) -> dict[str, Any]:
    """Return a row whose only message is changed."""
    return row(messages=[row()["messages"][1] | changes])


def heard(*clips: Any) -> dict[str, Any]:
    return asked(audios=list(clips))


def published(directory: Path, *shards: list[Mapping[str, Any]]) -> Path:
    """Write shards without a manifest, under published names."""
    directory.mkdir(exist_ok=True)
    for number, rows in enumerate(shards):
        text = "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows)
        (directory / f"speech.{number}.jsonl").write_text(text, encoding="utf-8")
    return directory


def constructed(directory: Path) -> Path:
    directory.mkdir()
    shards = ShardWriter(directory, rows_per_shard=10)
    shards.add(AudioTextPair.from_json(row()))
    Manifest(
        backbone="org/Backbone_1",
        revision="abc",
        prompt_pool="p" * 64,
        sampling={"temperature": 0.05, "top_p": 1.0},
        recipe="r" * 64,
        shards=shards.close(),
        dropped=Reasons({"empty": Count(count=3, example="clip | 7")}),
        counts={"IEMOCAP": {"ask": {"kept": 1, "dropped": 3}}},
        faithfulness={"ask": {"Gender": {"asked": 4, "right": 2, "kept": 1, "kept_right": 1}}},
    ).write(directory)
    return directory
