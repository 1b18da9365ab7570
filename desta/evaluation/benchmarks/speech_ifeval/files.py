"""Speech-IFEval as it is published: its questions, and outputs with flags and judgements."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from desta.errors import DataError
from desta.evaluation.base import Item, ReadOptions, Result
from desta.evaluation.benchmarks.speech_ifeval.score import (
    CORRECT,
    FIX,
    FOLLOWED,
    GROUPS,
    IFRATE_SECTIONS,
    RULED,
    Metric,
    Section,
    score,
)
from desta.evaluation.ifeval.following import read_instructions
from desta.evaluation.published_files import read_json_rows
from desta.evaluation.recipe import BenchmarkFiles
from desta.records import LOCATOR, AudioRef, Message, read_jsonl

SYSTEM = Message(role="system", content="Follow the given instructions.")
FILES: dict[Section, str] = {
    "closed_ended": "closed_ended_questions",
    "creative_writing": "creative_writing",
    "chain_of_thought": "chain-of-thought",
    "unconstrained": "closed_ended_questions-woprompt",
}
PATTERNS = tuple(f"*{stem}.jsonl*" for stem in FILES.values())
"""Files to download of a data set that holds them."""


def load(files: BenchmarkFiles) -> list[Item]:
    """Read the questions of the sections that a recipe names, or of the rated ones."""
    folder = files.place(PATTERNS)
    items = load_items(folder, files.audio or folder)
    sections = files.chosen(list(FILES)) if files.subsets else IFRATE_SECTIONS
    return [item for item in items if item.groups["section"] in sections]


def load_optional(files: BenchmarkFiles, asked: Sequence[Item]) -> list[Item]:
    """Read the questions of the other section, where they were answered."""
    named = {item.groups["section"] for item in asked}.difference(IFRATE_SECTIONS)
    return load(replace(files, subsets=tuple(sorted(named)))) if named else []


def load_items(folder: Path, audio_root: Path) -> list[Item]:
    """Read the question files, plain or gzipped.

    Args:
        folder: holds them, or holds `eval_data` or `data/eval_data`, which does.
        audio_root: folder that the clips' paths are relative to.

    Raises:
        DataError: a file is missing, or is not in the published layout.
    """
    inner = [folder / "eval_data", folder / "data" / "eval_data"]
    folder = next((path for path in inner if path.is_dir()), folder)
    items = []
    for section, stem in FILES.items():
        found = [p for p in (folder / f"{stem}.jsonl", folder / f"{stem}.jsonl.gz") if p.is_file()]
        if not found and section in IFRATE_SECTIONS:
            raise DataError(f"{folder / stem}.jsonl is missing", fix=FIX)
        for number, record in enumerate(read_jsonl(found[0])) if found else ():
            items.append(make_item(section, number, record, found[0], audio_root))
            if not _description(record):
                raise DataError(f"{folder}: {items[-1].id} has no `textual_audio`", fix=FIX)
    _check_distinct(items, folder)
    return items


def read_published(paths: Sequence[Path], options: ReadOptions) -> list[Result]:
    """Read files of outputs: as written, `rule_eval@*.jsonl`, `llm_eval@*.jsonl`, gzipped or not.

    An answer may stand in several files: as it was written, with how the rules were followed, with
    what a judge replied. They are joined. Published ids are not kept, some files count them from 0,
    some from 1: an item is called after its section and its place in it.

    Raises:
        DataError: a file is empty, not in the published layout, or asks a question twice; or two
            answer a question differently.
    """
    found: dict[tuple[object, ...], Result] = {}
    places: dict[tuple[object, ...], Path] = {}
    counts: Counter[str] = Counter()
    for path in paths:
        for result in _read_file(path):
            key = _exact_key(result.item)
            if key in found:
                found[key] = _join(found[key], result, places[key], path)
                continue
            section = result.item.groups["section"]
            item = replace(result.item, id=f"{section}/{counts[section]}")
            found[key], places[key] = replace(result, item=item), path
            counts[section] += 1
    return [replace(r, score=score(r.item, r.output or "", r.replies)) for r in found.values()]


def question_key(item: Item) -> tuple[object, ...]:
    """Return what tells a question from others, in whatever order and wherever its clip lies."""
    clip = Path(item.record["audio_filepath"]).name
    return item.groups["section"], clip, " ".join(item.question.split())


def make_item(
    section: Section, number: int, record: Mapping[str, Any], path: Path, audio_root: Path
) -> Item:
    """Return the item of a published record.

    Args:
        section: what `path` holds.
        number: line of the section's file, from 0.
        record: what that line holds.
        path: where it stands, for errors.
        audio_root: folder that the clips' paths are relative to.

    Raises:
        DataError: it is not in the published layout.
    """
    description = _description(record)
    texts = [record.get(k) for k in ("audio_filepath", "instruction", "dataset", "metric")]
    label = record.get("label")
    if (
        not all(isinstance(text, str) for text in [description, *texts])
        or not isinstance(label, str | None)
        or record["metric"] not in get_args(Metric)
    ):
        raise DataError(f"{path}: question {number} is not in the published layout", fix=FIX)
    instructions = read_instructions(record) if section in RULED else ()
    audio, asked = record["audio_filepath"], record["instruction"]
    heard = AudioRef(audio=str(audio_root / audio))
    groups = {"section": section, "dataset": record["dataset"]}
    if instructions:
        groups["group"] = GROUPS.get(instructions[0].id, "other")
    return Item(
        id=f"{section}/{number}",
        messages=(
            SYSTEM,
            Message(role="user", content=f"{LOCATOR}\n\n{asked}", audios=(heard,)),
        ),
        question=asked,
        target=label or "",
        groups=groups,
        record={
            "audio_filepath": audio,
            "instruction": asked,
            "dataset": record["dataset"],
            "metric": record["metric"],
            "label": label,
            "instruction_id_list": [each.id for each in instructions],
            "kwargs": [dict(each.arguments) for each in instructions],
        },
        described=(
            SYSTEM,
            Message(role="user", content=f"Speech Input: {description}\n\n{asked}"),
        ),
    )


def _read_file(path: Path) -> list[Result]:
    """Return what a file answers, not scored yet."""
    results = [_read_answer(*row, path) for row in enumerate(read_json_rows(path))]
    _check_distinct([result.item for result in results], path)
    return results


def _read_answer(number: int, record: Mapping[str, Any], path: Path) -> Result:
    item = make_item(_section(record, path), number, record, path, Path())
    output, reply = record.get("response"), record.get("eval_response")
    if not isinstance(output, str) or not isinstance(reply, str | None):
        raise DataError(f"{path}: {item.id} has no `response`, or it is no text", fix=FIX)
    claims = {
        "follow_all_instructions": FOLLOWED,
        "correct": FOLLOWED if record["metric"] == "cot" else CORRECT,
    }
    return Result(
        item=item,
        output=output,
        replies=() if reply is None else (reply,),
        claimed={
            metric: flag
            for name, metric in claims.items()
            if isinstance(flag := record.get(name), bool)
        },
    )


def _join(one: Result, other: Result, first: Path, path: Path) -> Result:
    if one.output != other.output or (
        one.replies and other.replies and one.replies != other.replies
    ):
        raise DataError(
            f"{path}: {one.id} is answered in another file too, {first}, and otherwise",
            fix="give the files of one model, judged once",
        )
    known = one if one.replies else other  # what was judged has a label
    item = replace(known.item, id=one.id)
    return replace(known, item=item, claimed={**one.claimed, **other.claimed})


def _section(record: Mapping[str, Any], path: Path) -> Section:
    """Return which file of questions a line of outputs answers."""
    metric = record.get("metric")
    if metric in ("wer", "accuracy"):
        return "closed_ended" if record.get("instruction_id_list") else "unconstrained"
    if metric == "open":
        return "creative_writing"
    if metric == "cot":
        return "chain_of_thought"
    raise DataError(f"{path}: metric {metric!r} is none of Speech-IFEval's", fix=FIX)


def _description(record: Mapping[str, Any]) -> Any:
    """Return what the clip holds, in words; outputs may not repeat it."""
    return record.get("textual_audio", record.get("seed_transcript", ""))


def _check_distinct(items: Sequence[Item], where: Path) -> None:
    counts = Counter(map(_exact_key, items))
    twice = next((item for item in items if counts[_exact_key(item)] > 1), None)
    if twice is not None:
        raise DataError(f"{where}: {twice.id} is asked more than once", fix="delete the copies")


def _exact_key(item: Item) -> tuple[object, ...]:
    return item.groups["section"], item.record["audio_filepath"], item.question
