"""How right an answer to a question of SAKURA is: by a judge's reply, and by rule."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from desta.evaluation.base import Item, Result, Score
from desta.evaluation.metrics import Estimate, Report, average, check_offered, figure, named_choices
from desta.evaluation.tabulate import count_notes, join_notes, tabulate

HOPS = ("single", "multi")
JUDGE = "judge"
"""Official metric: right if the judge's reply, in the prescribed form, says so."""
LENIENT = "judge_lenient"
"""Also replies that name their judgement in another form."""
RULE = "rule"
"""Without a judge: the answer names the gold option, by letter or text, and no other."""
TITLES = {LENIENT: "judge, leniently read", RULE: "rule: letter or text"}
NO_REPLY = "no reply of a judge"
INVALID = "the judge's reply is not in the official form: counted as wrong"
UNREADABLE = "the judge's reply names no judgement in any form: counted as wrong"
_SYNONYMS = {"Female": ("woman", "girl"), "Male": ("man", "boy")}
_OFFICIAL = re.compile(r"Explanation: (.*?)\nJudgement: (.*?)(?:\n\n|$)", re.DOTALL)
_JUDGEMENT = re.compile(r"judge?ment\W*(correct|incorrect)\b", re.IGNORECASE)
_LETTER = re.compile(r"\(([a-z])\)", re.IGNORECASE)
_BARE_LETTER = re.compile(
    r"^\W*([a-z])(?:\W*$|[.):]\s)|\b(?:answer|option|choice)(?:\s+is)?\W+([a-z])(?=\W*$|[.,:;)])",
    re.IGNORECASE,
)


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """A judge's reply, as the official script reads it."""

    explanation: str
    judgement: str
    counted_as: Literal["correct", "incorrect", "invalid"]


def parse_judgement(reply: str) -> Judgement:
    """Read a judge's reply as the official script does: any other form is invalid."""
    match = _OFFICIAL.search(reply)
    explanation, judgement = (
        match.groups() if match else ("No extracted explanation", "No extracted judgement")
    )
    return Judgement(explanation=explanation, judgement=judgement, counted_as=counted_as(judgement))


def read_leniently(reply: str) -> Literal["correct", "incorrect"] | None:
    """Return the judgement that a reply names in whatever form, or None.

    >>> read_leniently("**Judgment:** Correct")
    'correct'
    """
    match = _JUDGEMENT.search(reply)
    if not match:
        return None
    return "correct" if match.group(1).lower() == "correct" else "incorrect"


def score(item: Item, output: str, replies: Sequence[str] = ()) -> Score:
    """Score an answer by rule and, where a judge has replied, by its last judgement."""
    if not replies:
        return score_judged(item, output, None, None)
    return score_judged(
        item, output, parse_judgement(replies[-1]).counted_as, read_leniently(replies[-1])
    )


def aggregate(results: Sequence[Result]) -> Report:
    """Return accuracy by track and hop, and the average over the tracks, for every metric."""
    cells = tabulate([_with_track_and_hop(result) for result in results])
    figures: dict[str, Estimate] = {}
    for metric in (JUDGE, LENIENT, RULE):
        for hop in HOPS:
            by_track = [
                (cell, cell.estimate)
                for cell in cells
                if cell.metric == metric
                and cell.dimension == "track and hop"
                and cell.group.endswith(f" {hop}")
                and cell.estimate
            ]
            figures |= {f"{c.group} ({metric})": figure(e, [c]) for c, e in by_track}
            if by_track:
                mean = average([estimate for _, estimate in by_track])
                figures[f"Average {hop} ({metric})"] = figure(mean, [c for c, _ in by_track])
    return Report(
        headline=figures,
        cells=cells,
        remarks=count_notes(results),
    )


def counted_as(judgement: str) -> Literal["correct", "incorrect", "invalid"]:
    """Return what the official script counts a judgement as."""
    match judgement.lower().strip():
        case "correct":
            return "correct"
        case "incorrect":
            return "incorrect"
        case _:
            return "invalid"


def score_judged(item: Item, output: str, judged: str | None, lenient: str | None) -> Score:
    """Score an answer by rule, and by a judgement as it is read officially and leniently."""
    named = _named_options(item.record["options"], output)
    gold = item.target[1]
    note = None
    if judged is None:
        note = NO_REPLY
    elif judged == "invalid":
        note = INVALID if lenient is not None else UNREADABLE
    note = join_notes(note, check_offered(item.target, item.choices))
    return Score(
        extracted=", ".join(sorted(named)) if named else None,
        values={
            JUDGE: None if judged is None else float(judged == "correct"),
            LENIENT: None if lenient is None else float(lenient == "correct"),
            RULE: float(named == {gold}),
        },
        note=note,
    )


def _named_options(options: Mapping[str, Any], output: str) -> set[str]:
    """Return the letters of the options that an answer names, by letter or by text."""
    texts = {text: letter for letter, text in options.items()}
    named = {texts[text] for text in named_choices(output, list(texts), _SYNONYMS)}
    letters = {letter.lower() for letter in _LETTER.findall(output)}
    if not letters:
        letters = {(a or b).lower() for a, b in _BARE_LETTER.findall(output)}
    return named | (letters & set(options))


def _with_track_and_hop(result: Result) -> Result:
    groups = result.item.groups
    both = {**groups, "track and hop": " ".join(groups.values())}
    return replace(result, item=replace(result.item, groups=both))
