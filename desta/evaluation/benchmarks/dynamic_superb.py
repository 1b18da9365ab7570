"""Dynamic-SUPERB: many small classification tasks about speech and sounds.

Phase 1 has 55 instances (a task on a corpus) in six dimensions (Huang et al., ICASSP 2024;
github.com/dynamic-superb/dynamic-superb); the 48 without Audio are what papers about speech report.
Its metric is equality of lower-cased strings, of nothing else: a full stop too many is a wrong
answer. The metric `consecutive_words` is more lenient: the label's words stand in the answer one
after another, and no other option of the instruction does.

The lists name the Hub path of every instance and the revision that it had in November 2023: the
instances on the Hub were cut to 200 rows later.
"""

import csv
import functools
import importlib.resources
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from desta.errors import DataError, need
from desta.evaluation.base import (
    About,
    Benchmark,
    Item,
    PublishedForm,
    ReadOptions,
    Result,
    Score,
    form_messages,
    plain,
)
from desta.evaluation.hub import HUB, fetch
from desta.evaluation.metrics import (
    Estimate,
    Report,
    average,
    check_offered,
    figure,
    find,
    named_choices,
)
from desta.evaluation.published_files import (
    answered,
    check_unique,
    field_of,
    read_each,
    read_json_values,
    rows,
    text_of,
    why_no_text,
)
from desta.evaluation.recipe import BenchmarkFiles
from desta.evaluation.tabulate import count_notes, tabulate
from desta.records import LOCATOR
from desta.sources.hub import column_names, read_parquet_rows

EXACT_MATCH = "exact_match"
"""Official metric."""
CONSECUTIVE_WORDS = "consecutive_words"
"""Normalised as Whisper's authors do; an answer that lists several options is wrong."""
SYSTEM = (
    "Focus on the audio clips and instruction. Choose one of the options without any explanation."
)
"""As DeSTA2.5-Audio was asked; the benchmark itself prescribes no system prompt."""
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
    """Content, Degradation, Paralinguistics, Semantics, Speaker or Audio."""
    path: str
    """Data set on the Hub."""
    revision: str
    """Commit of that data set."""
    in_paper: bool = True
    """False for two instances that were added to phase 1 after its paper."""


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


def load(files: BenchmarkFiles) -> list[Item]:
    """Read the questions of the instances that a recipe names, or of the paper's."""
    known = {instance.name: instance for instance in phase1()}
    chosen = files.chosen(list(known))
    if not files.subsets:
        chosen = [name for name in chosen if known[name].in_paper]
    if files.path == HUB:
        folders = {name: fetch_instance(known[name]) for name in chosen}
    else:
        folders = {name: Path(files.path, name) for name in chosen}
        missing = [name for name, folder in folders.items() if not folder.is_dir()]
        if missing:
            raise DataError(
                f"{files.path} has no folder for {len(missing)} of {len(chosen)} instances, "
                f"for example {missing[0]}",
                fix=f"name those that are there as `data.subsets`, or give data: {HUB}",
            )
    return [item for name, folder in folders.items() for item in load_items(folder, known[name])]


def load_optional(files: BenchmarkFiles, asked: Sequence[Item]) -> list[Item]:
    """Read the questions of the instances that came after the paper, where they were answered."""
    later = {instance.name for instance in phase1() if not instance.in_paper}
    named = tuple(sorted(later & {item.groups["instance"] for item in asked}))
    return load(replace(files, subsets=named)) if named else []


def fetch_instance(instance: Instance) -> Path:
    """Return the folder of an instance of the Hub, at its revision.

    Raises:
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
    """Return whether an answer is right by the official rule: not even space is taken off."""
    return output.lower() == label.lower()


def consecutive_words(output: str, label: str, options: Sequence[str]) -> bool:
    """Return whether an answer holds the label's words one after another, and no other option.

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


def score(item: Item, output: str, replies: Sequence[str] = ()) -> Score:
    """Score an answer by both metrics."""
    return Score(
        extracted=output.strip(),
        values={
            EXACT_MATCH: float(exact_match(output, item.target)),
            CONSECUTIVE_WORDS: float(consecutive_words(output, item.target, item.choices)),
        },
        note=check_offered(item.target, item.choices),
    )


def aggregate(results: Sequence[Result]) -> Report:
    """Return accuracy over all answers, by instance, and by dimension the mean over its instances.

    `Speech` is the mean over the instances of all dimensions but Audio; with all of phase 1 these
    are 48.
    """
    cells = tabulate(results)
    groups = [result.item.groups for result in results]
    dimensions = {names["instance"]: names["dimension"] for names in groups}
    figures: dict[str, Estimate] = {}
    for metric in (EXACT_MATCH, CONSECUTIVE_WORDS):
        instances = [
            cell
            for cell in cells
            if cell.metric == metric and cell.dimension == "instance" and cell.estimate
        ]
        parts = {
            dimension: [cell for cell in instances if dimensions[cell.group] == dimension]
            for dimension in dict.fromkeys(dimensions.values())
        }
        parts["Speech"] = [c for c in instances if dimensions[c.group] not in ("Audio", UNKNOWN)]
        for name, these in parts.items():
            if these:
                mean = average([cell.estimate for cell in these if cell.estimate])
                figures[f"{name}, {len(these)} instances ({metric})"] = figure(mean, these)
        total = find(cells, metric)
        if total.estimate:
            figures[metric] = figure(total.estimate, [total])
    return Report(
        headline=figures,
        cells=cells,
        remarks=count_notes(results),
    )


def read_published(paths: Sequence[Path], options: ReadOptions) -> list[Result]:
    """Read results files, each of one instance.

    Their form is `{"predictions": [{id, pred, label, instruction}]}`, or a bare list of
    `{file, prediction, label}`. The instance is told by the ids, which begin with its name, or by
    the path of the file. Where an instruction lists no options, they are the labels that occur.

    Raises:
        DataError: a file is missing, broken or in another form, or has an id twice.
    """
    return read_each(paths, _read_file, _names)


def _names(result: Result, row: int) -> list[tuple[object, bool]]:
    """Return the id without the name of the instance: some files begin with it, some do not."""
    instance = result.item.groups["instance"]
    return [((instance, Path(result.id).stem.removeprefix(f"{instance}_")), False)]


def _read_file(path: Path) -> list[Result]:
    value = read_json_values(path)
    if isinstance(value, dict):
        value = field_of(value, "predictions", list, str(path))
    records = rows(value, f"{path}: predictions")
    labels = tuple(sorted({label for r in records if isinstance(label := r.get("label"), str)}))
    results = [_read_answer(record, labels, path) for record in records]
    check_unique((result.id for result in results), str(path))
    return results


def _read_answer(record: Mapping[str, Any], labels: tuple[str, ...], path: Path) -> Result:
    id = field_of(record, "id" if "id" in record else "file", str, f"{path}: a prediction")
    instruction = text_of(record, "instruction") or ""
    label = field_of(record, "label", str, f"{path}: {id}")
    item = _item(id, instruction, "", label, [Path(id)], _instance_of(id, path))
    item = item if item.choices else replace(item, choices=labels)
    output = text_of(record, "pred", "prediction")
    return answered(item, output, score, instead=why_no_text(record, "pred", "prediction"))


def _preprocessed(folder: Path, instance: Instance) -> list[Item]:
    table = read_json_values(folder / _METADATA)
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
    for heard in zip(*sounds, strict=True):
        values = heard[0].values
        where = f"{shard}: {heard[0].id}"
        instruction = field_of(values, "instruction", str, where)
        label = field_of(values, "label", str, where)
        paths = [root / row.audio for row in heard]
        id = f"{instance.name}/{heard[0].id}"
        items.append(_item(id, instruction, values.get("text") or "", label, paths, instance))
    return items


def _item(
    id: str, instruction: str, text: str, label: str, clips: Sequence[Path], instance: Instance
) -> Item:
    asked = f"{instruction}\nInput: {text}" if text else instruction
    return Item(
        id=id,
        messages=form_messages(SYSTEM, f"{LOCATOR * len(clips)}\n\n{plain(asked)}", clips),
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


BENCHMARK = Benchmark(
    name="dynamic_superb",
    about=About(
        title="tasks of speech processing as questions, Phase 1",
        data="folder with one folder for each instance, or `hub`",
        subsets="names of instances; if none is named, the 55 of the paper",
        metrics="accuracy of equal strings for each task and dimension",
        published="JSON of predictions, a file for each instance",
        licence="none stated; the corpora in it have terms of their own",
        source="Hub, organisation DynamicSuperb (Huang et al., 2024)",
        example="desta eval dynamic_superb --data hub --model MODEL --limit 40",
    ),
    data=BenchmarkFiles,
    load=load,
    score=score,
    aggregate=aggregate,
    max_new_tokens=512,
    official=(EXACT_MATCH,),
    titles={EXACT_MATCH: "exact match", CONSECUTIVE_WORDS: "consecutive words"},
    closed_sets=True,
    dimensions=("instance", "dimension"),
    optional=load_optional,
    published=PublishedForm(read=read_published, words="dynamic superb"),
)
