"""Speech-IFEval as it is published: its questions, and outputs with flags and judgements."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from desta.errors import DataError
from desta.evaluation.benchmarks.speech_ifeval.score import FIX, RATED, Item, Metric, Section
from desta.evaluation.ifeval.following import read_instructions
from desta.evaluation.items import read_published_rows
from desta.records import read_jsonl

FILES: dict[Section, str] = {
    "closed_ended": "closed_ended_questions",
    "creative_writing": "creative_writing",
    "chain_of_thought": "chain-of-thought",
    "unconstrained": "closed_ended_questions-woprompt",
}
PATTERNS = tuple(f"*{stem}.jsonl*" for stem in FILES.values())
"""What is fetched of a data set that holds them."""


@dataclass(frozen=True, kw_only=True)
class Answered:
    """An item and what was answered; a line of a published file of outputs."""

    item: Item
    output: str
    judge_reply: str | None
    published: Mapping[str, Any]
    """What the file says of the score: `follow_all_instructions`, `correct`, ... as it stands."""


def load_items(folder: Path) -> list[Item]:
    """Read the question files, plain or gzipped.

    Args:
        folder: holds them, or holds `eval_data` or `data/eval_data`, which does.

    Raises:
        DataError: a file is missing, or is not in the published layout.
    """
    inner = [folder / "eval_data", folder / "data" / "eval_data"]
    folder = next((path for path in inner if path.is_dir()), folder)
    items = []
    for section, stem in FILES.items():
        found = [p for p in (folder / f"{stem}.jsonl", folder / f"{stem}.jsonl.gz") if p.is_file()]
        if found:
            items += [_item(section, i, r, found[0]) for i, r in enumerate(read_jsonl(found[0]))]
        elif section in RATED:
            raise DataError(f"{folder / stem}.jsonl is missing", fix=FIX)
    if untold := [item.id for item in items if not item.description]:
        raise DataError(f"{folder}: {untold[0]} has no `textual_audio`", fix=FIX)
    _check_distinct(items, folder)
    return items


def read_answered(path: Path) -> list[Answered]:
    """Read a published file of outputs: `rule_eval@*.jsonl`, `llm_eval@*.jsonl`, gzipped or not.

    Raises:
        DataError: the file is empty, not in the published layout, or asks a question twice.
    """
    answered = []
    for line, record in enumerate(read_published_rows(path)):
        item = _item(_section(record, path), line, record, path)
        reply = record.get("eval_response")
        if not isinstance(record.get("response"), str) or not isinstance(reply, str | None):
            raise DataError(f"{path}: {item.id} has no `response`, or it is no text", fix=FIX)
        flags = ("follow_instruction_list", "follow_all_instructions", "correct")
        answered.append(
            Answered(
                item=item,
                output=record["response"],
                judge_reply=reply,
                published={name: record[name] for name in flags if name in record},
            )
        )
    _check_distinct([a.item for a in answered], path)
    return answered


def read_item(id: str, record: Mapping[str, Any]) -> Item:
    """Return the item of a published record.

    Args:
        id: section and line, `closed_ended/17`.
        record: what that line of the section's file holds.

    Raises:
        DataError: it is not in the published layout.
    """
    section = next(name for name in get_args(Section) if id.startswith(f"{name}/"))
    return _item(section, int(id.removeprefix(f"{section}/")), record, Path(FILES[section]))


def _section(record: Mapping[str, Any], path: Path) -> Section:
    """Tell which file of questions a line of outputs answers."""
    metric = record.get("metric")
    if metric in ("wer", "accuracy"):
        return "closed_ended" if record.get("instruction_id_list") else "unconstrained"
    if metric == "open":
        return "creative_writing"
    if metric == "cot":
        return "chain_of_thought"
    raise DataError(f"{path}: metric {metric!r} is none of Speech-IFEval's", fix=FIX)


def _item(section: Section, line: int, record: Mapping[str, Any], path: Path) -> Item:
    description = record.get("textual_audio", record.get("seed_transcript", ""))
    texts = [record.get(k) for k in ("audio_filepath", "instruction", "dataset", "metric")]
    label = record.get("label")
    if (
        not all(isinstance(text, str) for text in [description, *texts])
        or not isinstance(label, str | None)
        or record["metric"] not in get_args(Metric)
    ):
        raise DataError(f"{path}: question {line} is not in the published layout", fix=FIX)
    rules = section in ("closed_ended", "creative_writing")
    return Item(
        id=f"{section}/{line}",
        section=section,
        audio=record["audio_filepath"],
        description=str(description),
        instruction=record["instruction"],
        dataset=record["dataset"],
        metric=record["metric"],
        instructions=read_instructions(record) if rules else (),
        label=label,
    )


def _check_distinct(items: Sequence[Item], where: Path) -> None:
    counts = Counter((item.section, item.audio, item.instruction) for item in items)
    twice = next((item for item in items if counts[_key(item)] > 1), None)
    if twice is not None:
        raise DataError(f"{where}: {twice.id} is asked more than once", fix="delete the copies")


def _key(item: Item) -> tuple[Section, str, str]:
    return item.section, item.audio, item.instruction
