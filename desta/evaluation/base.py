"""What every benchmark is made of, and what it asks of a model."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from desta.evaluation.items import Item, Report, Score

MODEL = "model"
"""The system that is evaluated; most other systems are its baselines."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """What one system answered to one item, and how right that is; a line of `results.jsonl`.

    It holds all that a scorer looks at, so that it can be scored again with nothing but itself.
    """

    id: str
    """Of the item: unique in the benchmark."""
    system: str
    groups: Mapping[str, str]
    """Dimension -> group, as the benchmark reports it."""
    question: str
    """The words that ask, without the clip, to be shown."""
    target: str
    choices: tuple[str, ...]
    record: Mapping[str, Any]
    """What else the scorer looks at, by its published names."""
    audio: tuple[str, ...]
    """Paths of the clips, also where this system does not hear them: see `prompt`."""
    transcription: str
    """What is said in the clips, where the benchmark knows it; whether the system was told or
    not."""
    prompt: tuple[Mapping[str, Any], ...]
    """The messages as this system was given them (`Message.to_json`); empty where nobody was
    asked."""
    output: str | None
    """What the system wrote, as it is; None where it could not be asked."""
    skipped: str | None = None
    """Why it could not be asked: the same words for everything it befalls."""
    replies: tuple[str, ...] = ()
    """What a judge said of the output."""
    extracted: str | None = None
    """What the output was taken to say; None where nothing could be told."""
    values: Mapping[str, float | None] = field(default_factory=dict)
    """Reading -> score; None where the output cannot be scored that way."""
    note: str | None = None
    """Why a value is missing or drawn."""
    weight: float = 1.0
    """What the item counts in a mean."""
    weights: Mapping[str, float] = field(default_factory=dict)
    """Reading -> what the item counts in its mean, where that is not `weight`."""

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object, every field written, but for `weights` where there are none."""
        record = asdict(self)
        if not self.weights:
            del record["weights"]
        return record

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> "Result":
        """Build a result from a JSON object.

        Raises:
            KeyError, TypeError: a field is missing or unknown.
        """
        values = dict(record)
        for name in ("choices", "audio", "prompt", "replies"):
            if name in values:
                values[name] = tuple(values[name])
        return cls(**values)

    @property
    def heard(self) -> bool:
        """Whether the system was given the clips themselves."""
        return any(message.get("audios") for message in self.prompt)

    @property
    def item(self) -> Item:
        """The item, as far as its scorer looks at it; its messages are not kept."""
        return Item(
            id=self.id,
            messages=(),
            question=self.question,
            target=self.target,
            choices=self.choices,
            groups=self.groups,
            record=self.record,
            transcription=self.transcription,
        )

    @property
    def score(self) -> Score:
        """The score, without the answer."""
        return Score(
            id=self.id,
            groups=self.groups,
            extracted=self.extracted,
            values=self.values,
            note=self.note,
            weight=self.weight,
            weights=self.weights,
        )

    def scored(self, score: Score) -> "Result":
        """Return this result with another score."""
        return replace(
            self,
            extracted=score.extracted,
            values=dict(score.values),
            note=score.note,
            weight=score.weight,
            weights=dict(score.weights),
        )


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """A named test set: how it is read, scored and summed up."""

    name: str
    data: type[Any]
    """Dataclass of the section `data` of its recipe (`evaluation/recipe.py`)."""
    load: Callable[[Any], list[Item]]
    """Data section -> items."""
    version: Callable[[Sequence[Item]], str]
    """Names the questions; changes whenever one of them does, or a rule."""
    score: Callable[[Item, str, Sequence[str]], Score]
    """(item, output, replies of a judge) -> score."""
    aggregate: Callable[[Sequence[Result], str], Report]
    """(results of one system, unanswered ones too, version) -> figures."""
    max_new_tokens: int
    """Longest answer, where the recipe does not say."""
    systems: tuple[str, ...] = (MODEL,)
    """Systems that answer, where the recipe does not say."""
    transcribe: bool = True
    """Whether the model is given its own transcriptions, where the recipe does not say."""
    shares: bool = True
    """Whether its figures are shares, 1 being all; else they are in units of their own."""
    closed_sets: bool = False
    """Whether a task always asks for the same choices: its majority is then a class, else the
    place of an option in the list."""
    optional: Callable[[Any, Sequence[Item]], list[Item]] | None = None
    """(data section, answered items) -> the questions of those of their parts that are asked only
    where a recipe names them."""
    official: tuple[str, ...] = ()
    """Readings that are its authors' rules; all others are ours."""
    lower_is_better: bool = False
    details: Callable[[Sequence[Result]], Mapping[str, Any]] | None = None
    """What its scores hold beside the reports of the systems."""
