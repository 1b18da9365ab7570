"""Score Speech-IFEval (Lu et al., arXiv 2505.19037): does a model that hears follow instructions?

    closed_ended       933 questions with a rule about the form of the answer
    creative_writing   400 tasks with a rule
    chain_of_thought   200 questions "step by step": a judge says whether the answer reasons
    unconstrained      the 933 without their rules, to see what the rules cost (optional)

    IFrate = mean of the first three rates
    forgetting rate = relative change of the IFrate against the bare backbone

A judge also says whether answers to closed-ended and unconstrained questions are right, and cuts
transcriptions out of them. The benchmark's judge is gpt-4o-2024-11-20 with a wording of its own:
scores by another judge, or by our questions, are another number. State the judge with every score.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from desta.errors import ConfigError, DataError
from desta.evaluation.base import DetailRow, Item, Result, Score
from desta.evaluation.ifeval.following import Instruction, follow_strictly, read_instructions
from desta.evaluation.metrics import (
    Cell,
    Estimate,
    Figure,
    Report,
    average,
    figure,
    find,
    mean,
    ratio,
)
from desta.evaluation.tabulate import count_notes, tabulate
from desta.evaluation.wer import WordErrors, count_word_errors, normalise_basically

Section = Literal["closed_ended", "creative_writing", "chain_of_thought", "unconstrained"]
Metric = Literal["wer", "accuracy", "open", "cot"]

FOLLOWED = "followed"
"""Whether all instructions were followed, strictly; of a chain of thought the judge's word."""
CORRECT = "correct"
"""Whether the answer is right, by the judge's word."""
WER = "wer"
"""Of what a judge has cut out of the answers."""
IFRATE = "IFrate"
REFERENCE = "oracle"
"""The system whose IFrate is what can be forgotten: the backbone that reads."""
UNREADABLE = "the judge's reply says neither yes nor no"
NOT_JUDGED = "nobody judged"

NUM_ITEMS: dict[Section, int] = {
    "closed_ended": 933,
    "creative_writing": 400,
    "chain_of_thought": 200,
    "unconstrained": 933,
}
IFRATE_SECTIONS: tuple[Section, ...] = ("closed_ended", "creative_writing", "chain_of_thought")
"""Metrics of which the IFrate is the mean."""

RULED: tuple[Section, ...] = ("closed_ended", "creative_writing")
"""Sections whose questions have rules."""

GROUPS = {
    "change_case:english_capital": "change_case",
    "change_case:english_lowercase": "change_case",
    "combination:repeat_prompt": "startend",
    "detectable_format:json_format": "json_format",
    "detectable_format:number_bullet_lists": "bullet_lists",
    "detectable_format:title": "wrapping",
    "keywords:existence": "keywords",
    "keywords:forbidden_words": "keywords",
    "length_constraints:number_paragraphs": "length_constraints",
    "length_constraints:number_sentences": "length_constraints",
    "length_constraints:number_words": "length_constraints",
    "startend:end_checker": "startend",
    "startend:quotation": "wrapping",
}
"""The table of the paper: instructions that are reported together."""

FIX = "take the files of the benchmark as they were published"
_OFFICIAL = re.compile(r"(?<=result:\s)(?:yes|no)", re.IGNORECASE)
"""Exactly one white space after the colon; the first match counts, also inside "Result: NOT"."""
_LENIENT = re.compile(r"\bresult\W*(yes|no)\b", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Decision:
    """YES or NO of a judge's reply."""

    verdict: bool | None
    """None where it says neither yes nor no."""
    in_form: bool
    """Whether the official parser reads it; at others it stops."""


def read_decision(reply: str) -> Decision:
    """Read the YES or NO of a reply, as the official parser does where that can.

    >>> read_decision("Step by step indeed. Result: YES")
    Decision(verdict=True, in_form=True)
    >>> read_decision("**Result:** no.")
    Decision(verdict=False, in_form=False)
    """
    if match := _OFFICIAL.search(reply):
        return Decision(verdict=match[0].lower() == "yes", in_form=True)
    found = _LENIENT.findall(reply)
    return Decision(verdict=found[-1].lower() == "yes" if found else None, in_form=False)


def score(item: Item, output: str, replies: Sequence[str] = ()) -> Score:
    """Score one answer; the last reply of a judge counts.

    It is a yes or no for chains of thought and for accuracy, and the bare transcription for word
    error rate. Rules need none.

    Raises:
        DataError: an instruction is unknown or broken, or a transcription has no label.
    """
    metric: Metric = item.record["metric"]
    instructions = instructions_of(item)
    flags = follow_strictly(instructions, output, "speech_ifeval", seed=item.id)
    followed = all(flags) if flags else None
    verdict = note = None
    if not replies:
        note = None if instructions else NOT_JUDGED
    elif metric == "wer":
        _label_of(item)
    elif metric != "open":
        verdict = read_decision(replies[-1]).verdict
        note = UNREADABLE if verdict is None else None
    if metric == "cot":
        followed, verdict = verdict, None
    values = {FOLLOWED: None if followed is None else float(followed)}
    return Score(
        values=values if verdict is None else {**values, CORRECT: float(verdict)}, note=note
    )


def instructions_of(item: Item) -> tuple[Instruction, ...]:
    """Return the instructions whose following rules decide.

    Raises:
        DataError: they are not in the published layout.
    """
    return read_instructions(item.record) if item.groups["section"] in RULED else ()


def aggregate(results: Sequence[Result]) -> Report:
    """Return the rates of the sections, the IFrate, and what the judge decided."""
    cells = tabulate(results)
    figures: dict[str, Estimate] = {}
    for section in get_args(Section):
        members = [result for result in results if result.item.groups["section"] == section]
        rate = find(cells, FOLLOWED, "section", section)
        if rate.estimate:
            figures[f"{section} rate"] = figure(rate.estimate, [rate])
        for dataset in sorted({result.item.groups["dataset"] for result in members}):
            asked = [r for r in members if r.item.groups["dataset"] == dataset]
            if accuracy := _accuracy(asked):
                figures[f"{section} accuracy, {dataset}"] = accuracy
        if errors := _word_error_rate(members):
            figures[f"{section} word error rate"] = errors
    if ifrate := _ifrate(cells):
        figures[IFRATE] = ifrate
    return Report(
        headline=figures,
        cells=cells,
        remarks=count_notes(results),
    )


def forgetting(results: Sequence[Result]) -> dict[str, Any]:
    """Return how much of the IFrate of the backbone that reads each other system has forgotten."""
    by_system: dict[str, list[Result]] = {}
    for result in results:
        if result.skipped is None:
            by_system.setdefault(result.system, []).append(result)
    found = {system: _ifrate(tabulate(members)) for system, members in by_system.items()}
    rates = {system: round(rate.value, 6) for system, rate in found.items() if rate}
    reference = rates.pop(REFERENCE, None)
    if not reference:
        return {"forgetting_rates": {}}
    return {
        "forgetting_rates": {
            system: round(forgetting_rate(rate, reference), 6) for system, rate in rates.items()
        }
    }


def forgetting_rows(scores: Mapping[str, Any]) -> list[DetailRow]:
    """Return the forgetting rates as a row of the printed table."""
    rates = scores["forgetting_rates"]
    cells = {system: f"{rate:+.1%}" for system, rate in rates.items()}
    return [DetailRow(name="forgetting rate", cells=cells)] if cells else []


def forgetting_rate(ifrate: float, reference: float) -> float:
    """Return how much of the bare backbone's IFrate is lost (below 0) or won.

    >>> round(forgetting_rate(0.8923, 0.9253), 4)
    -0.0357

    Raises:
        ConfigError: the reference is not above 0.
    """
    if reference <= 0:
        raise ConfigError(
            f"an IFrate of {reference} cannot be forgotten",
            fix="give the IFrate of the bare backbone, a share above 0",
        )
    return (ifrate - reference) / reference


def _ifrate(cells: Sequence[Cell]) -> Figure | None:
    """Return the IFrate; None unless every question of its sections is followed or not."""
    rated = {section: find(cells, FOLLOWED, "section", section) for section in IFRATE_SECTIONS}
    if any(cell.num_scored != NUM_ITEMS[section] for section, cell in rated.items()):
        return None
    estimates = [cell.estimate for cell in rated.values() if cell.estimate]
    return figure(average(estimates), list(rated.values()))


def _accuracy(results: Sequence[Result]) -> Figure | None:
    values = [value for r in results if (value := r.score.values.get(CORRECT)) is not None]
    return _figure(mean(values), CORRECT, len(values), len(results)) if values else None


def _word_error_rate(results: Sequence[Result]) -> Figure | None:
    spoken = [r for r in results if r.item.record["metric"] == "wer"]
    judged = [r for r in spoken if r.output is not None and r.replies]
    errors = [_word_errors(r.item, r.replies[-1]) for r in judged]
    if not any(e.num_words for e in errors):
        return None
    rate = ratio([e.num_errors for e in errors], [e.num_words for e in errors])
    return _figure(rate, WER, len(errors), len(spoken))


def _word_errors(item: Item, reply: str) -> WordErrors:
    return count_word_errors(normalise_basically(_label_of(item)), normalise_basically(reply))


def _label_of(item: Item) -> str:
    label = item.record.get("label")
    if label is None:
        raise DataError(f"{item.id} has no label to compare with", fix=FIX)
    return str(label)


def _figure(estimate: Estimate, metric: str, num_scored: int, num_items: int) -> Figure:
    return Figure(
        value=estimate.value,
        standard_error=estimate.standard_error,
        metric=metric,
        num_scored=num_scored,
        num_items=num_items,
    )
