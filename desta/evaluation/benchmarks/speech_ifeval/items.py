"""Speech-IFEval in the form that all benchmarks share: items, scores, report."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from desta.errors import DataError
from desta.evaluation.answered import Answered
from desta.evaluation.base import Result
from desta.evaluation.benchmarks.speech_ifeval import files as speech_ifeval_files
from desta.evaluation.benchmarks.speech_ifeval import score as speech_ifeval
from desta.evaluation.benchmarks.speech_ifeval.score import (
    GROUPS,
    audio_messages,
    forgetting_rate,
    text_messages,
)
from desta.evaluation.items import Item, Report, Score, count_notes, tabulate
from desta.evaluation.metrics import Estimate, Figure, ratio

FOLLOWED = "followed"
"""Whether all instructions were followed, strictly; of a chain of thought the judge's word."""
CORRECT = "correct"
"""Whether the answer is right, by the judge's word."""
WER = "word error rate"
"""Of what a judge has cut out of the answers."""
IFRATE = "IFrate"
REFERENCE = "oracle"
"""The system whose IFrate is what can be forgotten: the backbone that reads."""


def to_item(asked: speech_ifeval.Item, audio_root: Path) -> Item:
    """Return an item in the common form; the clips lie below `audio_root`."""
    return Item(
        id=asked.id,
        messages=audio_messages(asked, audio_root),
        question=asked.instruction,
        target=asked.label or "",
        groups={
            "section": asked.section,
            "dataset": asked.dataset,
            **({"group": _group(asked)} if asked.instructions else {}),
        },
        record={
            "audio_filepath": asked.audio,
            "instruction": asked.instruction,
            "dataset": asked.dataset,
            "metric": asked.metric,
            "label": asked.label,
            "instruction_id_list": [each.id for each in asked.instructions],
            "kwargs": [dict(each.arguments) for each in asked.instructions],
        },
        described=text_messages(asked),
    )


def score(item: Item, output: str, replies: Sequence[str] = ()) -> Score:
    """Score one answer; the last reply of a judge counts."""
    found = _score(item, output, replies)
    return Score(
        id=item.id,
        groups=item.groups,
        extracted=None,
        values={FOLLOWED: float(all(found.followed)) if found.followed else None}
        | ({} if found.correct is None else {CORRECT: float(found.correct)}),
        note=found.undecided,
    )


def read_answered(paths: Sequence[Path]) -> list[Answered]:
    """Read published files of outputs.

    An answer may stand in several files: as it was written, with how the rules were followed, with
    what a judge replied. They are joined.

    Raises:
        DataError: a file is not in the published layout, or two answer a question differently.
    """
    found: dict[tuple[str, ...], speech_ifeval_files.Answered] = {}
    places: dict[tuple[str, ...], Path] = {}
    counts: Counter[str] = Counter()
    for path in paths:
        for answered in speech_ifeval_files.read_answered(path):
            key = (answered.item.section, answered.item.audio, answered.item.instruction)
            if key in found:
                found[key] = _joined(found[key], answered, places[key], path)
            else:
                found[key] = _numbered(answered, counts[key[0]])
                places[key] = path
                counts[key[0]] += 1
    return [_answered(answered) for answered in found.values()]


def key_of(item: Item) -> tuple[str, ...]:
    """Return what tells a question from others, in whatever order and wherever its clip lies."""
    return item.groups["section"], Path(item.record["audio_filepath"]).name, item.question


def _numbered(answered: speech_ifeval_files.Answered, number: int) -> speech_ifeval_files.Answered:
    item = answered.item
    return replace(answered, item=replace(item, id=f"{item.section}/{number}"))


def _joined(
    one: speech_ifeval_files.Answered,
    other: speech_ifeval_files.Answered,
    first: Path,
    path: Path,
) -> speech_ifeval_files.Answered:
    replies = {each.judge_reply for each in (one, other)} - {None}
    if len(replies) > 1 or one.output != other.output:
        raise DataError(
            f"{path}: {one.item.id} is answered in another file too, {first}, and otherwise",
            fix="give the files of one model, judged once",
        )
    known = one if one.judge_reply is not None else other  # what was judged has a label
    return replace(
        known,
        item=replace(known.item, id=one.item.id),
        published={**one.published, **other.published},
    )


def _answered(a: speech_ifeval_files.Answered) -> Answered:
    item = to_item(a.item, Path())
    replies = () if a.judge_reply is None else (a.judge_reply,)
    said = {
        FOLLOWED: a.published.get("follow_all_instructions"),
        FOLLOWED if a.item.metric == "cot" else CORRECT: a.published.get("correct"),
    }
    return Answered(
        item=item,
        output=a.output,
        replies=replies,
        score=score(item, a.output, replies),
        told={name: flag for name, flag in said.items() if isinstance(flag, bool)},
    )


def aggregate(results: Sequence[Result], version: str) -> Report:
    """Return the rates of the sections, the IFrate, and what the judge decided."""
    found = [_score(r.item, r.output, r.replies) for r in results if r.output is not None]
    official = speech_ifeval.aggregate(found)
    figures = {}
    for section, rates in official["sections"].items():
        asked = [r for r in results if r.groups["section"] == section]
        members = [f for f in found if f.section == section]
        if "rate" in rates:
            num_followed = sum(bool(f.followed) for f in members)
            figures[f"{section} rate"] = _figure(
                _estimate(rates["rate"]), FOLLOWED, num_followed, len(asked)
            )
        for dataset, accuracy in rates.get("accuracy", {}).items():
            figures[f"{section} accuracy, {dataset}"] = _figure(
                _estimate(accuracy),
                CORRECT,
                sum(f.correct is not None for f in members if f.dataset == dataset),
                sum(r.groups["dataset"] == dataset for r in asked),
            )
        errors = [f.word_errors for f in members if f.word_errors]
        if errors:
            rate = ratio([e.num_errors for e in errors], [e.num_words for e in errors])
            num_spoken = sum(r.record["metric"] == "wer" for r in asked)
            figures[f"{section} {WER}"] = _figure(rate, WER, len(errors), num_spoken)
    if official["ifrate"]:
        num_rated = sum(bool(f.followed) for f in found if f.section in speech_ifeval.RATED)
        figures[IFRATE] = _figure(_estimate(official["ifrate"]), FOLLOWED, num_rated, num_rated)
    scores = [result.score for result in results]
    return Report(
        benchmark="speech_ifeval",
        version=version,
        figures=figures,
        cells=tabulate(scores),
        notes=count_notes(scores),
    )


def forgetting(results: Sequence[Result]) -> dict[str, Any]:
    """Return how much of the IFrate of the backbone that reads each other system has forgotten."""
    by_system: dict[str, list[Result]] = {}
    for result in results:
        if result.skipped is None:
            by_system.setdefault(result.system, []).append(result)
    rates = {
        system: found["value"]
        for system, members in by_system.items()
        if (found := _official(members)["ifrate"])
    }
    reference = rates.pop(REFERENCE, None)
    if not reference:
        return {"forgetting_rates": {}}
    return {
        "forgetting_rates": {
            system: round(forgetting_rate(rate, reference), 6) for system, rate in rates.items()
        }
    }


def _official(results: Sequence[Result]) -> dict[str, Any]:
    return speech_ifeval.aggregate([_score(r.item, r.output or "", r.replies) for r in results])


def _score(item: Item, output: str, replies: Sequence[str]) -> speech_ifeval.Score:
    asked = speech_ifeval_files.read_item(item.id, item.record)
    return speech_ifeval.score_item(asked, output, replies[-1] if replies else None)


def _group(asked: speech_ifeval.Item) -> str:
    return GROUPS.get(asked.instructions[0].id, "other")


def _figure(estimate: Estimate, reading: str, num_scored: int, num_items: int) -> Figure:
    return Figure(
        value=estimate.value,
        standard_error=estimate.standard_error,
        reading=reading,
        num_scored=num_scored,
        num_items=num_items,
    )


def _estimate(value: Any) -> Estimate:
    return Estimate(value=value["value"], standard_error=value["standard_error"])
