"""The benchmark `attributes`: can the model hear what the corpus knows of a clip?

For every held-out clip and attribute the model gets one fixed question, whose wording stands in
no prompt pool, and the clip with its transcription withheld. An answer is right if it names the
clip's value and no other value of the closed set.

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
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from desta.config import suggest
from desta.construction.description import describe
from desta.construction.messages import training_messages
from desta.construction.prompts import Prompt
from desta.errors import ConfigError, DataError
from desta.evaluation.base import MODEL, Benchmark, Result
from desta.evaluation.baselines import NO_AUDIO, tell
from desta.evaluation.choices import named_choices
from desta.evaluation.items import Item, Report, Score, count_notes, find, tabulate
from desta.evaluation.metrics import Estimate, accuracy, balanced_accuracy, confusion_matrix
from desta.records import (
    NO_TRANSCRIPTION,
    AudioRef,
    Clip,
    Split,
    read_clips,
)

QUESTIONS = {
    "Language": "Tell me which language you hear being spoken here.",
    "Gender": "Tell me whether you hear a male or a female voice here.",
    "Category": "Tell me which category of sound you hear here.",
    "Sound": "Tell me what exactly you hear making this sound.",
    "Sound class": "Tell me what kind of thing you hear making this sound.",
    "Instrument": "Tell me which instrument you hear being played here.",
}
OTHER_WORDS = {"Female": ("woman", "girl"), "Male": ("man", "boy")}
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


@dataclass(frozen=True, kw_only=True)
class AttributesData:
    """Data section of the recipe of `attributes`."""

    clips: tuple[ClipSet, ...]
    attributes: Mapping[str, tuple[str, ...]]
    """Attributes to ask for, each with its closed set; an empty list: all values in the clips."""
    per_value: int | None = None
    """Clips per value, attribute and group, drawn by `seed`; null: all."""
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
    examples = []
    for attribute, wanted in data.attributes.items():
        choices = _closed_set(attribute, wanted, [clip for _, clip in clips])
        by_group: dict[str, list[tuple[ClipSet, Clip]]] = defaultdict(list)
        for group, clip in clips:
            if clip.attributes.get(attribute) in choices:
                by_group[group.group].append((group, clip))
        for members in by_group.values():
            drawn = _draw(members, attribute, data)
            drawn.sort(key=lambda member: (member[1].duration, member[1].id))  # little padding
            examples += [_example(g, c, attribute, choices, data) for g, c in drawn]
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


def score_item(item: Item, output: str, replies: Sequence[str] = ()) -> Score:
    """Score an answer; there is no judge."""
    named = named_choice(output, item.choices)
    right = float(named == item.target)
    return Score(id=item.id, groups=item.groups, extracted=named, values={ACCURACY: right})


def aggregate(results: Sequence[Result], version: str) -> Report:
    """Return the accuracy over all items, by task and by group."""
    scores = [result.score for result in results]
    cells = tabulate(scores)
    total = find(cells, ACCURACY).estimate
    return Report(
        benchmark="attributes",
        version=version,
        figures={ACCURACY: total} if total else {},
        cells=cells,
        notes=count_notes(scores),
    )


def confusions(results: Sequence[Result]) -> dict[str, Any]:
    """Return the rows `scores`, by task and group."""
    by_cell: dict[tuple[str, str], dict[str, list[Result]]] = defaultdict(dict)
    for result in results:
        cell = by_cell[result.groups["task"], result.groups["group"]]
        cell.setdefault(result.system, []).append(result)
    rows = []
    for (task, group), by_system in sorted(by_cell.items()):
        place = {"task": task, "group": group}
        num_classes = len({r.target for r in next(iter(by_system.values()))})
        chance = Estimate(value=1 / num_classes, standard_error=0.0)
        rows.append({"system": "chance", **place, "balanced_accuracy": chance.to_json()})
        rows += [{"system": s, **place, **_confusion(rs)} for s, rs in by_system.items()]
    return {"scores": rows}


def _confusion(results: Sequence[Result]) -> dict[str, Any]:
    named = {r.id: r.extracted for r in results if r.skipped is None}
    row = {"num_examples": len(results), "num_skipped": len(results) - len(named)}
    if not named:
        return row
    classes = tuple(dict.fromkeys(choice for r in results for choice in r.choices))
    targets = [r.target for r in results if r.id in named]
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


def _draw(
    members: Sequence[tuple[ClipSet, Clip]], attribute: str, data: AttributesData
) -> list[tuple[ClipSet, Clip]]:
    by_value: dict[str, list[tuple[ClipSet, Clip]]] = defaultdict(list)
    for member in members:
        by_value[member[1].attributes[attribute]].append(member)

    def lot(member: tuple[ClipSet, Clip]) -> str:  # by id: other clips do not change the draw
        return hashlib.sha256(f"{data.seed}:{member[1].id}".encode()).hexdigest()

    return [m for group in by_value.values() for m in sorted(group, key=lot)[: data.per_value]]


def _example(
    group: ClipSet, clip: Clip, attribute: str, choices: tuple[str, ...], data: AttributesData
) -> Item:
    question = QUESTIONS.get(attribute, f"Tell me the {attribute.lower()} of what you hear here.")
    heard = AudioRef(audio=str(group.root / clip.audio), text=NO_TRANSCRIPTION)
    prompt = Prompt(text=question, kind="ask")
    item = Item(
        id=f"{group.group}/{attribute}/{clip.id}",
        messages=training_messages(data.system_prompt, prompt, heard),
        question=question,
        target=clip.attributes[attribute],
        choices=choices,
        groups={"task": attribute, "group": group.group},
        transcription=clip.transcription,
    )
    return replace(item, described=tell(item, describe(clip)))


ATTRIBUTES = Benchmark(
    name="attributes",
    data=AttributesData,
    load=load_examples,
    version=lambda items: "2",
    score=score_item,
    aggregate=aggregate,
    max_new_tokens=32,
    systems=(MODEL, NO_AUDIO),
    transcribe=False,  # the words of a clip would give away its language
    closed_sets=True,
    details=confusions,
)
