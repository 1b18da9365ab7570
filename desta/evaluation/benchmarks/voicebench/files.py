"""VoiceBench as it is published: its questions, and results files of others."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from desta.errors import ConfigError, DataError
from desta.evaluation.answered import Answered, why_no_text
from desta.evaluation.baselines import tell
from desta.evaluation.benchmarks.voicebench.ifeval import ifeval_column
from desta.evaluation.benchmarks.voicebench.parse import CHOICES, REFERENCES, bbh_task
from desta.evaluation.benchmarks.voicebench.score import SUBSETS, aggregate, find_subset, score_item
from desta.evaluation.items import (
    Item,
    Report,
    Score,
    ask,
    fetch,
    field_of,
    read_published_rows,
    text_of,
)
from desta.records import LOCATOR
from desta.sources.base import Skipped
from desta.sources.hub import column_names, read_parquet_rows

REPOSITORY = "hlt-lab/voicebench"
REVISION = "0aa5b0289e1b9a1a0448cc01ae7a88bbe9560aef"
"""Of the data set, in 2025."""
SYSTEM = "You are a voice assistant. Act as if you are a natural language partner"
"""As DeSTA2.5-Audio was asked; the benchmark leaves it to the model."""


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
                if isinstance(row, Skipped):
                    raise DataError(f"{shard}: row {row.id} holds no sound", fix="fetch it again")
                clip = root / row.audio
                items.append(_item(subset, split, number, row.values, [clip], str(shard)))
                number += 1
    return items


def fetch_subset(subset: str) -> Path:
    """Return the folder of the data set, with one subset of it, at the pinned revision."""
    find_subset(subset)
    return fetch(REPOSITORY, REVISION, [f"{subset}/*.parquet"])


def read_answered(path: Path, subset: str, seed: int = 0) -> list[Answered]:
    """Read a results file in the published form, JSONL with `prompt`, `response` and `score`.

    Responses to IFEval have no score of one item.

    Args:
        path: the file.
        subset: which part it answers (`subset_of` tells it from a published name).
        seed: of what is drawn at random.

    Raises:
        DataError: the file is missing or broken, or answers another subset.
    """
    answered = []
    split = _split_of(path, subset)
    for number, record in enumerate(read_published_rows(path)):
        item = _item(subset, split, number, record, [], str(path))
        output = text_of(record, "response")
        replies = _replies(record)
        if find_subset(subset).kind == "ifeval":
            score = Score(id=item.id, groups=item.groups, extracted=None, values={})
        else:
            score = score_item(item, output, replies, _pedant(record, f"{path}: {item.id}"), seed)
        answered.append(
            Answered(
                item=item,
                output=output,
                replies=tuple(map(str, replies)),
                score=score,
                skipped=why_no_text(record, "response"),
            )
        )
    return answered


def score_files(paths: Mapping[Path, str], seed: int = 0) -> Report:
    """Score results files in the published form; see `read_answered`.

    Args:
        paths: each with the subset that it answers.
        seed: of what is drawn at random.
    """
    answered = [a for path, subset in paths.items() for a in read_answered(path, subset, seed)]
    column = [a for a in answered if a.item.groups["subset"] == "ifeval"]
    scores = [a.score for a in answered if a.item.groups["subset"] != "ifeval"]
    ifeval = ifeval_column([a.item for a in column], [a.output for a in column]) if column else None
    return aggregate(scores, ifeval, f"{len(answered)} responses")


def subset_of(path: Path) -> str:
    """Tell the subset from a published name, `<model>-<subset>-<split>-<modality>.jsonl`.

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
        messages=ask(SYSTEM, LOCATOR, clips),
        question=prompt,
        target=target,
        choices=CHOICES if kind == "mcq" else ("yes", "no") if kind == "bbh" else (),
        groups=groups,
        record={key: value for key, value in record.items() if key not in ("response", "score")},
        transcription=prompt,
    )
    return replace(item, described=tell(item, prompt))


def _replies(record: Mapping[str, Any]) -> Sequence[Any]:
    replies = record.get("score", ())
    return replies if isinstance(replies, list) else ()


def _pedant(record: Mapping[str, Any], where: str) -> bool | None:
    """Return PEDANT's verdict; files write it as true, or as 1."""
    verdict = record.get("pedant")
    if verdict not in (None, False, True):
        raise DataError(f"{where}: pedant is {verdict!r}, not true or false", fix="mend that row")
    return None if verdict is None else bool(verdict)
