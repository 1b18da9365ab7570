"""The benchmark `attributes`: can the model hear what the corpus knows of a clip?

For every held-out clip and attribute the model gets one fixed question, whose wording stands in
no prompt pool, and the clip with its transcription withheld. An answer is right if it names the
clip's value and no other value of the closed set. With `data.compare` it also gets two clips and
is asked whether the number of the second is higher.

Its `scores.json` also holds

    scores: [{system, task, group, num_examples, num_skipped,
              accuracy: {value, standard_error}, balanced_accuracy: {value, standard_error},
              classes: [...],                rows of the confusion matrix
              confusion: [[...]],            columns: the classes, then "none"
              named: {item id: class or null}}]

A cell none of whose clips could be heard ends at `num_skipped`. The row of "chance" has nothing but
a balanced accuracy: 1 / number of classes that occur as targets.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from desta.config import suggest
from desta.construction.description import describe_clip
from desta.construction.messages import training_messages
from desta.construction.prompts import Prompt
from desta.errors import ConfigError, DataError
from desta.evaluation.base import MODEL, About, Benchmark, DetailRow, Item, Result, Score
from desta.evaluation.baselines import NO_AUDIO, tell
from desta.evaluation.metrics import (
    Estimate,
    Report,
    accuracy,
    balanced_accuracy,
    confusion_matrix,
    find,
    named_choices,
)
from desta.evaluation.tabulate import count_notes, tabulate
from desta.records import NO_TRANSCRIPTION, AudioRef, Clip, Split, read_clips

QUESTIONS = {
    "Language": "Tell me which language you hear being spoken here.",
    "Gender": "Tell me whether you hear a male or a female voice here.",
    "Category": "Tell me which category of sound you hear here.",
    "Sound": "Tell me what exactly you hear making this sound.",
    "Sound class": "Tell me what kind of thing you hear making this sound.",
    "Instrument": "Tell me which instrument you hear being played here.",
    "Instrument family": "Tell me to which family the instruments that you hear here belong.",
    "Number of instruments": "Tell me how many instruments you hear playing here.",
    "Second note": "Tell me whether the second note that you hear is higher or lower.",
    "Tempo": "Tell me whether the tempo that you hear is slow, medium or fast.",
    "Pitch": "Tell me whether the note that you hear is low, medium or high.",
}
COMPARISONS = {"MIDI note": "Is the second note higher or lower than the first?"}
"""Attribute whose values are numbers -> question about two clips."""
HIGHER_LOWER = ("Higher", "Lower")
OTHER_WORDS = {
    "Female": ("woman", "girl"),
    "Male": ("man", "boy"),
    **{"1": ("one",), "2": ("two",), "3": ("three",)},
}
"""Words that count as naming a value, beside the value itself."""
ACCURACY = "accuracy"


@dataclass(frozen=True, kw_only=True)
class ClipSet:
    """Held-out clips that are scored together."""

    path: Path
    """A `clips.jsonl`."""
    root: Path
    """Folder that the clips' audio paths are relative to."""
    group: str = "held-out"
    """Name of the clips in scores and reports, for example `across corpora`."""
    split: Split = "test"


Member = tuple[ClipSet, Clip]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Questions about two clips of a group; no clip is in two of them."""

    pairs: int
    """Most questions of a group; in every other one the second number is higher."""
    least: float = 1.0
    """Smallest difference of the two numbers."""

    def __post_init__(self) -> None:
        for name in ("pairs", "least"):
            if getattr(self, name) <= 0:
                raise ConfigError(
                    f"data.compare: {name} = {getattr(self, name)} leaves nothing to ask",
                    fix="give more than 0",
                )


@dataclass(frozen=True, kw_only=True)
class AttributesData:
    """Data section of the recipe of `attributes`."""

    clips: tuple[ClipSet, ...]
    attributes: Mapping[str, tuple[str, ...]]
    """Attributes to ask for, each with its closed set; an empty list: all values in the clips."""
    per_value: int | None = None
    """Clips per value, attribute and group, drawn by `seed`; null: all."""
    compare: Mapping[str, Comparison] = field(default_factory=dict)
    """Attributes of `COMPARISONS` to ask of two clips."""
    system_prompt: str = ""
    """As in training; empty: none."""
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("clips", "attributes"):
            if not getattr(self, name):
                raise ConfigError(f"data.{name} is empty", fix=f"list at least one under `{name}:`")
        if self.per_value is not None and self.per_value < 1:
            raise ConfigError(
                f"data.per_value = {self.per_value} leaves nothing to do", fix="give 1 or more"
            )
        for attribute in self.compare:
            if attribute not in COMPARISONS:
                raise ConfigError(
                    f'data.compare: there is no question about two clips for "{attribute}"',
                    fix=suggest(attribute, [*COMPARISONS]),
                )


def load_examples(data: AttributesData) -> list[Item]:
    """Turn held-out clips into questions, ordered by attribute, group and duration.

    Raises:
        ConfigError: an attribute, or a value of its closed set, that no clip has.
        DataError: a list of clips is missing or broken, or holds a clip twice.
    """
    clips = [
        (group, clip)
        for group in data.clips
        for clip in read_clips(group.path)
        if clip.split == group.split
    ]
    examples = [
        example
        for attribute, wanted in data.attributes.items()
        for example in _closed_questions(clips, attribute, wanted, data)
    ]
    for attribute, comparison in data.compare.items():
        examples += _comparisons(clips, attribute, comparison, data)
    for id, count in Counter(example.id for example in examples).items():
        if count > 1:
            raise DataError(
                f"example {id!r} occurs {count} times", fix="list every clip once per group"
            )
    return examples


def named_choice(answer: str, choices: Sequence[str]) -> str | None:
    """Return the one choice whose words the answer holds; None if it holds none, or several.

    Case and punctuation do not count. A longer choice hides the shorter ones inside it.

    >>> named_choice("It is a bass drum.", ["Drum", "Bass drum"])
    'Bass drum'
    >>> named_choice("French or Danish", ["French", "Danish"]) is None
    True
    """
    named = named_choices(answer, choices, OTHER_WORDS)
    return named.pop() if len(named) == 1 else None


def score(item: Item, output: str, replies: Sequence[str] = ()) -> Score:
    """Score an answer."""
    named = named_choice(output, item.choices)
    return Score(extracted=named, values={ACCURACY: float(named == item.target)})


def aggregate(results: Sequence[Result]) -> Report:
    """Return the accuracy over all items, by task and by group."""
    cells = tabulate(results)
    total = find(cells, ACCURACY).estimate
    return Report(
        headline={ACCURACY: total} if total else {},
        cells=cells,
        remarks=count_notes(results),
    )


def confusions(results: Sequence[Result]) -> dict[str, Any]:
    """Return the rows `scores`, by task and group."""
    by_cell: dict[tuple[str, str], dict[str, list[Result]]] = defaultdict(dict)
    for result in results:
        groups = result.item.groups
        cell = by_cell[groups["task"], groups["group"]]
        cell.setdefault(result.system, []).append(result)
    rows = []
    for (task, group), by_system in sorted(by_cell.items()):
        place = {"task": task, "group": group}
        num_classes = len({r.item.target for r in next(iter(by_system.values()))})
        chance = Estimate(value=1 / num_classes, standard_error=0.0)
        rows.append({"system": "chance", **place, "balanced_accuracy": chance.to_json()})
        rows += [{"system": s, **place, **_confusion(rs)} for s, rs in by_system.items()]
    return {"scores": rows}


def _confusion(results: Sequence[Result]) -> dict[str, Any]:
    named = {r.id: r.score.extracted for r in results if r.skipped is None}
    row = {"num_examples": len(results), "num_skipped": len(results) - len(named)}
    if not named:
        return row
    classes = tuple(dict.fromkeys(choice for r in results for choice in r.item.choices))
    targets = [r.item.target for r in results if r.id in named]
    confusion = confusion_matrix(targets, list(named.values()), classes)
    return {
        **row,
        "accuracy": accuracy(confusion).to_json(),
        "balanced_accuracy": balanced_accuracy(confusion).to_json(),
        "classes": list(classes),
        "confusion": confusion.tolist(),
        "named": named,
    }


def _closed_set(attribute: str, wanted: Sequence[str], clips: Iterable[Clip]) -> tuple[str, ...]:
    found = {clip.attributes[attribute] for clip in clips if attribute in clip.attributes}
    if not found:
        raise ConfigError(
            f'no clip to be asked about has the attribute "{attribute}"',
            fix="check its spelling, the splits and the lists of clips",
        )
    for value in wanted:
        if value not in found:
            raise ConfigError(
                f'no clip has {attribute} "{value}"', fix=suggest(value, sorted(found))
            )
    choices = tuple(sorted(wanted or found))
    if len(choices) < 2:
        raise ConfigError(
            f'{attribute} has one value only, "{choices[0]}": any answer would do',
            fix="ask for attributes that differ between clips",
        )
    return choices


def _closed_questions(
    clips: Sequence[Member], attribute: str, wanted: Sequence[str], data: AttributesData
) -> Iterator[Item]:
    """Yield the questions about one attribute."""
    choices = _closed_set(attribute, wanted, [clip for _, clip in clips])
    question = QUESTIONS.get(attribute, f"Tell me the {attribute.lower()} of what you hear here.")
    asked = [member for member in clips if member[1].attributes.get(attribute) in choices]
    for members in _by_group(asked):
        by_value: dict[str, list[Member]] = defaultdict(list)
        for member in members:
            by_value[member[1].attributes[attribute]].append(member)
        drawn = [m for same in by_value.values() for m in _shuffled(same, data)[: data.per_value]]
        drawn.sort(key=lambda member: (member[1].duration, member[1].id))  # little padding
        for member in drawn:
            target = member[1].attributes[attribute]
            yield _item([member], question, attribute, target, choices, data)


def _comparisons(
    clips: Sequence[Member], attribute: str, comparison: Comparison, data: AttributesData
) -> Iterator[Item]:
    """Yield the questions about two clips.

    Raises:
        ConfigError: a value is no number, or no two clips differ enough.
    """
    num_items = 0
    for members in _by_group([m for m in clips if attribute in m[1].attributes]):
        shuffled = _shuffled(members, data)
        pairs = (
            sorted(pair, key=lambda member: _number(member[1], attribute))
            for pair in zip(shuffled[::2], shuffled[1::2], strict=False)
        )
        far = (p for p in pairs if _distance(*p, attribute=attribute) >= comparison.least)
        for number, (low, high) in enumerate(islice(far, comparison.pairs)):
            rises = number % 2 == 0
            yield _item(
                [low, high] if rises else [high, low],
                COMPARISONS[attribute],
                f"{attribute}, two clips",
                HIGHER_LOWER[0 if rises else 1],
                HIGHER_LOWER,
                data,
            )
            num_items += 1
    if not num_items:
        raise ConfigError(
            f'data.compare: no two clips of a group differ by {comparison.least} in "{attribute}"',
            fix="check its spelling, the splits and the lists of clips",
        )


def _number(clip: Clip, attribute: str) -> float:
    value = clip.attributes[attribute]
    try:
        return float(value)
    except ValueError:
        raise ConfigError(
            f'data.compare: {attribute} of {clip.id} is "{value}", which is no number',
            fix="compare attributes of which every value is one",
        ) from None


def _distance(low: Member, high: Member, *, attribute: str) -> float:
    return _number(high[1], attribute) - _number(low[1], attribute)


def _by_group(members: Iterable[Member]) -> Iterable[list[Member]]:
    by_group: dict[str, list[Member]] = defaultdict(list)
    for member in members:
        by_group[member[0].group].append(member)
    return by_group.values()


def _shuffled(members: Iterable[Member], data: AttributesData) -> list[Member]:
    """Return clips in an order that no other clip changes."""

    def lot(member: Member) -> str:
        return hashlib.sha256(f"{data.seed}:{member[1].id}".encode()).hexdigest()

    return sorted(members, key=lot)


def _item(
    members: Sequence[Member],
    question: str,
    task: str,
    target: str,
    choices: tuple[str, ...],
    data: AttributesData,
) -> Item:
    heard = [AudioRef(audio=str(g.root / c.audio), text=NO_TRANSCRIPTION) for g, c in members]
    group = members[0][0].group
    item = Item(
        id=f"{group}/{task}/{'@'.join(clip.id for _, clip in members)}",
        messages=training_messages(data.system_prompt, Prompt(text=question, kind="ask"), *heard),
        question=question,
        target=target,
        choices=choices,
        groups={"task": task, "group": group},
        transcription="\n".join(clip.transcription for _, clip in members),
    )
    return replace(item, described=tell(item, *(describe_clip(clip) for _, clip in members)))


def _find_fault(result: Result) -> str | None:
    for name, value in (("target", result.item.target), ("extracted", result.score.extracted)):
        if value not in (*result.item.choices, None):
            return f"{name} is {value!r}, which is none of the choices"
    return None


def _detail_rows(scores: Mapping[str, Any]) -> list[DetailRow]:
    """Return the balanced accuracy of every task and group, with what it rests on."""
    rows: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
    for cell in scores["scores"]:
        figure = dict(cell.get("balanced_accuracy", {}))
        if (num_items := cell.get("num_examples")) is not None:
            figure |= {"num_scored": num_items - cell["num_skipped"], "num_items": num_items}
        rows[f"{cell['task']}, {cell['group']}: balanced accuracy"][cell["system"]] = figure
    return [DetailRow(name=name, cells=cells, rule="ours") for name, cells in rows.items()]


BENCHMARK = Benchmark(
    name="attributes",
    about=About(
        title="what a corpus knows of its held-out clips, asked with closed sets",
        data="none; `data.clips` (files of `desta describe`) and `data.attributes` of its recipe",
        metrics="accuracy, and balanced accuracy for each attribute and group of clips",
        licence="that of the corpora",
        source="your own corpora",
        example=(
            "desta eval attributes --model MODEL "
            "--set 'data.clips=[{path: clips.jsonl, root: CORPUS}]' "
            "--set 'data.attributes={Gender: []}'"
        ),
    ),
    data=AttributesData,
    load=load_examples,
    version=lambda items: "2",
    score=score,
    aggregate=aggregate,
    max_new_tokens=32,
    systems=(MODEL, NO_AUDIO),
    transcribe=False,  # the words of a clip would give away its language
    closed_sets=True,
    dimensions=("task", "group"),
    find_fault=_find_fault,
    details=confusions,
    detail_rows=_detail_rows,
)
