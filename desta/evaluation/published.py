"""Results files that others published: read, scored by our rules, held against the questions.

Each benchmark reads its own form (`Benchmark.published`), gzipped or not. What a file does not
hold, such as clips, is missing in the results too.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from desta.errors import ConfigError, DataError
from desta.evaluation.base import Benchmark, Item, PublishedForm, ReadOptions, Result
from desta.evaluation.benchmarks.table import BENCHMARKS
from desta.evaluation.published_files import NOT_ANSWERED
from desta.evaluation.recipe import BenchmarkFiles
from desta.evaluation.scores import sum_up

_BETWEEN = "-_.@ "
FORMS: dict[str, PublishedForm] = {
    name: benchmark.published for name, benchmark in BENCHMARKS.items() if benchmark.published
}
"""Benchmark -> how others publish results of it."""
_WORDS = (
    "reports?|results?|outputs?|pred(iction)?s?|answers?|responses?|eval(uation)?s?|scores?",
    "judged?|judge?ments?|test|audio|text|data|files?|published|logs?|runs?",
    *(word for form in FORMS.values() for word in form.words.split()),
)
_ANY_SYSTEM = re.compile("|".join(_WORDS))
"""Words in names of files and folders that tell nothing of a system."""
_NUM_NAMED = 3
PUBLISHED_OTHERWISE = "the file itself says otherwise of the score"


@dataclass(frozen=True, kw_only=True)
class Published:
    """Results files of one system."""

    benchmark: Benchmark
    version: str
    """Of the questions, as far as the files tell, or of those they were compared with."""
    results: tuple[Result, ...]
    num_claimed: int
    """Answers of which the files themselves say whether they are right."""
    disputed: tuple[str, ...]
    """Ids of those that are scored otherwise here."""


def read_results_files(
    benchmark: Benchmark,
    paths: Sequence[Path],
    *,
    name: str | None = None,
    subset: str | None = None,
    questions: Sequence[Item] = (),
    data: str | None = None,
    references: Path | None = None,
    language: str | None = None,
) -> Published:
    """Read and score results files of one system.

    Args:
        benchmark: what they answer.
        paths: the files.
        name: what the system is called; by default after the files.
        subset: the part that they answer, where their names do not tell: of SAKURA the hop.
        questions: what they should answer; what they do not is kept as not answered. Without
            them the files alone tell what was asked.
        data: where these questions lie, in place of `questions`; parts that are asked only by name
            are among them if the files answer them.
        references: of transcriptions, where what was said stands in a file of its own.
        language: of all transcriptions, code or English name; None: as the files say.

    Raises:
        ConfigError: the benchmark has no published form, or a subset is unknown.
        DataError: a file is missing, broken, in another form, or answers other questions, or a
            question is answered twice.
    """
    form = benchmark.published
    if form is None:
        raise ConfigError(
            f"{benchmark.name} has no published form of results",
            fix=f"give one of {', '.join(FORMS)}, or the results.jsonl of an evaluation",
        )
    paths, references, data = _find_references(benchmark, paths, references, data, language)
    options = ReadOptions(subset=subset, references=references, language=language)
    found = form.read(paths, options)
    where = ", ".join(str(path) for path in paths)
    name = name or system_name(paths)
    results = [replace(result, system=name) for result in found]
    items = [result.item for result in found]
    version = benchmark.version(items)
    if data is not None:
        questions = load_questions(benchmark, data, items)
    if questions:
        if form.any_order:
            results = _by_content(benchmark, results, questions, where)
        results, version = _complete(results, questions, where, name), benchmark.version(questions)
    return Published(
        benchmark=benchmark,
        version=version,
        results=tuple(results),
        num_claimed=sum(bool(result.claimed) for result in found),
        disputed=tuple(result.id for result in found if _scored_otherwise(result)),
    )


def _find_references(
    benchmark: Benchmark,
    paths: Sequence[Path],
    references: Path | None,
    data: str | None,
    language: str | None,
) -> tuple[Sequence[Path], Path | None, str | None]:
    """Return answers, right answers and questions, by what the options and the files tell.

    Raises:
        ConfigError: an option has no use here.
    """
    assert benchmark.published is not None
    find = benchmark.published.find_references
    if find is None:
        if references or language:
            option = "references" if references else "language"
            raise ConfigError(
                f"--{option} cannot be used with {benchmark.name}",
                fix="leave it out; it is for transcriptions",
            )
        return paths, None, data
    if data and references:
        raise ConfigError("--data and --references both say what was said", fix="give one")
    if data:
        references = Path(data)
    elif references is None and (references := find(paths)):
        paths = [path for path in paths if path != references]
    return paths, references, None


def load_questions(benchmark: Benchmark, data: str, answered: Sequence[Item] = ()) -> list[Item]:
    """Return the questions that somebody's answers are held against.

    Args:
        benchmark: what was answered.
        data: folder, file or Hub id of its questions.
        answered: what was; parts that are asked only by name are among the questions where it
            holds answers to them.

    Raises:
        ConfigError: the benchmark has no files of questions.
        DataError: they cannot be read.
    """
    if benchmark.data is not BenchmarkFiles:
        raise ConfigError(f"{benchmark.name} has no files of questions", fix="leave --data out")
    files = BenchmarkFiles(path=data)
    asked = benchmark.load(files)
    return [*asked, *benchmark.optional(files, answered)] if benchmark.optional else asked


def score_published(published: Published, *, allow_missing: bool = False) -> dict[str, Any]:
    """Return what `scores.json` holds of an evaluation, for results files of others.

    Args:
        published: what they answer, and what they name or should answer without an answer.
        allow_missing: score what was answered, where not everything was.
    """
    scores = {
        "benchmark": published.benchmark.name,
        "version": published.version,
        "weights": None,
        **sum_up(published.benchmark, published.results, allow_missing=allow_missing),
    }
    if published.disputed:
        scores["systems"][0]["remarks"].append(
            {
                "reason": PUBLISHED_OTHERWISE,
                "count": len(published.disputed),
                "example": published.disputed[0],
            }
        )
    return scores


def _complete(
    results: Sequence[Result], questions: Sequence[Item], where: str, system: str
) -> list[Result]:
    """Return a result for every question, with what the questions know beside the file."""
    answers = {result.id: result for result in results}
    _refuse_others(sorted(answers.keys() - {item.id for item in questions}), where)
    completed = []
    for asked in questions:
        result = answers.get(asked.id)
        if result is None:
            lost = Result(item=asked, system=system, output=None, skipped=NOT_ANSWERED)
            completed.append(lost)
            continue
        item = result.item
        if not asked.question.startswith(item.question):
            raise DataError(
                f"{where}: {item.id!r} is {item.question!r}, and {asked.question!r} in the "
                "questions",
                fix="score it with the questions it was made from, in their order",
            )
        if item.target and asked.target and item.target != asked.target:
            raise DataError(
                f"{where}: the right answer of {item.id!r} is {item.target!r}, and "
                f"{asked.target!r} in the questions",
                fix="score it with the questions it was made from",
            )
        known = replace(item, messages=asked.messages, transcription=asked.transcription)
        completed.append(replace(result, item=known))
    return completed


def _by_content(
    benchmark: Benchmark, results: Sequence[Result], questions: Sequence[Item], where: str
) -> list[Result]:
    """Number answers as the questions, where files hold them in any order."""
    assert benchmark.key is not None
    ids = {benchmark.key(item): item.id for item in questions}
    keys = [benchmark.key(result.item) for result in results]
    others = [r.item.question for r, key in zip(results, keys, strict=True) if key not in ids]
    _refuse_others(others, where)
    return [
        replace(result, item=replace(result.item, id=ids[key]))
        for result, key in zip(results, keys, strict=True)
    ]


def _refuse_others(others: Sequence[str], where: str) -> None:
    if others:
        raise DataError(
            f"{where} answers {len(others)} questions that are not in this version of the "
            f"benchmark, for example {others[0]!r}",
            fix="score it with the questions it was made from",
        )


def system_name(paths: Sequence[Path]) -> str:
    """Name a system after what its files share, or the nearest folder whose name tells anything.

    >>> system_name([Path("qwen-bbh-test-audio.jsonl"), Path("qwen-ifeval-test-audio.jsonl")])
    'qwen'
    >>> system_name([Path("desta2/reports/rule_eval@creative_writing.jsonl")])
    'desta2'
    >>> system_name([Path("salmonn-7b/results.json"), Path("salmonn-13b/results.json")])
    'salmonn-7b + salmonn-13b'
    """
    stems = [path.name.split(".")[0] for path in paths]
    shared = os.path.commonprefix(stems)
    if len(set(stems)) > 1 and not shared.endswith(tuple(_BETWEEN)):
        shared = shared[: 1 + max(shared.rfind(sign) for sign in _BETWEEN)]
    shared = shared.rstrip(_BETWEEN)
    if _tells(shared):
        return shared
    folders = list(dict.fromkeys(_folder_of(path) or stems[0] for path in paths))
    more = [f"{len(folders) - _NUM_NAMED} more"] if len(folders) > _NUM_NAMED else []
    return " + ".join([*folders[:_NUM_NAMED], *more])


def _folder_of(path: Path) -> str | None:
    """Return the name of the nearest folder that tells anything."""
    return next((folder.name for folder in path.resolve().parents if _tells(folder.name)), None)


def _tells(name: str) -> bool:
    return any(
        word and not _ANY_SYSTEM.fullmatch(word) for word in re.split(r"[-_.@ \d]+", name.lower())
    )


def _scored_otherwise(result: Result) -> bool:
    values = result.score.values
    return any(values.get(name) not in (None, right) for name, right in result.claimed.items())
