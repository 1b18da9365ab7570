"""MMAU v05.15.25 (test-mini and test), and MMAR, which asks and scores in the same way.

Questions with two to eight options about sounds, music and speech (Sakshi et al., ICLR 2025;
github.com/Sakshi113/MMAU). An answer is right if it holds every word of the gold option and no
word that only wrong options hold. Which text is scored decides the figure: the official script
reads `model_output`, its README says `model_prediction`, which is the output without the words
`The correct answer is: `. Both are metrics.

"v05.15.25" is no one file: the annotations changed under that name. `version` tells which it is.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from desta.errors import DataError
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
from desta.evaluation.metrics import Report, check_offered, find
from desta.evaluation.published_files import (
    answered,
    check_unique,
    field_of,
    read_each,
    read_json_values,
    rows,
    text_of,
    texts_of,
    why_no_text,
)
from desta.evaluation.recipe import BenchmarkFiles
from desta.evaluation.tabulate import count_notes, join_notes, tabulate
from desta.files import UNWRITABLE
from desta.records import LOCATOR

PREFIX = "The correct answer is: "
"""Words that the system prompt asks for, and that the second metric takes out again."""
SYSTEM = (
    f'Focus on the audio clips and instructions. Put your answer in the format "{PREFIX}"___" ".'
)
"""As DeSTA2.5-Audio was asked; the benchmark itself prescribes no prompt."""
STRIPPED = "model_prediction"
"""Metric without `PREFIX`, and the key of results files that hold it."""
ANSWER_WITHHELD = "the authors keep the right answer to themselves"
_WORD = re.compile(r"\w+")
_REVISIONS = {
    "2c5f9200bb10": "test-mini v05.15.25, annotations of 2025-08-09 (f0a4a97)",
    "fc01c005f263": "test-mini v05.15.25, annotations of 2025-06-23 (82f34fd)",
}
"""Hash of ids and right answers -> date and commit of the file; the two differ in one answer."""


@dataclass(frozen=True, kw_only=True)
class MmauFormat:
    """Format in which a benchmark of this kind is published."""

    name: str
    files: tuple[str, ...]
    """Names of its files of questions; of one in two forms, the first form counts."""
    audio: str
    """Key of the clip's path, which starts with `./` and is relative to the file."""
    output: str
    """Key under which its official script looks for the model's answer: the first metric."""
    dimensions: tuple[str, ...]
    """Keys by which the official script groups."""

    def load(self, files: BenchmarkFiles) -> list[Item]:
        """Read the questions."""
        return self.load_items(files.place([*self.files, "**"]), files.audio)

    def load_items(self, path: Path, audio_root: Path | None = None) -> list[Item]:
        """Read the questions.

        Args:
            path: the file, or the folder that holds exactly one of `files`.
            audio_root: folder that the clips' paths are relative to; by default that of the file.

        Raises:
            DataError: the file is missing, broken or in another form, or an id occurs twice.
        """
        if path.is_dir():
            there = [path / name for name in self.files if (path / name).is_file()]
            if len({each.stem for each in there}) != 1:
                raise DataError(
                    f"{path} holds {len(there)} of the files {', '.join(self.files)}",
                    fix="give the path of one of them",
                )
            path = there[0]
        records = rows(read_json_values(path), str(path))
        return self._items(records, audio_root or path.parent, str(path))

    def score(self, item: Item, output: str, replies: Sequence[str] = ()) -> Score:
        """Score an answer by both metrics."""
        return self._score(item, output, output.replace(PREFIX, "").strip())

    def aggregate(self, results: Sequence[Result]) -> Report:
        """Average over items, as the official script does: in total and by each dimension."""
        cells = tabulate(results)
        totals = {metric: find(cells, metric).estimate for metric in (self.output, STRIPPED)}
        return Report(
            headline={metric: figure for metric, figure in totals.items() if figure},
            cells=cells,
            remarks=count_notes(results),
        )

    def read_published(self, paths: Sequence[Path], options: ReadOptions) -> list[Result]:
        """Read results files: the questions, each with its answer.

        Raises:
            DataError: a file is missing, broken or in another form, or no row has an answer.
        """
        return read_each(paths, self._read_published)

    def _read_published(self, path: Path) -> list[Result]:
        records = rows(read_json_values(path), str(path))
        items = self._items(records, path.parent, str(path))
        if not any(key in record for record in records for key in (self.output, STRIPPED)):
            raise DataError(
                f"{path}: no row has {self.output!r} or {STRIPPED!r}",
                fix="write the model's answers under one of these keys",
            )
        return [self._read_answer(*pair) for pair in zip(items, records, strict=True)]

    def _read_answer(self, item: Item, record: Mapping[str, Any]) -> Result:
        output, stripped = text_of(record, self.output), text_of(record, STRIPPED)
        if output is not None and stripped is None:
            stripped = output.replace(PREFIX, "").strip()
        return answered(
            item,
            stripped if output is None else output,
            lambda *_: self._score(item, output, stripped),
            instead=why_no_text(record, self.output, STRIPPED),
        )

    def _score(self, item: Item, output: str | None, stripped: str | None) -> Score:
        note = None
        if not item.target:
            note = ANSWER_WITHHELD
        elif output is None:
            note = f"no {self.output}"
        return Score(
            extracted=stripped,
            values={self.output: _value(item, output), STRIPPED: _value(item, stripped)},
            note=join_notes(note, check_offered(item.target, item.choices)),
        )

    def _items(
        self, records: Sequence[Mapping[str, Any]], audio_root: Path, where: str
    ) -> list[Item]:
        items = [self._item(record, audio_root, where) for record in records]
        check_unique((item.id for item in items), where)
        return items

    def _item(self, record: Mapping[str, Any], audio_root: Path, where: str) -> Item:
        id = field_of(record, "id", str, f"{where}: a row")
        where = f"{where}: {id}"
        choices = texts_of(record, "choices", where)
        quoted = [f'"{choice}"' for choice in choices]
        options = " or ".join(([", ".join(quoted[:-1])] if quoted[1:] else []) + quoted[-1:])
        question = field_of(record, "question", str, where)
        asked = f"{question} Choose from the following options: {options}"
        audio = field_of(record, self.audio, str, where).removeprefix("./")
        return Item(
            id=id,
            messages=form_messages(SYSTEM, f"{LOCATOR}\n\n{plain(asked)}", [audio_root / audio]),
            question=asked,
            target=field_of(record, "answer", str, where) if record.get("answer") else "",
            choices=choices,
            groups={
                dimension: _group(record[dimension])
                for dimension in self.dimensions
                if record.get(dimension) is not None
            },
        )


def version(items: Sequence[Item]) -> str:
    """Name the annotations by their hash, and by their date where it is known."""
    answers = "\n".join(sorted(f"{item.id}\t{item.target}" for item in items))
    digest = hashlib.sha256(answers.encode(errors=UNWRITABLE)).hexdigest()[:12]
    return _REVISIONS.get(digest, f"unknown annotations of {len(items)} items ({digest})")


def string_match(target: str, prediction: str, choices: Sequence[str]) -> bool:
    """Return whether a prediction is right by the official rule.

    It must hold all words of the target, and none that only other choices hold. A choice with the
    same words as the target, in whatever order or number, is not another one.
    """
    said, right = _words(prediction), _words(target)
    if not said or not right <= said:
        return False
    return not any((words := _words(c)) != right and said & (words - right) for c in choices)


def _group(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _value(item: Item, text: str | None) -> float | None:
    if text is None or not item.target:
        return None
    return float(string_match(item.target, text, item.choices))


def _words(text: str) -> set[str]:
    return set(_WORD.findall(text.lower()))


def _benchmark(form: MmauFormat, about: About, words: str) -> Benchmark:
    return Benchmark(
        name=form.name,
        about=about,
        data=BenchmarkFiles,
        load=form.load,
        score=form.score,
        aggregate=form.aggregate,
        version=version,
        max_new_tokens=512,
        official=(form.output, STRIPPED),
        published=PublishedForm(read=form.read_published, words=words),
    )


MMAU_FORMAT = MmauFormat(
    name="mmau",
    files=("mmau-test-mini.json", "mmau-test.json"),
    audio="audio_id",
    output="model_output",
    dimensions=("task", "difficulty", "sub-category"),
)
MMAR_FORMAT = MmauFormat(
    name="mmar",
    files=("MMAR-meta.json", "MMAR-meta.jsonl"),
    audio="audio_path",
    output="answer_prediction",
    dimensions=("modality", "category", "sub-category"),
)
MMAU = _benchmark(
    MMAU_FORMAT,
    About(
        title="1,000 questions about speech, sound and music, multiple choice",
        data="folder of mmau-test-mini.json or mmau-test.json and its clips, or that file",
        metrics="accuracy for each task, difficulty and category",
        published="JSON of questions with model_prediction or model_output",
        licence="Apache-2.0; the clips have terms of their own",
        source="github.com/Sakshi113/MMAU (Sakshi et al., 2024)",
        example="desta eval mmau --data MMAU --model MODEL",
    ),
    "mmau mini",
)
MMAR = _benchmark(
    MMAR_FORMAT,
    About(
        title="reasoning about speech, sound and music mixed, multiple choice",
        data="folder of MMAR-meta.json and its clips, or that file",
        metrics="accuracy for each modality and category",
        published="JSON of questions with model_prediction or model_output",
        licence="none known here; the clips have terms of their own",
        source="github.com/ddlBoJack/MMAR (Ma et al., 2025)",
        example="desta eval mmar --data MMAR --model MODEL",
    ),
    "mmar",
)
