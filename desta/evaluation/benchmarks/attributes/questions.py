"""Questions about held-out clips: one attribute of one clip, or a number of two."""

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

from desta.config import suggest
from desta.construction.description import describe_clip
from desta.construction.messages import training_messages
from desta.construction.prompts import Prompt
from desta.errors import ConfigError, DataError
from desta.evaluation.base import Item
from desta.evaluation.baselines import tell
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
    min_seconds: float = 0.0
    """Shortest clip that is asked about: a single word hardly tells its language."""

    def __post_init__(self) -> None:
        if not 0 <= self.min_seconds < math.inf:
            raise ConfigError(f"min_seconds = {self.min_seconds}", fix="give 0 or more")


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
        if clip.split == group.split and clip.duration >= group.min_seconds
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
