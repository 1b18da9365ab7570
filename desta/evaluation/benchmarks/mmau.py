"""MMAU v05.15.25 (test-mini and test), and MMAR, which asks and scores in the same way.

Questions with two to eight options about sounds, music and speech (Sakshi et al., ICLR 2025;
github.com/Sakshi113/MMAU). An answer is right if it holds every word of the gold option and no
word that only wrong options hold. Which text is scored decides the figure: the official script
reads `model_output`, its README says `model_prediction`, which is the output without the words
`The correct answer is: `. Both readings are given.

"v05.15.25" is no one file: the annotations changed under that name. `version` tells which it is.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from desta.errors import DataError
from desta.evaluation.answered import Answered, why_no_text
from desta.evaluation.choices import check_offered
from desta.evaluation.items import (
    Item,
    Report,
    Score,
    ask,
    check_same,
    check_unique,
    count_notes,
    field_of,
    find,
    join_notes,
    plain,
    read_published,
    rows,
    tabulate,
    text_of,
    texts_of,
)
from desta.files import UNWRITABLE
from desta.records import LOCATOR

PREFIX = "The correct answer is: "
"""Words that the system prompt asks for, and that the second reading takes out again."""
SYSTEM = (
    f'Focus on the audio clips and instructions. Put your answer in the format "{PREFIX}"___" ".'
)
"""As DeSTA2.5-Audio was asked; the benchmark itself prescribes no prompt."""
STRIPPED = "model_prediction"
"""Reading without `PREFIX`, and the key of results files that hold it."""
WITHHELD = "the authors keep the right answer to themselves"
NO_OUTPUT = "no output"
_WORD = re.compile(r"\w+")
_REVISIONS = {
    "2c5f9200bb10": "test-mini v05.15.25, annotations of 2025-08-09 (f0a4a97)",
    "fc01c005f263": "test-mini v05.15.25, annotations of 2025-06-23 (82f34fd)",
}
"""Hash of ids and right answers -> date and commit of the file; the two differ in one answer."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How a benchmark of this kind is published."""

    name: str
    files: tuple[str, ...]
    """Names of its files of questions; of one in two forms, the first form counts."""
    audio: str
    """Key of the clip's path, which starts with `./` and is relative to the file."""
    output: str
    """Key under which its official script looks for the model's answer: the first reading."""
    dimensions: tuple[str, ...]
    """Keys by which the official script groups."""


MMAU = Layout(
    name="mmau",
    files=("mmau-test-mini.json", "mmau-test.json"),
    audio="audio_id",
    output="model_output",
    dimensions=("task", "difficulty", "sub-category"),
)
MMAR = Layout(
    name="mmar",
    files=("MMAR-meta.json", "MMAR-meta.jsonl"),
    audio="audio_path",
    output="answer_prediction",
    dimensions=("modality", "category", "sub-category"),
)


def load_items(path: Path, layout: Layout = MMAU, audio_root: Path | None = None) -> list[Item]:
    """Read the questions.

    Args:
        path: the file, or the folder that holds exactly one of `layout.files`.
        layout: which benchmark.
        audio_root: folder that the clips' paths are relative to; by default that of the file.

    Raises:
        DataError: the file is missing, broken or in another form, or an id occurs twice.
    """
    if path.is_dir():
        there = [path / name for name in layout.files if (path / name).is_file()]
        if len({each.stem for each in there}) != 1:
            raise DataError(
                f"{path} holds {len(there)} of the files {', '.join(layout.files)}",
                fix="give the path of one of them",
            )
        path = there[0]
    records = rows(read_published(path), str(path))
    return _items(records, layout, audio_root or path.parent, str(path))


def version(items: Sequence[Item]) -> str:
    """Name the annotations by their hash, and by their date where it is known."""
    answers = "\n".join(sorted(f"{item.id}\t{item.target}" for item in items))
    digest = hashlib.sha256(answers.encode(errors=UNWRITABLE)).hexdigest()[:12]
    return _REVISIONS.get(digest, f"unknown annotations of {len(items)} items ({digest})")


def string_match(target: str, prediction: str, choices: Sequence[str]) -> bool:
    """Tell whether a prediction is right by the official rule.

    It must hold all words of the target, and none that only other choices hold. A choice with the
    same words as the target, in whatever order or number, is not another one.
    """
    said, right = _words(prediction), _words(target)
    if not said or not right <= said:
        return False
    return not any((words := _words(c)) != right and said & (words - right) for c in choices)


def score_item(
    item: Item, output: str | None, prediction: str | None = None, layout: Layout = MMAU
) -> Score:
    """Score an answer by both readings.

    Args:
        item: the question.
        output: what the model wrote; None where a results file does not have it.
        prediction: what a results file holds as `model_prediction`; by default made from `output`.
        layout: which benchmark.
    """
    if prediction is None and output is not None:
        prediction = output.replace(PREFIX, "").strip()
    note = None
    if not item.target:
        note = WITHHELD
    elif output is None:
        note = NO_OUTPUT if prediction is None else f"no {layout.output}"
    note = join_notes(note, check_offered(item.target, item.choices))
    return Score(
        id=item.id,
        groups=item.groups,
        extracted=prediction,
        values={
            layout.output: _value(item, output),
            STRIPPED: _value(item, prediction),
        },
        note=note,
    )


def aggregate(scores: Sequence[Score], version: str = "unknown", layout: Layout = MMAU) -> Report:
    """Average over items, as the official script does: in total and by each dimension."""
    cells = tabulate(scores)
    totals = {reading: find(cells, reading).estimate for reading in (layout.output, STRIPPED)}
    return Report(
        benchmark=layout.name,
        version=version,
        figures={reading: figure for reading, figure in totals.items() if figure},
        cells=cells,
        notes=count_notes(scores),
    )


def read_answered(path: Path, layout: Layout = MMAU) -> list[Answered]:
    """Read a results file in the published form: the questions, each with its answer.

    Raises:
        DataError: the file is missing, broken or in another form, or no row has an answer.
    """
    records = rows(read_published(path), str(path))
    items = _items(records, layout, path.parent, str(path))
    if not any(key in record for record in records for key in (layout.output, STRIPPED)):
        raise DataError(
            f"{path}: no row has {layout.output!r} or {STRIPPED!r}",
            fix="write the model's answers under one of these keys",
        )
    answered = []
    for item, record in zip(items, records, strict=True):
        output, stripped = text_of(record, layout.output), text_of(record, STRIPPED)
        score = score_item(item, output, stripped, layout)
        answered.append(
            Answered(
                item=item,
                output=stripped if output is None else output,
                score=score,
                skipped=why_no_text(record, layout.output, STRIPPED),
            )
        )
    return answered


def score_file(path: Path, layout: Layout = MMAU, questions: Sequence[Item] = ()) -> Report:
    """Score a results file in the published form: the questions, each with its answer.

    Args:
        path: the file.
        layout: which benchmark.
        questions: what it should answer; those that it does not are counted.

    Raises:
        DataError: the file is missing, broken or in another form, no row has an answer, or the
            questions or their right answers are not those of `questions`.
    """
    answered = read_answered(path, layout)
    items, scores = [a.item for a in answered], [a.score for a in answered]
    if questions:
        unanswered = set(check_same(questions, (item.id for item in items), str(path)))
        _check_targets(questions, items, str(path))
        scores += [score_item(q, None, layout=layout) for q in questions if q.id in unanswered]
    return aggregate(scores, version(items), layout)


def _check_targets(questions: Sequence[Item], items: Sequence[Item], where: str) -> None:
    targets = {question.id: question.target for question in questions}
    if changed := [item for item in items if item.target != targets[item.id]]:
        raise DataError(
            f"{where} has {len(changed)} right answers that differ, for example {changed[0].id!r}: "
            f"{changed[0].target!r}, not {targets[changed[0].id]!r}",
            fix=f"score it with the questions it was made from; these are {version(questions)}",
        )


def _items(
    records: Sequence[Mapping[str, Any]], layout: Layout, audio_root: Path, where: str
) -> list[Item]:
    items = [_item(record, layout, audio_root, where) for record in records]
    check_unique((item.id for item in items), where)
    return items


def _item(record: Mapping[str, Any], layout: Layout, audio_root: Path, where: str) -> Item:
    id = field_of(record, "id", str, f"{where}: a row")
    where = f"{where}: {id}"
    choices = texts_of(record, "choices", where)
    quoted = [f'"{choice}"' for choice in choices]
    options = " or ".join(([", ".join(quoted[:-1])] if quoted[1:] else []) + quoted[-1:])
    question = field_of(record, "question", str, where)
    asked = f"{question} Choose from the following options: {options}"
    audio = field_of(record, layout.audio, str, where).removeprefix("./")
    return Item(
        id=id,
        messages=ask(SYSTEM, f"{LOCATOR}\n\n{plain(asked)}", [audio_root / audio]),
        question=asked,
        target=field_of(record, "answer", str, where) if record.get("answer") else "",
        choices=choices,
        groups={
            dimension: _group(record[dimension])
            for dimension in layout.dimensions
            if record.get(dimension) is not None
        },
    )


def _group(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _value(item: Item, text: str | None) -> float | None:
    if text is None or not item.target:
        return None
    return float(string_match(item.target, text, item.choices))


def _words(text: str) -> set[str]:
    return set(_WORD.findall(text.lower()))
