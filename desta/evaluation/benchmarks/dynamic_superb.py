"""Dynamic-SUPERB: many small classification tasks about speech and sounds.

Phase 1 has 55 instances (a task on a corpus) in six dimensions (Huang et al., ICASSP 2024;
github.com/dynamic-superb/dynamic-superb); the 48 without Audio are what papers about speech report.
Its metric is equality of lower-cased strings, of nothing else: a full stop too many is a wrong
answer. The reading `consecutive words` is more lenient: the label's words stand in the answer one
after another, and no other option of the instruction does.

The lists name the Hub path of every instance and the revision that it had in November 2023: the
instances on the Hub were cut to 200 rows later.
"""

import csv
import functools
import importlib.resources
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from desta.errors import DataError, need
from desta.evaluation.answered import Answered, why_no_text
from desta.evaluation.choices import check_offered, named_choices
from desta.evaluation.items import (
    Item,
    Report,
    Score,
    ask,
    check_unique,
    count_notes,
    fetch,
    field_of,
    figure,
    find,
    join_notes,
    plain,
    read_published,
    rows,
    tabulate,
    text_of,
)
from desta.evaluation.metrics import Estimate, average
from desta.records import LOCATOR
from desta.sources.base import Skipped
from desta.sources.hub import HubRow, column_names, read_parquet_rows

EXACT = "exact match"
"""Official reading."""
LENIENT = "consecutive words"
"""Normalised as Whisper's authors do; an answer that lists several options is wrong."""
SYSTEM = (
    "Focus on the audio clips and instruction. Choose one of the options without any explanation."
)
"""As DeSTA2.5-Audio was asked; the benchmark itself prescribes no system prompt."""
NO_OUTPUT = "no output"
UNKNOWN = "unknown"
"""Dimension of instances that no list knows."""
_METADATA = "metadata.json"
_OPTIONS = re.compile(r"the answer (?:could|can|may|should) be (.+?)[.?!]?\s*$", re.IGNORECASE)
_TO = "read Dynamic-SUPERB"


@dataclass(frozen=True, kw_only=True)
class Instance:
    """A task on a corpus."""

    name: str
    dimension: str
    """Content, Degradation, Paralinguistics, Semantics, Speaker, Audio; in phase 2 the category."""
    path: str
    """Data set on the Hub."""
    revision: str
    """Commit of that data set; empty where the list names none."""
    in_paper: bool = True
    """False for two instances that were added to phase 1 after its paper."""
    note: str = ""


@functools.cache
def phase1() -> tuple[Instance, ...]:
    """Return the 57 instances of phase 1, 55 of them in its paper."""
    asset = importlib.resources.files("desta") / "assets/benchmarks/dynamic_superb_phase1.csv"
    table = csv.DictReader(asset.read_text(encoding="utf-8").splitlines())
    return tuple(
        Instance(
            name=row["instance"],
            dimension=row["dimension"],
            path=f"DynamicSuperb/{row['instance']}",
            revision=row["revision"],
            in_paper=row["in_paper"] == "yes",
        )
        for row in table
    )


def read_phase2(path: Path) -> list[Instance]:
    """Read the task list of phase 2, `DynamicSUPERB_ConfirmedTasks.csv`.

    An instance whose revision the list leaves out is one of phase 1.

    Raises:
        DataError: the file is missing, or lacks a column.
    """
    columns = ("InstanceName", "HuggingfacePath", "Version", "Category", "Note")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            table = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}", fix="give the task list") from error
    if not table or any(column not in table[0] for column in columns):
        raise DataError(
            f"{path} lacks one of the columns {', '.join(columns)}",
            fix="give the task list of phase 2 as its authors publish it",
        )
    instances = [
        Instance(
            name=row["InstanceName"].strip(),
            dimension=row["Category"].strip(),
            path=row["HuggingfacePath"].strip(),
            revision=row["Version"].strip(),
            note=row["Note"].strip(),
        )
        for row in table
    ]
    check_unique((instance.name for instance in instances), str(path))
    return instances


def fetch_instance(instance: Instance) -> Path:
    """Return the folder of an instance of the Hub, at its revision.

    Raises:
        ConfigError: its list names no commit.
        DataError: the Hub cannot be reached.
    """
    return fetch(instance.path, instance.revision, ["*.parquet", "**/*.parquet"])


def load_items(folder: Path, instance: Instance) -> list[Item]:
    """Read the questions of an instance.

    Args:
        folder: what the official preprocessing writes (`metadata.json` beside the clips), or the
            data set as it comes from the Hub (`test-*.parquet`).
        instance: which one it is.

    Raises:
        DataError: neither is there, or a row is broken.
    """
    if (folder / _METADATA).is_file():
        items = _preprocessed(folder, instance)
    elif shards := sorted(folder.glob("**/test-*.parquet")):
        items = [item for shard in shards for item in _shard(shard, folder, instance)]
    else:
        raise DataError(
            f"{folder} holds neither {_METADATA} nor test-*.parquet",
            fix=f"download {instance.path} at revision {instance.revision or 'of your choice'}",
        )
    check_unique((item.id for item in items), str(folder))
    return items


def exact_match(output: str, label: str) -> bool:
    """Tell whether an answer is right by the official rule: not even space is taken off."""
    return output.lower() == label.lower()


def consecutive_words(output: str, label: str, options: Sequence[str]) -> bool:
    """Tell whether an answer holds the label's words one after another, and no other option.

    A longer option hides the shorter ones inside it: "not noisy" does not name "noisy" where both
    are options.

    Args:
        output: what the model wrote.
        label: the right option.
        options: all of them; may be empty, or lack the label.
    """
    normalise = _normaliser()
    right = normalise(label).strip()
    named = named_choices(normalise(output), list({right, *map(_strip(normalise), options)}))
    return named == {right}


def options_of(instruction: str) -> tuple[str, ...]:
    """Return the options of an instruction that ends in `The answer could be a, b, or c`."""
    match = _OPTIONS.search(instruction.strip())
    if not match:
        return ()
    parts = re.split(r",\s*(?:or\s+)?|\s+or\s+", match.group(1))
    return tuple(part.strip(" \"'") for part in parts if part.strip(" \"'"))


def score_item(item: Item, output: str | None) -> Score:
    """Score an answer by both readings."""
    named = output is not None
    return Score(
        id=item.id,
        groups=item.groups,
        extracted=output.strip() if output is not None else None,
        values={
            EXACT: float(exact_match(output or "", item.target)) if named else None,
            LENIENT: float(consecutive_words(output or "", item.target, item.choices))
            if named
            else None,
        },
        note=join_notes(None if named else NO_OUTPUT, check_offered(item.target, item.choices)),
    )


def aggregate(scores: Sequence[Score], version: str = "unknown") -> Report:
    """Return accuracy over all answers, by instance, and by dimension the mean over its instances.

    `Speech` is the mean over the instances of all dimensions but Audio; with all of phase 1 these
    are 48.
    """
    cells = tabulate(scores)
    dimensions = {s.groups["instance"]: s.groups["dimension"] for s in scores}
    figures: dict[str, Estimate] = {}
    for reading in (EXACT, LENIENT):
        instances = [
            cell
            for cell in cells
            if cell.reading == reading and cell.dimension == "instance" and cell.estimate
        ]
        parts = {
            dimension: [cell for cell in instances if dimensions[cell.group] == dimension]
            for dimension in dict.fromkeys(dimensions.values())
        }
        parts["Speech"] = [c for c in instances if dimensions[c.group] not in ("Audio", UNKNOWN)]
        for name, these in parts.items():
            if these:
                mean = average([cell.estimate for cell in these if cell.estimate])
                figures[f"{name}, {len(these)} instances ({reading})"] = figure(mean, these)
        total = find(cells, reading)
        if total.estimate:
            figures[reading] = figure(total.estimate, [total])
    return Report(
        benchmark="dynamic_superb",
        version=version,
        figures=figures,
        cells=cells,
        notes=count_notes(scores),
    )


def read_answered(path: Path) -> list[Answered]:
    """Read a results file of one instance.

    Its form is `{"predictions": [{id, pred, label, instruction}]}`, or a bare list of
    `{file, prediction, label}`. The instance is told by the ids, which begin with its name, or by
    the path of the file. Where an instruction lists no options, they are the labels that occur.

    Raises:
        DataError: the file is missing, broken or in another form, or has an id twice.
    """
    value = read_published(path)
    if isinstance(value, dict):
        value = field_of(value, "predictions", list, str(path))
    records = rows(value, f"{path}: predictions")
    answered = []
    labels = tuple(sorted({label for r in records if isinstance(label := r.get("label"), str)}))
    for record in records:
        id = field_of(record, "id" if "id" in record else "file", str, f"{path}: a prediction")
        where = f"{path}: {id}"
        instance = _instance_of(id, path)
        instruction = text_of(record, "instruction") or ""
        label = field_of(record, "label", str, where)
        item = _item(id, instruction, "", label, [Path(id)], instance)
        item = item if item.choices else replace(item, choices=labels)
        output = text_of(record, "pred", "prediction")
        answered.append(
            Answered(
                item=item,
                output=output,
                score=score_item(item, output),
                skipped=why_no_text(record, "pred", "prediction"),
            )
        )
    check_unique((a.item.id for a in answered), str(path))
    return answered


def score_file(path: Path) -> Report:
    """Score a results file of one instance; see `read_answered`."""
    scores = [answered.score for answered in read_answered(path)]
    return aggregate(scores, f"{len(scores)} predictions")


def _preprocessed(folder: Path, instance: Instance) -> list[Item]:
    table = read_published(folder / _METADATA)
    if not isinstance(table, dict):
        raise DataError(
            f"{folder / _METADATA} is not a table of clips", fix="preprocess that instance again"
        )
    items = []
    for name, record in table.items():
        where = f"{folder / _METADATA}: {name}"
        instruction = field_of(record, "instruction", str, where)
        label = field_of(record, "label", str, where)
        text = text_of(record, "text") or ""
        items.append(_item(name, instruction, text, label, _clips(folder / name), instance))
    return items


def _clips(first: Path) -> list[Path]:
    """Return the clips of a row: phase 1 calls a second one `_pair`, phase 2 `_pair2`, `_pair3`."""
    pairs = [first.with_name(f"{first.stem}_pair{n}{first.suffix}") for n in ("", 2, 3, 4, 5)]
    return [first, *(pair for pair in pairs if pair.is_file())]


def _shard(shard: Path, root: Path, instance: Instance) -> list[Item]:
    there = column_names(shard, to=_TO)
    columns = ["file", "instruction", "label", *(["text"] if "text" in there else [])]
    audios = ["audio", *sorted(name for name in there if re.fullmatch(r"audio\d", name))]
    sounds = [
        list(read_parquet_rows(shard, root, columns, audio=audio, to=_TO)) for audio in audios
    ]
    items = []
    for clips in zip(*sounds, strict=True):
        heard = [_heard(row, shard) for row in clips]
        values = heard[0].values
        where = f"{shard}: {heard[0].id}"
        instruction = field_of(values, "instruction", str, where)
        label = field_of(values, "label", str, where)
        paths = [root / row.audio for row in heard]
        id = f"{instance.name}/{heard[0].id}"
        items.append(_item(id, instruction, values.get("text") or "", label, paths, instance))
    return items


def _heard(row: HubRow | Skipped, shard: Path) -> HubRow:
    if isinstance(row, Skipped):
        raise DataError(f"{shard}: row {row.id} holds no sound", fix="fetch that file again")
    return row


def _item(
    id: str, instruction: str, text: str, label: str, clips: Sequence[Path], instance: Instance
) -> Item:
    asked = f"{instruction}\nInput: {text}" if text else instruction
    return Item(
        id=id,
        messages=ask(SYSTEM, f"{LOCATOR * len(clips)}\n\n{plain(asked)}", clips),
        question=asked,
        target=label,
        choices=options_of(instruction),
        groups={"instance": instance.name, "dimension": instance.dimension},
    )


def _instance_of(id: str, path: Path) -> Instance:
    """Return the instance that an id begins with, or else the one that the file's path names."""
    names = [i for i in phase1() if id.startswith(f"{i.name}_")]
    names = names or [i for i in phase1() if i.name in f"{path.parent.name}/{path.name}"]
    if names:
        return max(names, key=lambda instance: len(instance.name))
    return Instance(name="unknown", dimension=UNKNOWN, path="", revision="")


@functools.cache
def _normaliser() -> Callable[[str], str]:
    basic = need("whisper_normalizer.basic", extra="eval", to="score Dynamic-SUPERB leniently")
    normalise: Callable[[str], str] = basic.BasicTextNormalizer()
    return normalise


def _strip(normalise: Callable[[str], str]) -> Callable[[str], str]:
    return lambda text: normalise(text).strip()
