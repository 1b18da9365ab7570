"""Scoring by rule: which of the answers that there could be an output names, and in which form."""

from collections.abc import Sequence
from typing import Any, TypedDict

from desta.evaluation.base import Item, Result, Score
from desta.evaluation.benchmarks.probe.vocabulary import SYNONYMS
from desta.evaluation.formats import fault_of_record
from desta.evaluation.ifeval.following import follow_strictly, read_instructions
from desta.evaluation.metrics import named_choices
from desta.schema import find_json_fault

ACCURACY = "accuracy"
"""Metric: the right answer is named and no other, in the prescribed form if there is one."""
FORM = "form"
"""Metric of questions that prescribe a form: whether the answer has it, right or wrong."""


class Asked(TypedDict):
    """An answer that is asked for."""

    target: str
    values: list[str]


class Record(TypedDict):
    """Record of an item, as far as it is the same for all."""

    asked: list[Asked]
    instruction_id_list: list[str]
    kwargs: list[dict[str, Any]]


def score(item: Item, output: str, replies: Sequence[str] = ()) -> Score:
    """Score an answer."""
    named = [named_choices(output, each["values"], SYNONYMS) for each in item.record["asked"]]
    right = all(
        these == {each["target"]} for these, each in zip(named, item.record["asked"], strict=True)
    )
    extracted = ", ".join(these.pop() for these in named if len(these) == 1) or None
    checks = read_instructions(item.record)
    if not checks:
        return Score(extracted=extracted, values={ACCURACY: float(right)})
    followed = all(follow_strictly(checks, output, "speech_ifeval", seed=item.id))
    values = {ACCURACY: float(right and followed), FORM: float(followed)}
    return Score(extracted=extracted, values=values)


def find_fault(result: Result) -> str | None:
    """Return why a stored result cannot be scored; None if it can."""
    fault = find_json_fault(dict(result.item.record), Record, "record")
    return fault or fault_of_record(lambda: read_instructions(result.item.record))
