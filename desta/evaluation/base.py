"""The records of an evaluation (item, score, result), and the parts of a benchmark.

Each file or folder in `benchmarks/` exports one `Benchmark`. Its three pure functions: `load` reads
the questions as their authors publish them, `score` scores one answer by their rules, `aggregate`
turns scored results into the figures that they print. An answer may be scored by several
metrics, for example with a prefix and without it.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from desta.config import to_plain
from desta.evaluation.judge.templates import Template, fill
from desta.evaluation.metrics import Report
from desta.files import UNWRITABLE
from desta.model.backbone.sampling import Sampling
from desta.records import LOCATOR, NO_TRANSCRIPTION, AudioRef, Message
from desta.renamed import system_id, with_metric_ids

MODEL = "model"
"""The system that is evaluated; most other systems are its baselines."""


@dataclass(frozen=True, kw_only=True)
class Item:
    """One question of a benchmark."""

    id: str
    """Unique in the benchmark."""
    messages: tuple[Message, ...]
    """The conversation to be answered, as the benchmark forms it; of a stored result only its
    clips are known."""
    question: str
    """The words of the last message without the clip, to be shown."""
    target: str
    """The right answer; empty where its authors keep it to themselves, or where there is none."""
    choices: tuple[str, ...] = ()
    """The closed set that the target is one of; empty for open questions."""
    groups: Mapping[str, str] = field(default_factory=dict)
    """Dimension -> group, for example `{"task": "sound", "difficulty": "easy"}`."""
    record: Mapping[str, Any] = field(default_factory=dict)
    """Further input of the scorer, by its published names."""
    transcription: str = NO_TRANSCRIPTION
    """What is said in the clips, where the benchmark knows it; for baselines, the model reads
    only what `messages` hold."""
    described: tuple[Message, ...] = ()
    """The conversation in which what the benchmark knows of the clips stands in their place, for
    the baseline that reads it; empty where nothing is known."""

    @property
    def clips(self) -> tuple[AudioRef, ...]:
        """All clips of the conversation, in order."""
        return tuple(ref for message in self.messages for ref in message.audios)


@dataclass(frozen=True, kw_only=True)
class Score:
    """Score of one answer."""

    extracted: str | None = None
    """Answer as it was read; None where nothing could be read in it."""
    values: Mapping[str, float | None] = field(default_factory=dict)
    """Metric -> score; None where it cannot score the answer, which is counted."""
    note: str | None = None
    """Reason why a value is missing or drawn: the same words for every item with it."""
    weight: float = 1.0
    """Weight of the item in a mean: the number of judge replies that it rests on."""
    weights: Mapping[str, float] = field(default_factory=dict)
    """Metric -> weight of the item in its mean, where that is not `weight`."""

    def weight_of(self, metric: str) -> float:
        """Return what the item counts in the mean of a metric."""
        return self.weights.get(metric, self.weight)


@dataclass(frozen=True, kw_only=True)
class Result:
    """The answer of one system to one item, and its score; a line of `results.jsonl`.

    It holds all that a scorer looks at, so that it can be scored again with nothing but itself.
    """

    item: Item
    score: Score = Score()
    system: str = ""
    """Empty until a published results file is named."""
    prompt: tuple[Mapping[str, Any], ...] = ()
    """The messages that the system was given (`Message.to_json`); empty where nobody was asked."""
    output: str | None
    """The raw answer; None where the system could not be asked."""
    skipped: str | None = None
    """Reason why it could not be asked: the same words for every item with it."""
    replies: tuple[str, ...] = ()
    """The verdicts of a judge on the output, as it wrote them."""
    claimed: Mapping[str, bool] = field(default_factory=dict)
    """Metric -> whether a published file itself calls the answer right; not stored."""

    @property
    def id(self) -> str:
        """The id of the item."""
        return self.item.id

    @property
    def audio(self) -> tuple[str, ...]:
        """Paths of the clips, also where this system does not hear them: see `prompt`."""
        return tuple(str(ref.audio) for ref in self.item.clips)

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object, every field written, but for `weights` where there are none."""
        item, score = self.item, self.score
        row: dict[str, Any] = {
            "id": item.id,
            "system": self.system,
            "groups": item.groups,
            "question": item.question,
            "target": item.target,
            "choices": item.choices,
            "record": item.record,
            "audio": self.audio,
            "transcription": item.transcription,
            "prompt": self.prompt,
            "output": self.output,
            "skipped": self.skipped,
            "replies": self.replies,
            "extracted": score.extracted,
            "values": score.values,
            "note": score.note,
            "weight": score.weight,
        }
        if score.weights:
            row["weights"] = score.weights
        plain: dict[str, Any] = to_plain(row)
        return plain

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> "Result":
        """Build a result from a JSON object with the keys and types of `formats.ResultRow`."""
        clips = tuple(AudioRef(audio=path) for path in row["audio"])
        return cls(
            item=Item(
                id=row["id"],
                messages=(Message(role="user", content="", audios=clips),) if clips else (),
                question=row["question"],
                target=row["target"],
                choices=tuple(row["choices"]),
                groups=row["groups"],
                record=row["record"],
                transcription=row["transcription"],
            ),
            score=Score(
                extracted=row.get("extracted"),
                values=with_metric_ids(row.get("values", {})),
                note=row.get("note"),
                weight=row.get("weight", 1.0),
                weights=with_metric_ids(row.get("weights", {})),
            ),
            system=system_id(row["system"]),
            prompt=tuple(row["prompt"]),
            output=row["output"],
            skipped=row.get("skipped"),
            replies=tuple(row.get("replies", ())),
        )


@dataclass(frozen=True, kw_only=True)
class About:
    """A benchmark as `desta benchmarks` shows it."""

    title: str
    """Its questions, in a line."""
    data: str
    """Meaning of `--data`."""
    subsets: str = "-"
    """Parts that can be asked alone, by `--set 'data.subsets=[...]'`."""
    metrics: str
    judge: str = "none"
    """Whether a judge model is needed."""
    published: str = "-"
    """Results files of others that `desta score` reads."""
    licence: str
    source: str
    """Origin: paper or repository."""
    example: str


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether a judge's reply holds a verdict."""

    in_form: bool
    """By the official parser."""
    read: bool
    """By ours, which takes more forms."""


@dataclass(frozen=True, kw_only=True)
class Judging:
    """Use of a judge by a benchmark."""

    templates: Mapping[str, Template]
    """Kind of question -> its default."""
    kind: Callable[[Result], str | None]
    """Kind of prompt that a result needs; None: rules decide."""
    values: Callable[[Result], dict[str, str]]
    """Placeholder -> text."""
    read: Callable[[str, str], Verdict]
    """(kind, reply) -> whether it can be read."""
    sampling: Sampling
    """As the benchmark samples its judge, where it says so."""
    num_replies: int = 1

    def messages(self, result: Result, template: Template) -> tuple[Message, ...]:
        """Return the conversation in which the judge is asked about an answer."""
        values = {name: plain(text) for name, text in self.values(result).items()}
        return form_messages(template.system, fill(template.question, values), [])


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """Options for reading published results files, where these leave something open."""

    subset: str | None = None
    """The part of the benchmark that they answer."""
    references: Path | None = None
    """File of right answers."""
    language: str | None = None
    """Of all answers, code or English name."""


@dataclass(frozen=True, kw_only=True)
class PublishedForm:
    """Results files of a benchmark as others publish them."""

    read: Callable[[Sequence[Path], ReadOptions], list[Result]]
    """Files of one system, which they do not name -> its results, scored."""
    any_order: bool = False
    """Whether ids only count the rows of a file, which may be in any order: then items are told
    apart by `Benchmark.key`."""
    find_references: Callable[[Sequence[Path]], Path | None] | None = None
    """Files -> the one that holds right answers; None where a benchmark has no files of these."""
    words: str = ""
    """Words in names of such files, and of their folders, that tell nothing of a system."""


@dataclass(frozen=True, kw_only=True)
class DetailRow:
    """A row that a benchmark adds to the printed table of figures."""

    name: str
    cells: Mapping[str, Mapping[str, Any] | str | None]
    """System -> figure or text; None where it has none."""
    rule: str = ""
    """Authors of the rule."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """How a benchmark runs that compares whole models: none of its answers has a score alone."""

    keys: tuple[str, ...]
    """Keys of its recipe; any other is refused."""
    run: Callable[[Any, Path], dict[str, Any]]
    """(recipe, folder) -> content of the `scores.json` that it writes there."""
    sentence: Callable[[Mapping[str, Any]], str]
    """`scores.json` -> what is printed."""


def hash_questions(items: Sequence[Item]) -> str:
    """Return a version: the number of questions, and a hash of them and their right answers."""
    lines = sorted(f"{item.id}\t{item.question}\t{item.target}" for item in items)
    digest = hashlib.sha256("\n".join(lines).encode(errors=UNWRITABLE)).hexdigest()[:12]
    return f"{len(items)} items ({digest})"


def _share(item: Item, metric: str) -> tuple[float, float]:
    return 0.0, 1.0


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """A named test set: how it is read, asked, scored and summed up."""

    name: str
    about: About
    data: type[Any]
    """Dataclass of the section `data` of its recipe (`evaluation/recipe.py`)."""
    load: Callable[[Any], list[Item]]
    """Data section -> items."""
    score: Callable[[Item, str, Sequence[str]], Score]
    """(item, output, replies of a judge) -> score."""
    aggregate: Callable[[Sequence[Result]], Report]
    """Results of one system, unanswered ones too -> figures."""
    max_new_tokens: int
    """Longest answer, where the recipe does not say."""
    version: Callable[[Sequence[Item]], str] = hash_questions
    """Names the questions; changes whenever one of them does, or a rule."""
    systems: tuple[str, ...] = (MODEL,)
    """Systems that answer, where the recipe does not say."""
    transcribe: bool = True
    """Whether the model is given its own transcriptions, where the recipe does not say."""
    official: tuple[str, ...] = ()
    """Metrics that are its authors' rules; all others are ours."""
    titles: Mapping[str, str] = field(default_factory=dict)
    """Metric -> its name in tables and reports, where that is not its id."""
    shares: bool = True
    """Whether its figures are shares, 1 being all; else they are in units of their own."""
    lower_is_better: bool = False
    scale: Callable[[Item, str], tuple[float, float]] = _share
    """(item, metric) -> its worst and its best score."""
    closed_sets: bool = False
    """Whether a task always asks for the same choices: its majority is then a class, else the
    place of an option in the list."""
    dimensions: tuple[str, ...] = ()
    """Those that every item has a group of, and `aggregate` needs."""
    find_fault: Callable[[Result], str | None] | None = None
    """Stored result -> why it cannot be scored; None if it can."""
    key: Callable[[Item], tuple[object, ...]] | None = None
    """Tells items apart where ids only count the rows of a file; None: ids do."""
    optional: Callable[[Any, Sequence[Item]], list[Item]] | None = None
    """(data section, answered items) -> the questions of those of their parts that are asked only
    where a recipe names them."""
    published: PublishedForm | None = None
    """None: nobody publishes results of it."""
    judging: Judging | None = None
    """None: rules alone decide."""
    details: Callable[[Sequence[Result]], Mapping[str, Any]] | None = None
    """Results of all systems -> what `scores.json` holds beside the reports of the systems."""
    detail_rows: Callable[[Mapping[str, Any]], list[DetailRow]] | None = None
    """`scores.json` -> what of the details is printed with the figures."""
    check: Check | None = None
    """None: the runner asks its questions, and scores each answer."""

    def takes(self, key: str) -> bool:
        """Return whether its recipe has a use for a key, such as `limit` or `data.path`."""
        name, _, below = key.partition(".")
        if self.check is not None and name not in self.check.keys:
            return False
        return not below or below in {f.name for f in fields(self.data)}

    def title(self, name: str) -> str:
        """Return the name in tables and reports of a metric, or of a figure by one.

        The figure `Average single (rule)` is by the metric `rule`.
        """
        what, sign, metric = name.removesuffix(")").rpartition(" (")
        if sign and metric in self.titles:
            return f"{what} ({self.titles[metric]})"
        return self.titles.get(name, name)

    def rescore(self, result: Result) -> Result:
        """Return a result scored anew, with the replies of a judge that it has."""
        if result.output is None:
            return result
        return replace(result, score=self.score(result.item, result.output, result.replies))


def form_messages(system: str, prompt: str, clips: Sequence[Path | str]) -> tuple[Message, ...]:
    """Return a conversation of a system prompt, where there is one, and a question about clips.

    Args:
        system: empty for none.
        prompt: holds one locator per clip.
        clips: paths; what is said in them is withheld.
    """
    heard = tuple(AudioRef(audio=str(clip), text=NO_TRANSCRIPTION) for clip in clips)
    turn = Message(role="user", content=prompt, audios=heard)
    return (Message(role="system", content=system), turn) if system else (turn,)


def plain(text: str) -> str:
    """Return text that asks for no clip, whatever its author wrote in it."""
    return text.replace(LOCATOR, "")
