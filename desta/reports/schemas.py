"""Fields of the files of a run and of its evaluation that its report reads."""

from typing import NotRequired, TypedDict

from desta.evaluation.formats import Value
from desta.schema import Json


class RunData(TypedDict):
    """`data` of a training recipe."""

    train: list[str]
    validation: NotRequired[list[str] | None]


class RunRecipe(TypedDict):
    """`recipe.yaml` of a run."""

    data: RunData
    model: NotRequired[dict[str, Json]]


class GeneratedRow(TypedDict):
    """The model's response to a validation pair."""

    prompt: str
    target: str
    generated: str


class StepLine(TypedDict):
    """A line of `metrics.jsonl` about a step."""

    step: int
    loss: float
    seconds: float
    samples_per_second: NotRequired[float]
    tokens_per_second: NotRequired[float]


class ValidationLine(TypedDict):
    """A line of `metrics.jsonl` about a validation."""

    step: int
    validation_loss: float
    samples: NotRequired[list[GeneratedRow]]


class LayerNames(TypedDict):
    """`config.json` of a checkpoint."""

    target_layer_ids: NotRequired[list[int] | None]


class AttributeRow(TypedDict):
    """A task, a group and a system of `scores.json`."""

    system: str
    task: str
    group: str
    balanced_accuracy: NotRequired[Value]
    num_examples: NotRequired[int]
    num_skipped: NotRequired[int]
    classes: NotRequired[list[str]]
    confusion: NotRequired[list[list[int]]]
    named: NotRequired[dict[str, str | None]]


class SkippedRow(TypedDict):
    """Clips that were skipped for one reason."""

    reason: str
    count: int
    example: str


class AttributeScores(TypedDict):
    """`scores.json` of the benchmark `attributes`."""

    weights: str | None
    scores: list[AttributeRow]
    skipped: list[SkippedRow]


class ClipRow(TypedDict):
    """A clip in a message."""

    text: str | None


class AnswerMessage(TypedDict):
    """A message of the model's prompt."""

    audios: NotRequired[list[ClipRow]]


class AnswerGroups(TypedDict):
    """Groups that an answer is counted in."""

    task: str
    group: str


class AnswerLine(TypedDict):
    """A line of `results.jsonl` of the benchmark `attributes`."""

    id: str
    system: str
    groups: AnswerGroups
    question: str
    target: str
    transcription: str
    output: str | None
    prompt: list[AnswerMessage]
    audio: list[str]
