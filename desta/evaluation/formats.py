"""Formats of the files of an evaluation, as far as our readers look at them."""

from collections.abc import Callable
from typing import Any, NotRequired, TypedDict

from desta.errors import DataError
from desta.schema import Json

REMADE = "mend that line or key, or evaluate again"


class PlanFile(TypedDict):
    """`plan.json`."""

    benchmark: str
    version: str
    weights: str | None
    num_items: int
    batch_size: int
    systems: list[str]
    order: NotRequired[list[str]]
    config: NotRequired[dict[str, Json]]


class Value(TypedDict):
    """A score and its standard error."""

    value: float
    standard_error: float


class Counted(Value):
    """A figure, and what it rests on."""

    metric: NotRequired[str]
    num_scored: NotRequired[int]
    num_items: NotRequired[int]


class CellRow(TypedDict):
    """One metric, averaged over a group."""

    metric: str
    dimension: str
    group: str
    estimate: Value | None
    num_scored: int
    num_unscored: int


class Note(TypedDict):
    """Remark on what was not scored, or not as asked."""

    reason: str
    count: int
    example: str


class LeftOutNote(Note):
    """Items that have no score by some metrics."""

    metrics: list[str]


class SkippedNote(Note):
    """Items that a system did not answer."""

    system: str


class SystemRow(TypedDict):
    """All figures of a system."""

    system: str
    num_items: int
    num_skipped: int
    withheld: str | None
    headline: dict[str, Counted]
    cells: list[CellRow]
    remarks: list[Note]
    left_out: NotRequired[list[LeftOutNote]]


class Refused(TypedDict):
    """`judge.json`; empty where nobody judged."""

    refused: NotRequired[dict[str, list[str]]]


class PromptRow(TypedDict):
    """A text that a judge was asked by."""

    source: str
    sha256: str


class JudgeRow(Refused):
    """Judge, as reports name it."""

    id: str
    revision: str
    num_replies: int
    num_in_form: int
    num_read: int
    prompts: dict[str, PromptRow]
    unread: list[Note]


class VerdictRow(TypedDict):
    """Comparison of the model with its baselines."""

    sentence: str


class ScoresFile(TypedDict):
    """`scores.json`."""

    benchmark: str
    version: str
    shares: NotRequired[bool]
    official: NotRequired[list[str]]
    systems: list[SystemRow]
    skipped: list[SkippedNote]
    verdict: NotRequired[VerdictRow | None]
    judge: NotRequired[JudgeRow]


class MessageRow(TypedDict):
    """A message as a system was given it."""

    role: str
    content: str
    audios: NotRequired[list[dict[str, Json]] | None]


class ResultRow(TypedDict):
    """A line of `results.jsonl`, which holds no other keys (`base.Result`)."""

    id: str
    system: str
    groups: dict[str, str]
    question: str
    target: str
    choices: list[str]
    record: dict[str, Any]
    audio: list[str]
    transcription: str
    prompt: list[dict[str, Any]]
    output: str | None
    skipped: NotRequired[str | None]
    replies: NotRequired[list[str]]
    extracted: NotRequired[str | None]
    values: NotRequired[dict[str, float | None]]
    note: NotRequired[str | None]
    weight: NotRequired[float]
    weights: NotRequired[dict[str, float]]


def fault_of_record(read: Callable[[], object]) -> str | None:
    """Return why the record of a result cannot be read; None if it can."""
    try:
        read()
    except DataError as error:
        return f"record: {error.message}"
    return None
