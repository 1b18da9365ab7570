"""VoiceBench as it is published: its questions, and results files of others."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from desta.config import suggest
from desta.errors import ConfigError, DataError
from desta.evaluation.base import Item, ReadOptions, Result, form_messages
from desta.evaluation.baselines import tell
from desta.evaluation.benchmarks.voicebench.parse import CHOICES, REFERENCES, bbh_task
from desta.evaluation.benchmarks.voicebench.score import SUBSETS, find_subset, score
from desta.evaluation.hub import HUB, fetch
from desta.evaluation.published_files import (
    answered,
    field_of,
    read_each,
    read_json_rows,
    text_of,
    why_no_text,
)
from desta.evaluation.recipe import BenchmarkFiles
from desta.records import LOCATOR
from desta.sources.hub import column_names, read_parquet_rows

REPOSITORY = "hlt-lab/voicebench"
REVISION = "0aa5b0289e1b9a1a0448cc01ae7a88bbe9560aef"
"""Of the data set, in 2025."""
SYSTEM = "You are a voice assistant. Act as if you are a natural language partner"
"""As DeSTA2.5-Audio was asked; the benchmark leaves it to the model."""


def load(files: BenchmarkFiles) -> list[Item]:
    """Read the questions."""
    chosen = files.chosen(list(SUBSETS))
    return _load_splits(files, {s: SUBSETS[s].splits for s in chosen})


def load_optional(files: BenchmarkFiles, asked: Sequence[Item]) -> list[Item]:
    """Read the questions of the splits that are in no column, where they were answered."""
    splits = {item.groups.get("split"): item.groups["subset"] for item in asked}
    others = {
        subset: [split for split in found.others if splits.get(split) == subset]
        for subset, found in SUBSETS.items()
    }
    return _load_splits(files, {subset: these for subset, these in others.items() if these})


def _load_splits(files: BenchmarkFiles, splits: Mapping[str, Sequence[str]]) -> list[Item]:
    if files.path == HUB:
        roots = {subset: fetch(REPOSITORY, REVISION, [f"{subset}/*.parquet"]) for subset in splits}
    else:
        root = files.place([f"{subset}/*.parquet" for subset in splits], REVISION)
        roots = dict.fromkeys(splits, root)
    return [
        item
        for subset, these in splits.items()
        for item in load_items(roots[subset], subset, these)
    ]


def load_items(root: Path, subset: str, splits: Sequence[str] | None = None) -> list[Item]:
    """Read the questions of a subset; the sounds of its parquet files are kept beside them.

    Args:
        root: the data set as it comes from the Hub, `<subset>/<split>-*.parquet`.
        subset: which part.
        splits: of them; by default those of the leaderboard's column.

    Raises:
        ConfigError: there is no such subset.
        DataError: a file is missing or broken.
    """
    items: list[Item] = []
    for split in splits or find_subset(subset).splits:
        shards = sorted((root / subset).glob(f"{split}-*.parquet"))
        if not shards:
            raise DataError(
                f"{root / subset} holds no {split}-*.parquet",
                fix=f"run `hf download {REPOSITORY} --repo-type dataset --include '{subset}/*' "
                f"--revision {REVISION} --local-dir {root}`",
            )
        number = 0  # a file of answers is to one split, and has no ids
        for shard in shards:
            columns = sorted(column_names(shard, to="read VoiceBench") - {"audio"})
            for row in read_parquet_rows(shard, root, columns, audio="audio", to="read VoiceBench"):
                clip = root / row.audio
                items.append(_item(subset, split, number, row.values, [clip], str(shard)))
                number += 1
    return items


def read_published(paths: Sequence[Path], options: ReadOptions) -> list[Result]:
    """Read results files, each of one subset: JSONL with `prompt`, `response` and `score`.

    Raises:
        ConfigError: there is no such subset, or a file does not tell which one it answers.
        DataError: a file is missing or broken, or answers another subset.
    """
    subset = options.subset
    if subset is not None and subset not in SUBSETS:
        raise ConfigError(f'unknown subset "{subset}"', fix=suggest(subset, list(SUBSETS)))
    return read_each(paths, lambda path: _read_file(path, subset or subset_of(path)), _names)


def _names(result: Result, row: int) -> list[tuple[object, bool]]:
    """Return what the item is beside its id, which holds the split: not every file tells it."""
    groups = result.item.groups
    subset = SUBSETS[groups["subset"]]
    known = groups.get("split", "test") in ("test", *subset.splits, *subset.others)
    return [((groups["subset"], result.item.question, row), known)]


def _read_file(path: Path, subset: str) -> list[Result]:
    split = _split_of(path, subset)
    rows = enumerate(read_json_rows(path))
    return [_read_answer(subset, split, number, record, path) for number, record in rows]


def _read_answer(
    subset: str, split: str, number: int, record: Mapping[str, Any], path: Path
) -> Result:
    item = _item(subset, split, number, record, [], str(path))
    verdict = record.get("pedant")
    if verdict not in (None, False, True):  # files write it as true, or as 1
        raise DataError(
            f"{path}: {item.id}: pedant is {verdict!r}, not true or false", fix="mend that row"
        )
    output = text_of(record, "response")
    replies = record.get("score", ())
    replies = replies if isinstance(replies, list) else ()
    if find_subset(subset).kind == "qa":  # votes are words
        replies = [reply for reply in replies if isinstance(reply, str)]
    replies = tuple(map(str, replies))
    instead = why_no_text(record, "response")
    return answered(item, output, score, replies=replies, instead=instead)


def subset_of(path: Path) -> str:
    """Return the subset of a published name, `<model>-<subset>-<split>-<modality>.jsonl`.

    Raises:
        ConfigError: the name holds none, or several.
    """
    name = f"-{path.name}"
    found = [s for s in SUBSETS if f"-{s}-" in name]
    if len(found) != 1:
        raise ConfigError(
            f"{path.name} does not tell which subset it answers",
            fix=f"name the subset: one of {', '.join(SUBSETS)}",
        )
    return found[0]


def _split_of(path: Path, subset: str) -> str:
    """Return the split that a published name holds; else the name, for want of a better."""
    after = re.split("[-.]", f"-{path.name}".split(f"-{subset}-")[-1])
    known = find_subset(subset)
    return after[0] if after[0] in ("test", *known.splits, *known.others) else path.name


def _item(
    subset: str,
    split: str,
    number: int,
    record: Mapping[str, Any],
    clips: Sequence[Path],
    where: str,
) -> Item:
    where = f"{where}: row {number}"
    kind = find_subset(subset).kind
    prompt = field_of(record, "prompt", str, where)
    target = field_of(record, "reference", str, where) if kind in ("qa", "mcq", "bbh") else ""
    groups = {"subset": subset} | ({} if split == "test" else {"split": split})
    if kind == "bbh":
        groups["task"] = bbh_task(field_of(record, "id", str, where))
        if target.lower() not in REFERENCES:
            raise DataError(
                f"{where} has the reference {target!r}, which is none of yes, no, (a), (b)",
                fix="give answers to the subset bbh",
            )
    item = Item(
        id=f"{subset}/{split}/{number}",
        messages=form_messages(SYSTEM, LOCATOR, clips),
        question=prompt,
        target=target,
        choices=CHOICES if kind == "mcq" else ("yes", "no") if kind == "bbh" else (),
        groups=groups,
        record={key: value for key, value in record.items() if key not in ("response", "score")},
        transcription=prompt,
    )
    return replace(item, described=tell(item, prompt))
